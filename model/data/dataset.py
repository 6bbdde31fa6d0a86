"""A published dataset, opened and checked."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, MissingError
from pipeline.schema import HPA_KAGGLE_2018, NAME, SPLITS


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The metadata of a published dataset and the paths of its shards.

    `mean` and `std` are per channel over train on the scale 0..1, in the order of `channels`. `shards` and
    `shard_lengths` are by split, in storage order.
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
        """Returns one line with path, number of examples in each split, and fingerprint."""
        counts = ", ".join(f"{split} {num:,}" for split, num in self.num_examples.items())
        kind = "SYNTHETIC " if self.synthetic else ""
        return f"{self.path} ({kind}{counts}; fingerprint {self.fingerprint[:12]})"


def default_data_dir(size: int) -> Path:
    """Returns `build/synthetic` if `make shards` built this size there, else TFDS's own default."""
    from tensorflow_datasets.core import constants

    built = Path("build/synthetic")
    return built if (built / NAME / str(size)).is_dir() else Path(constants.DATA_DIR).expanduser()


def find(data_dir: Path, size: int) -> Path:
    """Returns the folder of the newest version of `hpa_stacked/<size>` in `data_dir`.

    Raises:
        MissingError: there is none; the message lists the sizes that exist and the command that builds one.
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
    existing = f" (only size {', '.join(others)})" if others else ""
    raise MissingError(
        f"no dataset {NAME}/{size} in {data_dir}{existing}: '{build}' builds one, --data-dir says where another is"
    )


def open_dataset(data_dir: Path, size: int) -> Dataset:
    """Returns the dataset `hpa_stacked/<size>` in `data_dir`.

    Raises:
        MissingError: there is none.
        InputError: its metadata lacks channels, classes, mean or standard deviation, or does not fit the trainer.
    """
    return open_version(find(data_dir, size), size)


def open_version(path: Path, size: int | None = None) -> Dataset:
    """Returns the dataset in the version folder `path`, checked; with `size`, its images must have that size.

    Raises:
        InputError: its metadata cannot be read, lacks channels, classes, mean or standard deviation, or does not fit
            the trainer; or a shard is missing or has another size than the metadata says.
    """
    from model.data import damage

    info, metadata = _read_info(path)
    missing = [key for key in ("channels", "class_names", "mean", "std", "fingerprint") if key not in metadata]
    if missing:
        raise InputError(f"dataset {path}: no {', '.join(missing)} in its metadata; build it with 'make shards'")
    _check_features(path, info, metadata, size)
    dataset = Dataset(
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


def _check_features(path: Path, info: Any, metadata: dict[str, Any], size: int | None) -> None:
    channels, shape = tuple(metadata["channels"]), info.features["image"].shape
    if channels != HPA_KAGGLE_2018.channel_names:
        raise InputError(
            f"dataset {path}: channels {', '.join(channels)}, expected {', '.join(HPA_KAGGLE_2018.channel_names)}"
        )
    expected = (size or shape[0], size or shape[0], len(HPA_KAGGLE_2018.channel_names))
    if shape != expected:
        raise InputError(f"dataset {path}: images of shape {shape}, expected {expected}")
    named, listed = info.features["labels"].feature.names, list(metadata["class_names"])
    if len(named) != HPA_KAGGLE_2018.num_classes or len(listed) != HPA_KAGGLE_2018.num_classes:
        raise InputError(f"dataset {path}: {len(named)} classes, expected {HPA_KAGGLE_2018.num_classes}")
    for index, (in_features, in_metadata) in enumerate(zip(named, listed, strict=True)):
        if in_features != in_metadata:
            raise InputError(
                f"dataset {path}: class {index} is {in_features!r} in its features, {in_metadata!r} in its metadata"
            )


def check_same(dataset: Dataset, saved: dict[str, Any], run: Path) -> None:
    """Checks that the dataset is the one that the run in folder `run` was trained on, according to its config `saved`.

    Raises:
        InputError: another size, other channels, classes or contents.
    """
    for index, (actual, expected) in enumerate(zip(dataset.class_names, saved["class_names"], strict=False)):
        if actual != expected:
            raise InputError(f"dataset {dataset.path}: class {index} is {actual!r}, but {expected!r} in run {run}")
    for name in ("size", "channels", "class_names", "fingerprint"):
        value = getattr(dataset, name)
        value = list(value) if isinstance(value, tuple) else value
        if value != saved[name]:
            raise InputError(f"dataset {dataset.path}: {name} {value}, but {saved[name]} in run {run}")


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
