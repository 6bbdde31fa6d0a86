"""The examples of docs/reading.md, run as they stand: every framework reads the same ids, pixels and labels."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import BuildConfig
from pipeline.job import build
from tests.support.atlases import draw_painting

TEXT = (Path(__file__).parents[1] / "docs/reading.md").read_text()
TITLES = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)

HEAD = """
import numpy
_steps = []


def step(ids, images, label_vectors):
    ids = [i if isinstance(i, bytes) else i.numpy() if hasattr(i, "numpy") else bytes(i) for i in ids]
    images, label_vectors = numpy.asarray(images), numpy.asarray(label_vectors)
    if images.dtype == "float32":  # Torch's 0..1, channels first
        images = numpy.round(images.transpose(0, 2, 3, 1) * 255)
    _steps.append((numpy.array(ids), images, label_vectors))


"""
TAIL = """

if __name__ == "__main__":
    ids, images, label_vectors = (numpy.concatenate([part[k] for part in _steps]) for k in range(3))
    numpy.savez("read.npz", ids=ids, images=images, label_vectors=label_vectors)
    import sys
    assert not {"pipeline", "hpa_tfds", "model"} & set(sys.modules)
"""


def block(title: str) -> str:
    """Returns the code in a section of the document."""
    section = TEXT.split(f"## {title}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return draw_painting(tmp_path_factory.mktemp("source"), num=40)


@pytest.fixture(scope="module")
def data_dirs(atlas, tmp_path_factory):
    """`{format: data directory}`, in which the dataset has the name that the document uses."""
    folder = tmp_path_factory.mktemp("data")
    results = []
    for name in ("tfrecord", "array_record"):
        result = build(
            BuildConfig(
                labels=atlas.root / "wells.csv", images=atlas.root / "tiffs", data_dir=folder / name,
                schema=atlas.schema, size=20, file_format=name, num_shards=2,
            )
        )  # fmt: skip
        result.path.parent.rename(result.path.parent.with_name("256"))
        results.append(result)
    assert results[0].num_examples == results[1].num_examples == {"train": 28, "dev": 6, "test": 6}
    return {name: folder / name for name in ("tfrecord", "array_record")}


def read(title, data_dir, folder):
    """Returns what the example in a section reads: `{id: (image, label vector)}`."""
    (folder / "data").symlink_to(data_dir)
    (folder / "example.py").write_text(HEAD + block(title) + TAIL)
    done = subprocess.run([sys.executable, "example.py"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(folder / "read.npz")
    rows = zip(found["ids"], found["images"], found["label_vectors"], strict=True)
    return {i.decode(): (image, vector) for i, image, vector in rows}


@pytest.mark.parametrize(
    ("title", "shards"),
    [
        ("TensorFlow", "tfrecord"),
        ("TFDS without TensorFlow's pipelines", "array_record"),
        ("JAX, through Grain", "array_record"),
        pytest.param("PyTorch", "array_record", marks=pytest.mark.torch),
        ("Plain Python and NumPy", "tfrecord"),
        ("Beside the shards", "tfrecord"),
    ],
)
def test_an_example_of_the_document_reads_every_pixel_and_label(title, shards, atlas, data_dirs, tmp_path):
    found = read(title, data_dirs[shards], tmp_path)
    assert len(found) == 28  # train
    for example_id, (image, vector) in found.items():
        planes = np.floor(atlas.pixels[example_id] * (255 / 4095) + 0.5)
        boxes = planes.reshape(5, 20, 2, 20, 2).mean(axis=(2, 4))
        np.testing.assert_array_equal(image, np.floor(boxes + 0.5).transpose(1, 2, 0))
        assert [name for name, is_one in zip(atlas.schema.classes, vector, strict=True) if is_one] == sorted(
            atlas.labels[example_id], key=atlas.schema.classes.index
        )


READ_ONE = """
import multiprocessing
import tensorflow_datasets as tfds


def read(source, position):
    print(source[position]["id"].decode(), *(row["id"].decode() for row in source.__getitems__([0, 1])))


if __name__ == "__main__":
    train = tfds.data_source("hpa_stacked/256", data_dir=DATA_DIR, split="train")
    read(train, 5)
    worker = multiprocessing.get_context("spawn").Process(target=read, args=(train, 5))
    worker.start()
    worker.join()
    import sys
    print("tensorflow" in sys.modules)
"""


def test_a_data_source_reads_in_the_worker_of_a_loader_without_tensorflow(data_dirs, tmp_path):
    """What Torch's `DataLoader` does with it, without Torch."""
    (tmp_path / "example.py").write_text(READ_ONE.replace("DATA_DIR", repr(str(data_dirs["array_record"]))))
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    here, there, imported = done.stdout.splitlines()
    assert here == there
    assert imported == "False"


def test_every_section_with_code_is_run():
    with_code = [title for title in TITLES if "```python" in TEXT.split(f"## {title}\n")[1].split("\n## ")[0]]
    run = test_an_example_of_the_document_reads_every_pixel_and_label.pytestmark[0].args[1]
    assert with_code == [getattr(row, "values", row)[0] for row in run]
