"""Small published datasets, drawn from a seed, and runs on them that take seconds."""

import dataclasses
from pathlib import Path

import numpy as np

from pipeline.schema import SPLITS
from tests.support.hpa import FILTERS, NUM_CLASSES

CHANNELS = list(FILTERS)
CLASS_NAMES = [f"class {index}" for index in range(NUM_CLASSES)]
LEARNABLE = 4
"""Only the first so many classes occur, so that a model learns them in seconds."""


@dataclasses.dataclass
class Shape:
    """Size of images, number of examples in each split, and number of shards of each."""

    size: int = 32
    train: int = 192
    dev: int = 48
    test: int = 48
    num_shards: int = 3


def draw_image(rng: np.random.Generator, labels: list[int], size: int) -> np.ndarray:
    """Returns uint8 `[size, size, 4]`: noise, and for class k < 4 bright stripes in channel k."""
    image = rng.integers(0, 60, (size, size, 4), dtype=np.uint8)
    for label in labels:
        if label < LEARNABLE:
            image[:: label + 2, :, label] += 150
    return image


def draw_examples(num: int, size: int, seed: int, prefix: str) -> list[tuple[str, np.ndarray, list[int]]]:
    """Returns (id, image, labels) of so many examples."""
    rng = np.random.default_rng(seed)
    examples = []
    for index in range(num):
        labels = sorted(rng.choice(LEARNABLE, size=rng.integers(1, 3), replace=False).tolist())
        examples.append((f"{prefix}-{index:04d}", draw_image(rng, labels, size), labels))
    return examples


def write_dataset(
    data_dir: Path,
    shape: Shape | None = None,
    *,
    seed: int = 0,
    shuffle_labels: bool = False,
    class_names: list[str] | None = None,
    **metadata: object,
) -> Path:
    """Writes a dataset as the pipeline publishes it, and returns its folder.

    Keywords replace entries of its metadata. With `shuffle_labels`, labels say nothing about images.
    """
    shape, names = shape or Shape(), class_names or CLASS_NAMES
    path = data_dir / "hpa_stacked" / str(shape.size) / "1.0.0"
    path.mkdir(parents=True)
    examples = {
        split: draw_examples(getattr(shape, split), shape.size, 10 * seed + offset, f"synthetic-{split}")
        for offset, split in enumerate(SPLITS)
    }
    if shuffle_labels:
        examples = {split: _with_shuffled_labels(drawn, seed) for split, drawn in examples.items()}
    shards = {
        split: [drawn[k :: shape.num_shards] for k in range(shape.num_shards)] for split, drawn in examples.items()
    }
    for split, parts in shards.items():
        for index, part in enumerate(parts):
            _write_shard(path / f"hpa_stacked-{split}.tfrecord-{index:05d}-of-{shape.num_shards:05d}", part)
    pixels = np.stack([image for _, image, _ in examples["train"]]) / 255
    described = {
        "channels": CHANNELS,
        "class_names": names,
        "size": shape.size,
        "mean": pixels.mean((0, 1, 2)).tolist(),
        "std": pixels.std((0, 1, 2)).tolist(),
        "fingerprint": f"{seed:064x}",
        "synthetic": True,
        "seed": seed,
        "num_quarantined": 0,
        **metadata,
    }
    lengths = {split: [len(part) for part in parts] for split, parts in shards.items()}
    _write_metadata(path, shape.size, lengths, names, described)
    return path


def _with_shuffled_labels(
    examples: list[tuple[str, np.ndarray, list[int]]], seed: int
) -> list[tuple[str, np.ndarray, list[int]]]:
    order = np.random.default_rng(99 + seed).permutation(len(examples))
    return [(i, image, examples[k][2]) for k, (i, image, _) in zip(order, examples, strict=True)]


def _write_metadata(
    path: Path, size: int, shard_lengths: dict[str, list[int]], class_names: list[str], metadata: dict[str, object]
) -> None:
    """Writes the files that TFDS reads: features, splits and the dataset's own metadata."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import dataset_info, naming, splits

    template = naming.ShardedFileTemplate(data_dir=path, dataset_name="hpa_stacked", filetype_suffix="tfrecord")
    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": tfds.features.Tensor(shape=(size, size, 4), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES),
            "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=class_names)),
        }
    )
    identity = dataset_info.DatasetIdentity(
        name="hpa_stacked",
        version=tfds.core.Version("1.0.0"),
        data_dir=str(path),
        module_name="tests",
        config_name=str(size),
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features, metadata=tfds.core.MetadataDict(metadata))
    infos = [
        splits.SplitInfo(
            name=split,
            shard_lengths=lengths,
            num_bytes=sum(shard.stat().st_size for shard in path.glob(f"*-{split}.tfrecord-*")),
            filename_template=template.replace(split=split),
        )
        for split, lengths in shard_lengths.items()
    ]
    info.set_splits(splits.SplitDict(infos))
    info.write_to_directory(str(path))


def _write_shard(path: Path, examples: list[tuple[str, np.ndarray, list[int]]]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for example_id, image, labels in examples:
            record = tf.train.Example()
            record.features.feature["id"].bytes_list.value.append(example_id.encode())
            record.features.feature["image"].bytes_list.value.append(image.tobytes())
            record.features.feature["labels"].int64_list.value.extend(labels)
            writer.write(record.SerializeToString())


TINY = {
    "size": 32,
    "blocks": (1, 1, 1),
    "width": 8,
    "extra_conv": False,
    "epochs": 2,
    "oversample": 0.0,
    "augment": "none",
}


def tiny_settings(**values: object):
    """Returns settings of a network of three blocks on images of 32 x 32."""
    from model import presets, settings

    return settings.override(presets.load("stacked-256"), {**TINY, **values}, "test")


def train_tiny(data_dir: Path, path: Path, *, resume: bool = False, **values: object):
    """Trains in the folder `path`, and returns the run."""
    from model import backend

    backend.start()
    from model import runs
    from model.data.dataset import open_dataset
    from model.training import loop

    dataset = open_dataset(data_dir, 32)
    run = runs.open_run(path) if resume else runs.create(path, tiny_settings(**values), dataset, {})
    loop.train(run, dataset, resume=resume, log=lambda line: None)
    return run
