"""A published dataset, opened and checked."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import data_dirs
from pipeline.console import called
from pipeline.errors import InputError, MissingError
from pipeline.schema import HPA_KAGGLE_2018, NAME, SPLITS, Schema

_CONFIG = re.compile(r"(?:(\w+)-)?(\d+)")
"""Folder of a dataset: `256` for the default schema, or for example `mitocheck-64`."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The metadata of a published dataset and the paths of its shards.

    `schema` is the published one. `mean` and `std` are per channel over train on the scale 0..1, in the order of
    `channels`. `shards` and `shard_lengths` are by split, in storage order. `has_label_vectors` is false for
    version 1.0.0, whose records hold only class ids.
    """

    path: Path
    schema: Schema
    size: int
    channels: tuple[str, ...]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    synthetic: bool
    shards: dict[str, tuple[str, ...]]
    shard_lengths: dict[str, tuple[int, ...]]
    num_examples: dict[str, int]
    has_label_vectors: bool = True

    def describe(self) -> str:
        """Returns one line with path, number of examples in each split, and fingerprint."""
        counts = ", ".join(f"{split} {num:,}" for split, num in self.num_examples.items())
        kind = "SYNTHETIC " if self.synthetic else ""
        return f"{self.path} ({kind}{counts}; fingerprint {self.fingerprint[:12]})"

    def to_json(self) -> dict[str, Any]:
        """Returns what a run records about the dataset, as plain values."""
        values = dataclasses.asdict(self)
        for name in ("shards", "shard_lengths", "has_label_vectors"):
            del values[name]
        return {**values, "path": str(self.path.absolute()), "schema": self.schema.to_dict()}


@dataclasses.dataclass(frozen=True)
class Config:
    """A dataset in a data directory by the name of its folder: its schema's name and its size."""

    schema: str
    size: int
    folder: str


def default_data_dir() -> Path:
    """Returns the data directory that was built last in this folder, else TFDS's own."""
    return Path(str(data_dirs.to_read()))


def configs(data_dir: Path) -> list[Config]:
    """Returns the datasets in a data directory, by the names of their folders."""
    found = []
    for path in sorted((data_dir / NAME).glob("*")):
        named = _CONFIG.fullmatch(path.name)
        if named and _versions(path):
            found.append(Config(named[1] or HPA_KAGGLE_2018.name, int(named[2]), path.name))
    return found


def find(data_dir: Path, size: int, schema: str | None = None) -> Path:
    """Returns the folder of the newest version of the dataset of that size and schema in `data_dir`.

    A size of 0 stands for any. Without a schema, the default schema is preferred if several datasets match.

    Raises:
        MissingError: there is none; the message lists those that exist and the command that builds one.
        InputError: there are several, and nothing says which.
    """
    existing = configs(data_dir)
    matching = _matching(existing, size, schema)
    if len(matching) > 1 and schema is None:
        matching = _matching(matching, size, HPA_KAGGLE_2018.name) or matching
    if not matching:
        raise _missing(data_dir, size, schema, existing)
    if len({(config.schema, config.size) for config in matching}) > 1:
        raise InputError(
            f"{data_dir} holds several datasets, {_listed(matching)}: choose one with --schema NAME and --size PIXELS"
        )
    # If another schema has the name of the default one, the default one is taken.
    folder = data_dir / NAME / min(matching, key=lambda config: len(config.folder)).folder
    return _versions(folder)[-1]


def _matching(existing: Sequence[Config], size: int, schema: str | None) -> list[Config]:
    return [config for config in existing if size in (0, config.size) and schema in (None, config.schema)]


def _versions(folder: Path) -> list[Path]:
    """Returns the published versions of a dataset, the newest last."""
    import tensorflow_datasets as tfds

    found = [
        path
        for path in folder.glob("*")
        if tfds.core.Version.is_valid(path.name) and (path / "dataset_info.json").exists()
    ]
    return sorted(found, key=lambda path: tfds.core.Version(path.name))


def _missing(data_dir: Path, size: int, schema: str | None, existing: Sequence[Config]) -> MissingError:
    is_default = schema in (None, HPA_KAGGLE_2018.name)
    wanted = "-".join(filter(None, ["" if is_default else str(schema), str(size) if size else ""]))
    name = f"{NAME}/{wanted}" if wanted else NAME
    options = [] if is_default else [f"--schema {schema}"]
    options += [f"--size {size}"] if size not in (0, 256) else []
    build, place = " ".join(["python -m pipeline shards --source DIR", *options]), "--data-dir"
    if is_default and called.by_make():
        build, place = "make shards SOURCE=DIR" + (f" SIZE={size}" if options else ""), "DATA_DIR="
    choice = f"add {_options(existing[0])}" + (f" for {existing[0].folder}" if existing[1:] else "") if existing else ""
    there = f" (it holds {_listed(existing)}: {choice})" if existing else ""
    return MissingError(f"no dataset {name} in {data_dir}{there}: '{build}' builds one, {place} names another place")


