"""A published dataset, opened and checked."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.settings import CHANNELS
from pipeline.errors import InputError, MissingError
from pipeline.schema import NAME, NUM_CLASSES


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A published dataset, checked: what its metadata says, and where its shards lie.

    `mean` and `std` are per channel over train on the scale 0..1, in the order of `channels`. Storage order is
    shard by shard.
    """

    path: Path
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

    def describe(self) -> str:
        """Returns one line: where it is, how many examples, which fingerprint."""
        counts = ", ".join(f"{split} {num:,}" for split, num in self.num_examples.items())
        kind = "SYNTHETIC " if self.synthetic else ""
        return f"{self.path} ({kind}{counts}; fingerprint {self.fingerprint[:12]})"


def default_data_dir(size: int) -> Path:
    """Returns `build/synthetic` if `make shards` built this size there, else TFDS's default data directory."""
    from tensorflow_datasets.core import constants

    built = Path("build/synthetic")
    return built if (built / NAME / str(size)).is_dir() else Path(constants.DATA_DIR).expanduser()


def find(data_dir: Path, size: int) -> Path:
    """Returns the folder of the newest version of `hpa_stacked/<size>` in `data_dir`.

    Raises:
        MissingError: there is none; the message says which sizes there are and how to build one.
    """
    import tensorflow_datasets as tfds

    versions = [
        path
        for path in (data_dir / NAME / str(size)).glob("*")
        if tfds.core.Version.is_valid(path.name) and (path / "dataset_info.json").exists()
    ]
    if versions:
        return max(versions, key=lambda path: tfds.core.Version(path.name))
    build = "make shards" if size == 256 else f"make shards SIZE={size}"
    others = sorted(path.name for path in (data_dir / NAME).glob("*") if path.name.isdigit())
    found = f" (size {', '.join(others)} is there)" if others else ""
    raise MissingError(
        f"no dataset {NAME}/{size} in {data_dir}{found}: '{build}' builds one, --data-dir says where another is"
    )


def open_dataset(data_dir: Path, size: int) -> Dataset:
    """Returns the dataset `hpa_stacked/<size>` in `data_dir`.

    Raises:
        MissingError: there is none.
        InputError: it does not say of itself what this trainer needs: channels, classes, size, moments.
    """
    return open_version(find(data_dir, size), size)


def open_version(path: Path, size: int | None = None) -> Dataset:
    """Returns the dataset in the folder `path` of one version, checked; its size too if `size` is given."""
    import tensorflow_datasets as tfds

    info = tfds.builder_from_directory(path).info
    metadata = dict(info.metadata or {})
    missing = [key for key in ("channels", "class_names", "mean", "std", "fingerprint") if key not in metadata]
    if missing:
        raise InputError(f"dataset {path}: no {', '.join(missing)} in its metadata; build it with 'make shards'")
    _check_features(path, info, metadata, size)
    return Dataset(
        path=path,
        size=info.features["image"].shape[0],
        channels=tuple(metadata["channels"]),
        class_names=tuple(metadata["class_names"]),
        mean=tuple(metadata["mean"]),
        std=tuple(metadata["std"]),
        fingerprint=metadata["fingerprint"],
        synthetic=bool(metadata.get("synthetic")),
        shards={name: tuple(map(str, split.filepaths)) for name, split in info.splits.items()},
        shard_lengths={name: tuple(split.shard_lengths) for name, split in info.splits.items()},
        num_examples={name: split.num_examples for name, split in info.splits.items()},
    )


def _check_features(path: Path, info: Any, metadata: dict[str, Any], size: int | None) -> None:
    channels, shape = tuple(metadata["channels"]), info.features["image"].shape
    if channels != CHANNELS:
        raise InputError(f"dataset {path}: channels {', '.join(channels)}, expected {', '.join(CHANNELS)}")
    expected = (size or shape[0], size or shape[0], len(CHANNELS))
    if shape != expected:
        raise InputError(f"dataset {path}: images of shape {shape}, expected {expected}")
    named, listed = info.features["labels"].feature.names, list(metadata["class_names"])
    if len(named) != NUM_CLASSES or len(listed) != NUM_CLASSES:
        raise InputError(f"dataset {path}: {len(named)} classes, expected {NUM_CLASSES}")
    for index, (one, other) in enumerate(zip(named, listed, strict=True)):
        if one != other:
            raise InputError(f"dataset {path}: class {index} is {one!r} in its features, {other!r} in its metadata")


def check_same(dataset: Dataset, saved: dict[str, Any], run: Path) -> None:
    """Refuses a dataset that is not the one of the run in folder `run`, whose config says `saved`.

    Raises:
        InputError: other size, channels, classes or contents.
    """
    for index, (here, there) in enumerate(zip(dataset.class_names, saved["class_names"], strict=False)):
        if here != there:
            raise InputError(f"dataset {dataset.path}: class {index} is {here!r}, but {there!r} in run {run}")
    for name in ("size", "channels", "class_names", "fingerprint"):
        here, there = getattr(dataset, name), saved[name]
        here = list(here) if isinstance(here, tuple) else here
        if here != there:
            raise InputError(f"dataset {dataset.path}: {name} {here}, but {there} in run {run}")


def check_splits(dataset: Dataset) -> None:
    """Refuses a dataset too small to have something in every split.

    Raises:
        InputError: no train, dev or test.
    """
    empty = [split for split in ("train", "dev", "test") if not dataset.num_examples.get(split)]
    if empty:
        raise InputError(f"dataset {dataset.path}: nothing in {', '.join(empty)}; build it from more examples")


def check_batch_size(dataset: Dataset, batch_size: int, limit: int | None = None) -> None:
    """Refuses a batch that train cannot fill.

    Raises:
        InputError: batch larger than the split.
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
