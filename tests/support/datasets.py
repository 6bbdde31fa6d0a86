"""Small published datasets, drawn from a seed, and runs on them that take seconds."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from pipeline.schema import HPA_KAGGLE_2018, SPLITS, Channel, Schema, Table
from pipeline.store import layout
from tests.support.hpa import FILTERS

CHANNELS = list(FILTERS)
LEARNABLE = 4
"""Only the first so many classes occur, so that a model learns them in seconds."""

NUCLEI = Schema(
    name="nuclei",
    channels=(Channel("dna"),),
    classes=("interphase", "metaphase", "anaphase", "apoptosis", "hole"),
    table=Table("cells.csv", "id", "phenotype", groups=("plate",), carry=("plate",)),
    patterns=("{id}.png",),
    single_label=True,
)
"""One channel, one label for each example."""

PAINTING = Schema(
    name="painting",
    channels=tuple(
        Channel(name, colour=colour)
        for name, colour in zip(
            ("DNA", "ER", "RNA", "AGP", "Mito"),
            ("#0000ff", "#00ff00", "#ffff00", "#ff8000", "#ff0000"),
            strict=True,
        )
    ),
    classes=tuple(f"compound {index}" for index in range(6)),
    table=Table("wells.csv", "id", "compounds", separator=";"),
    patterns=("{id}_{channel}.tif",),
    depth="uint16",
)
"""Five channels of 16 bits, several labels."""


@dataclasses.dataclass
class Shape:
    """Size of images, number of examples in each split, and number of shards of each."""

    size: int = 32
    train: int = 192
    dev: int = 48
    test: int = 48
    num_shards: int = 3


Drawn = tuple[str, np.ndarray, list[int]]
"""Id, image and labels."""


def draw_image(rng: np.random.Generator, labels: list[int], size: int, schema: Schema) -> np.ndarray:
    """Returns an image `[size, size, C]`: noise, and for each class k < 4 bright stripes k + 2 pixels apart."""
    image = rng.integers(0, 60, (size, size, schema.num_channels), dtype=np.uint8)
    for label in labels:
        if label < LEARNABLE:
            image[:: label + 2, :, label % schema.num_channels] += 150
    return image if schema.dtype == "uint8" else image.astype(np.uint16) * 257


def draw_examples(num: int, size: int, seed: int, prefix: str, schema: Schema = HPA_KAGGLE_2018) -> list[Drawn]:
    """Returns so many examples."""
    rng = np.random.default_rng(seed)
    examples = []
    for index in range(num):
        num_labels = 1 if schema.single_label else rng.integers(1, 3)
        labels = sorted(rng.choice(LEARNABLE, size=num_labels, replace=False).tolist())
        examples.append((f"{prefix}-{index:04d}", draw_image(rng, labels, size, schema), labels))
    return examples


def write_dataset(
    data_dir: Path,
    shape: Shape | None = None,
    *,
    schema: Schema = HPA_KAGGLE_2018,
    version: str = "1.1.0",
    seed: int = 0,
    shuffle_labels: bool = False,
    metadata: Mapping[str, object] = MappingProxyType({}),
) -> Path:
    """Writes a dataset as the pipeline publishes it, and returns its folder.

    `metadata` replaces entries of its own. With `shuffle_labels`, labels say nothing about images. Version 1.0.0
    has neither the schema in its metadata nor label vectors in its records.
    """
    shape = shape or Shape()
    path = data_dir / "hpa_stacked" / layout.config_name(schema, shape.size) / version
    path.mkdir(parents=True)
    examples = {
        split: draw_examples(getattr(shape, split), shape.size, 10 * seed + offset, f"synthetic-{split}", schema)
        for offset, split in enumerate(SPLITS)
    }
    if shuffle_labels:
        examples = {split: _with_shuffled_labels(drawn, seed) for split, drawn in examples.items()}
    shards = {
        split: [drawn[k :: shape.num_shards] for k in range(shape.num_shards)] for split, drawn in examples.items()
    }
    for split, parts in shards.items():
        for index, part in enumerate(parts):
            name = f"hpa_stacked-{split}.tfrecord-{index:05d}-of-{shape.num_shards:05d}"
            _write_shard(path / name, part, schema, version)
    pixels = np.stack([image for _, image, _ in examples["train"]]) / schema.max_value
    described = {
        **({} if version == "1.0.0" else {"schema": schema.to_dict()}),
        "channels": list(schema.channel_names),
        "class_names": list(schema.classes),
        "size": shape.size,
        "mean": pixels.mean((0, 1, 2)).tolist(),
        "std": pixels.std((0, 1, 2)).tolist(),
        "fingerprint": f"{seed:064x}",
        "synthetic": True,
        "seed": seed,
        "num_quarantined": 0,
        "label_counts": {split: _label_counts(drawn, schema) for split, drawn in examples.items()},
        **metadata,
    }
    lengths = {split: [len(part) for part in parts] for split, parts in shards.items()}
    _write_metadata(path, lengths, schema, described)
    return path


def _label_counts(examples: list[Drawn], schema: Schema) -> list[int]:
    return [sum(index in labels for _, _, labels in examples) for index in range(schema.num_classes)]


def _with_shuffled_labels(examples: list[Drawn], seed: int) -> list[Drawn]:
    order = np.random.default_rng(99 + seed).permutation(len(examples))
    return [(i, image, examples[k][2]) for k, (i, image, _) in zip(order, examples, strict=True)]


def _write_metadata(
    path: Path, shard_lengths: dict[str, list[int]], schema: Schema, metadata: dict[str, object]
) -> None:
    """Writes the files that TFDS reads: features, splits and the dataset's own metadata."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import dataset_info, naming, splits

    from pipeline.dataset.metadata import features

    template = naming.ShardedFileTemplate(data_dir=path, dataset_name="hpa_stacked", filetype_suffix="tfrecord")
    published = dict(features(schema, int(str(metadata["size"]))))
    if path.name == "1.0.0":
        del published["label_vector"]
    identity = dataset_info.DatasetIdentity(
        name="hpa_stacked",
        version=tfds.core.Version(path.name),
        data_dir=str(path),
        module_name="tests",
        config_name=path.parent.name,
    )
    info = tfds.core.DatasetInfo(
        builder=identity, features=tfds.features.FeaturesDict(published), metadata=tfds.core.MetadataDict(metadata)
    )
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