def _options(config: Config) -> str:
    """Returns the options that choose a dataset."""
    schema = [] if config.schema == HPA_KAGGLE_2018.name else [f"--schema {config.schema}"]
    return " ".join([*schema, f"--size {config.size}"])


def _listed(existing: Sequence[Config]) -> str:
    more = f" and {len(existing) - 10} more" if len(existing) > 10 else ""
    return ", ".join(config.folder for config in existing[:10]) + more


def open_dataset(data_dir: Path, size: int, schema: str | None = None) -> Dataset:
    """Returns the dataset of that size and schema in `data_dir`; see `find`.

    Raises:
        MissingError: there is none.
        InputError: there are several, or its metadata lacks something or contradicts itself.
    """
    return open_version(find(data_dir, size, schema), size)


def open_version(path: Path, size: int = 0) -> Dataset:
    """Returns the dataset in the version folder `path`, checked; with `size`, its images must have that size.

    Raises:
        InputError: its metadata cannot be read, lacks channels, classes, mean or standard deviation, or contradicts
            itself; or a shard is missing or has another size than the metadata says.
    """
    from model.data import damage

    info, metadata = _read_info(path)
    missing = [key for key in ("channels", "class_names", "mean", "std", "fingerprint") if key not in metadata]
    if missing:
        raise InputError(
            f"dataset {path}: no {', '.join(missing)} in its metadata; build it with 'python -m pipeline shards'"
        )
    if info.file_format.value != "tfrecord":
        raise InputError(
            f"dataset {path}: its shards are {info.file_format.value}, but the trainer reads tfrecord: build it with "
            "--file-format tfrecord"
        )
    schema = _published_schema(path, metadata)
    _check_features(path, info, schema, size)
    dataset = Dataset(
        path=path,
        schema=schema,
        size=info.features["image"].shape[0],
        channels=schema.channel_names,
        class_names=schema.classes,
        mean=tuple(metadata["mean"]),
        std=tuple(metadata["std"]),
        fingerprint=metadata["fingerprint"],
        synthetic=bool(metadata.get("synthetic")),
        shards={name: tuple(map(str, split.filepaths)) for name, split in info.splits.items()},
        shard_lengths={name: tuple(split.shard_lengths) for name, split in info.splits.items()},
        num_examples={name: split.num_examples for name, split in info.splits.items()},
        has_label_vectors="label_vector" in info.features,
    )
    damage.check_sizes(dataset, {name: split.num_bytes for name, split in info.splits.items()})
    return dataset


def _read_info(path: Path) -> tuple[Any, dict[str, Any]]:
    """Returns TFDS's `DatasetInfo` of the dataset in `path`, and the dataset's own metadata.

    Raises:
        InputError: its files of metadata are damaged.
    """
    import tensorflow_datasets as tfds

    try:
        info = tfds.builder_from_directory(path).info
        return info, dict(info.metadata or {})
    except Exception as error:  # whatever TFDS, protobuf and JSON raise for damaged files
        raise InputError(
            f"dataset {path}: its metadata cannot be read ({type(error).__name__}); "
            f"'python -m pipeline verify {path}' lists all damage"
        ) from error


def _published_schema(path: Path, metadata: dict[str, Any]) -> Schema:
    """Returns the schema in the metadata; datasets of version 1.0.0 have none and use the default one."""
    schema = HPA_KAGGLE_2018
    if "schema" in metadata:
        try:
            schema = Schema.from_dict(metadata["schema"])
        except (InputError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"dataset {path}: the schema in its metadata cannot be read: {error}") from None
    channels, classes = tuple(metadata["channels"]), tuple(metadata["class_names"])
    if channels != schema.channel_names:
        raise InputError(f"dataset {path}: channels {', '.join(channels)}, expected {', '.join(schema.channel_names)}")
    if len(classes) != schema.num_classes:
        raise InputError(f"dataset {path}: {len(classes)} classes, expected {schema.num_classes}")
    _check_names(path, classes, schema.classes, "in its metadata", "in its schema")
    return schema


def _check_names(path: Path, found: Sequence[str], expected: Sequence[str], here: str, there: str) -> None:
    for index, (actual, name) in enumerate(zip(found, expected, strict=False)):
        if actual != name:
            raise InputError(f"dataset {path}: class {index} is {actual!r} {here}, {name!r} {there}")


