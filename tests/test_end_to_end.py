"""Images in, TFDS out: every pixel is compared with an independent computation."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.atlas.sample import write_sample
from pipeline.cli import main
from pipeline.plan.table import read_labels
from tests.support.hpa import FILTERS
from tests.support.sources import REAL_SAMPLE, why_not_real

READ = """
import sys
import numpy as np
import tensorflow_datasets as tfds
for path in sys.argv[1:]:
    dataset, info = tfds.load("hpa_stacked", data_dir=path, split="train+dev+test", with_info=True)
    rows = list(tfds.as_numpy(dataset))
    np.savez(
        path + "/read.npz",
        channels=info.metadata["channels"],
        ids=[row["id"] for row in rows],
        images=[row["image"] for row in rows],
        labels=[np.isin(np.arange(28), row["labels"]) for row in rows],
    )
assert not {"pipeline", "hpa_tfds"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """`{"drawn" or "real": (source folder, what another program read from the dataset built from it)}`."""
    drawn = tmp_path_factory.mktemp("drawn")
    write_sample(drawn, num=8, seed=0, workers=1)
    sources = {"drawn": drawn} if why_not_real() else {"drawn": drawn, "real": REAL_SAMPLE}
    data_dirs = {name: str(tmp_path_factory.mktemp(f"{name}-data")) for name in sources}
    for name, source in sources.items():
        done = CliRunner().invoke(main, ["shards", "--source", str(source), "--data-dir", data_dirs[name]])
        assert done.exit_code == 0, done.output
    subprocess.run([sys.executable, "-c", READ, *data_dirs.values()], check=True, cwd=drawn)
    return {name: (source, dict(np.load(f"{data_dirs[name]}/read.npz"))) for name, source in sources.items()}


@pytest.mark.parametrize("examples", ["drawn", "real"])
def test_a_program_without_our_code_reads_every_pixel_and_label(results, examples):
    if examples == "real" and (reason := why_not_real()):
        pytest.skip(reason)
    source, read = results[examples]
    assert read["channels"].tolist() == list(FILTERS)
    expected = {example.id: example.labels for example in read_labels(source / "train.csv")}
    labels = {i.decode(): tuple(np.flatnonzero(row)) for i, row in zip(read["ids"], read["labels"], strict=True)}
    assert labels == expected
    for example_id, image in zip(read["ids"], read["images"], strict=True):
        for channel, name in enumerate(FILTERS):
            pixels = np.asarray(Image.open(source / "train" / f"{example_id.decode()}_{name}.png"), np.float64)
            mean = pixels.reshape(256, 2, 256, 2).mean(axis=(1, 3))
            np.testing.assert_array_equal(image[..., channel], np.floor(mean + 0.5))


def test_the_real_examples_have_the_image_bytes_of_version_1_0_0(results):
    if reason := why_not_real():
        pytest.skip(reason)
    _, read = results["real"]
    rows = {i.decode(): hashlib.sha256(image.tobytes()) for i, image in zip(read["ids"], read["images"], strict=True)}
    listed = "".join(f"{example_id} {digest.hexdigest()}\n" for example_id, digest in sorted(rows.items()))
    # Of the dataset that the code of version 1.0.0 built from the same files.
    assert (
        hashlib.sha256(listed.encode()).hexdigest()
        == "f69cd22734e268cff2d3627660b3481aeb6535a69435d1e6eee138a36910597b"
    )