def _write_shard(path: Path, examples: list[Drawn], schema: Schema, version: str) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for example_id, image, labels in examples:
            record = tf.train.Example()
            record.features.feature["id"].bytes_list.value.append(example_id.encode())
            record.features.feature["image"].bytes_list.value.append(image.tobytes())
            name = "label" if schema.single_label else "labels"
            record.features.feature[name].int64_list.value.extend(labels)
            if version != "1.0.0":
                vector = bytes(int(index in labels) for index in range(schema.num_classes))
                record.features.feature["label_vector"].bytes_list.value.append(vector)
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


LEARNING = {"epochs": 8, "learning_rate": 6e-3, "width": 8, "blocks": (1,)}
"""Settings with which a network of one block learns the classes of `write_dataset`, in seconds."""


def tiny_settings(preset: str = "stacked-256", **values: object):
    """Returns settings of a network of three blocks on images of 32 x 32."""
    from model import presets, settings

    return settings.override(presets.load(preset), {**TINY, **values}, "test")


def train_tiny(data_dir: Path, path: Path, *, resume: bool = False, **values: object):
    """Trains in the folder `path`, and returns the run."""
    from model import backend

    backend.start(bool(values.get("deterministic")))
    from model import runs
    from model.data.dataset import open_dataset
    from model.settings import resolve
    from model.training import loop

    dataset = open_dataset(data_dir, 32)
    if resume:
        run = runs.open_run(path)
    else:
        run = runs.create(path, resolve(tiny_settings(**values), 32, dataset.channels), dataset, {})
    loop.train(run, dataset, resume=resume, log=lambda line: None)
    return run