def _check_features(path: Path, info: Any, schema: Schema, size: int) -> None:
    image, labels = info.features["image"], "label" if schema.single_label else "labels"
    expected = (size or image.shape[0], size or image.shape[0], schema.num_channels)
    if image.shape != expected:
        raise InputError(f"dataset {path}: images of shape {image.shape}, expected {expected}")
    if (dtype := np.dtype(image.np_dtype).name) != schema.dtype:
        raise InputError(f"dataset {path}: images of type {dtype}, expected {schema.dtype}")
    if labels not in info.features:
        raise InputError(f"dataset {path}: no feature '{labels}', which schema '{schema.name}' has")
    feature = info.features[labels] if schema.single_label else info.features[labels].feature
    if len(feature.names) != schema.num_classes:
        raise InputError(f"dataset {path}: {len(feature.names)} names of classes, expected {schema.num_classes}")
    _check_names(path, feature.names, schema.classes, "in its features", "in its metadata")


def check_same(dataset: Dataset, saved: dict[str, Any], run: Path) -> None:
    """Checks that the dataset is the one that the run in folder `run` was trained on, according to its config `saved`.

    Raises:
        InputError: another schema, size, other channels, classes or contents.
    """
    theirs = saved_schema(saved)
    if dataset.schema.name != theirs.name:
        raise InputError(f"dataset {dataset.path}: schema '{dataset.schema.name}', but '{theirs.name}' in run {run}")
    check_compatible(dataset, saved, run)
    if dataset.fingerprint != saved["fingerprint"]:
        raise InputError(
            f"dataset {dataset.path}: fingerprint {dataset.fingerprint}, but {saved['fingerprint']} in run {run}"
        )


def check_compatible(dataset: Dataset, saved: dict[str, Any], run: Path) -> None:
    """Checks that the run's model can be scored on the dataset, whatever its contents.

    Raises:
        InputError: another size, other channels, classes, pixel values or kind of labels.
    """
    theirs = saved_schema(saved)
    for index, (actual, expected) in enumerate(zip(dataset.class_names, saved["class_names"], strict=False)):
        if actual != expected:
            raise InputError(f"dataset {dataset.path}: class {index} is {actual!r}, but {expected!r} in run {run}")
    pairs: dict[str, tuple[object, object]] = {
        "size": (dataset.size, saved["size"]),
        "channels": (list(dataset.channels), list(saved["channels"])),
        "number of classes": (len(dataset.class_names), len(saved["class_names"])),
        "single-label": (dataset.schema.single_label, theirs.single_label),
        "type of images": (dataset.schema.dtype, theirs.dtype),
    }
    for name, (ours, recorded) in pairs.items():
        if ours != recorded:
            raise InputError(f"dataset {dataset.path}: {name} {ours}, but {recorded} in run {run}")


def saved_schema(saved: dict[str, Any]) -> Schema:
    """Returns the schema that a run recorded; earlier runs recorded none and use the default one."""
    return Schema.from_dict(saved["schema"]) if "schema" in saved else HPA_KAGGLE_2018


def check_splits(dataset: Dataset) -> None:
    """Checks that the dataset can be trained on: it has examples in every split.

    Raises:
        InputError: a split is empty, because the dataset is too small.
    """
    empty = [split for split in SPLITS if not dataset.num_examples.get(split)]
    if empty:
        raise InputError(f"dataset {dataset.path}: no examples in {', '.join(empty)}; build it from more examples")


def check_batch_size(dataset: Dataset, batch_size: int, limit: int | None = None) -> None:
    """Checks that train, or its first `limit` examples, fills a batch.

    Raises:
        InputError: the batch is larger.
    """
    num = num_limited(dataset, "train", limit)
    if batch_size > num:
        raise InputError(f"a batch of {batch_size} is larger than train ({num} examples): --batch-size {num} or less")


def check_present(dataset: Dataset, splits: Sequence[str]) -> None:
    """Checks that the dataset has examples in each of `splits`.

    Raises:
        InputError: a split is missing or empty.
    """
    empty = [split for split in splits if not dataset.num_examples.get(split)]
    if empty:
        present = ",".join(split for split, num in dataset.num_examples.items() if num)
        raise InputError(f"dataset {dataset.path}: no examples in {', '.join(empty)}; it has {present}")


def num_limited(dataset: Dataset, split: str, limit: int | None) -> int:
    """Returns the number of examples of the split, or `limit` if that is less."""
    num = dataset.num_examples.get(split, 0)
    return num if limit is None else min(num, limit)
