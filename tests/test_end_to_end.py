"""Real images in, TFDS out, every pixel compared with an independent computation."""

import subprocess
import sys

import numpy as np
from PIL import Image

from pipeline.plan.manifest import read_labels

READ = (
    "import tensorflow_datasets as tfds; "
    "print(int(tfds.load('hpa_stacked', data_dir={!r}, split='train+dev+test').cardinality()))"
)


def test_real_examples_come_through_to_the_pixel(real_sample, tmp_path):
    command = [sys.executable, "-m", "pipeline", "shards", "--source", str(real_sample), "--data-dir", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    # Another program, which knows nothing of ours.
    done = subprocess.run(
        [sys.executable, "-c", READ.format(str(tmp_path))], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "60"

    import tensorflow_datasets as tfds

    builder = tfds.builder("hpa_stacked", data_dir=str(tmp_path))
    assert builder.info.metadata["channels"] == ["red", "green", "blue", "yellow"]
    expected = {example.id: example.labels for example in read_labels(real_sample / "train.csv")}
    found = {}
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            example_id = example["id"].decode()
            found[example_id] = tuple(example["labels"])
            for channel, name in enumerate(("red", "green", "blue", "yellow")):
                pixels = np.asarray(Image.open(real_sample / "train" / f"{example_id}_{name}.png"), np.float64)
                mean = pixels.reshape(256, 2, 256, 2).mean(axis=(1, 3))
                np.testing.assert_array_equal(example["image"][..., channel], np.floor(mean + 0.5))
    assert found == expected
