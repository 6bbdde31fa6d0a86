"""How do published shards become batches, fast and always in the same order?

Serialised records are shuffled (never decoded images), then batched, then parsed with one call per batch.
Pixels stay uint8 all the way to the device. The order of an epoch is a function of seed and epoch alone, so a
killed run can skip what it has seen and go on.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model import backend
from model.errors import InputError, MissingError
from model.settings import CHANNELS

NAME = "hpa_stacked"
NUM_CLASSES = 28

# Sixteen shards in turn, sixteen records each: records lie in random order in their shard already, and runs
# of them keep the readers from being woken for every single one.
CYCLE_LENGTH = 16
BLOCK_LENGTH = 16

# Records go straight from the page cache to where they stay; a buffer between would be one copy more of each.
BUFFER_BYTES = 0

# As many as suit the machine, said once. TensorFlow would tune them while it reads, and its tuner may take two
# seconds to stop, at the end of every epoch.
THREADS = backend.num_cores()
PREFETCH_BATCHES = 4


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


@dataclasses.dataclass(frozen=True)
class Order:
    """Which examples an epoch shows, in which order: the same seed and epoch, the same batches.

    `factors` are repeat factors, one per example of train in storage order, or `None`. Of these, only the first
    `limit` are shown, if there is one.
    """

    seed: int
    buffer: int
    factors: np.ndarray | None = None
    limit: int | None = None

    def repeats(self, epoch: int, num_examples: int) -> np.ndarray:
        """Returns how often each example is shown in the epoch: int64 `[N]`, on average over epochs `factors`."""
        repeats = np.ones(num_examples, np.int64)
        if self.factors is not None:
            repeats[: len(self.factors)] = rounded_repeats(self.factors, self._rng(epoch, 0))
        if self.limit is not None:
            repeats[self.limit :] = 0
        return repeats

    def shards(self, epoch: int, num_shards: int) -> np.ndarray:
        """Returns the order in which the shards are opened: int64 `[num_shards]`."""
        return self._rng(epoch, 1).permutation(num_shards)

    def shuffle_seed(self, epoch: int) -> int:
        """Returns the seed of the shuffle buffer."""
        return int(self._rng(epoch, 2).integers(1 << 31))

    def _rng(self, epoch: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, purpose])


def repeat_factors(label_vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Returns how often each example is to be shown: float64 `[N]`, 1 or more.

    A class that a share f of the examples carry has the factor max(1, sqrt(threshold / f)); an example has the
    largest of its classes' factors (Gupta et al. 2019, LVIS, appendix on repeat factor sampling).
    """
    share = label_vectors.mean(axis=0)
    per_class = np.sqrt(threshold / np.maximum(share, 1 / len(label_vectors)))
    return np.maximum(1.0, (label_vectors * per_class).max(axis=1))


def rounded_repeats(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns whole numbers, int64 `[N]`, rounded up with the probability of the fractional part."""
    whole = np.floor(factors)
    draws = rng.random(len(factors))
    return (whole + (draws < factors - whole)).astype(np.int64)


def num_steps(dataset: Dataset, order: Order, epoch: int, batch_size: int) -> int:
    """Returns the number of full batches in the epoch; a rest smaller than a batch is left for other epochs."""
    return int(order.repeats(epoch, dataset.num_examples["train"]).sum()) // batch_size


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
    num = _limited(dataset, "train", limit)
    if batch_size > num:
        raise InputError(f"a batch of {batch_size} is larger than train ({num} examples): --batch-size {num} or less")


def train_batches(
    dataset: Dataset,
    order: Order,
    epoch: int,
    *,
    channels: Sequence[str],
    batch_size: int,
    skip: int = 0,
) -> Any:
    """Returns a `tf.data.Dataset` of the epoch's batches, without the first `skip` of them.

    Each is a pair of images, uint8 `[B, S, S, C]` with the channels asked for, and label vectors, float32
    `[B, 28]` of 0 and 1.
    """
    steps = num_steps(dataset, order, epoch, batch_size)
    # Shuffled before they are parsed: a serialised record is one string to pass on, and 256 KiB, not 1 MiB.
    records = _in_order(dataset, order, epoch).shuffle(
        order.buffer, seed=order.shuffle_seed(epoch), reshuffle_each_iteration=False
    )
    # Skipped before they are parsed: what a killed run has seen costs reading only.
    batches = records.batch(batch_size, drop_remainder=True).take(steps).skip(skip)
    return _parsed(batches, dataset, channels, pairs=True).apply(_tail(steps - skip))


def eval_batches(
    dataset: Dataset, split: str, *, channels: Sequence[str], batch_size: int, limit: int | None = None
) -> Any:
    """Returns a `tf.data.Dataset` of image batches of the whole split in storage order, the last one smaller.

    uint8 `[B, S, S, C]`; `read_labels` and `read_ids` give what belongs to them, in the same order.
    """
    num = _limited(dataset, split, limit)
    batches = _stored(dataset, split, limit).batch(batch_size)
    return _parsed(batches, dataset, channels, pairs=False).apply(_tail(-(-num // batch_size)))


def read_labels(dataset: Dataset, split: str, limit: int | None = None) -> np.ndarray:
    """Returns the label vectors of the split in storage order: uint8 `[N, 28]` of 0 and 1."""
    parts = [vectors for _, vectors in _ids_and_labels(dataset, split, limit)]
    return np.concatenate(parts) if parts else np.zeros((0, NUM_CLASSES), np.uint8)


def read_ids(dataset: Dataset, split: str, limit: int | None = None) -> list[str]:
    """Returns the ids of the split in storage order."""
    return [one.decode() for ids, _ in _ids_and_labels(dataset, split, limit) for one in ids.tolist()]


def _limited(dataset: Dataset, split: str, limit: int | None) -> int:
    num = dataset.num_examples.get(split, 0)
    return num if limit is None else min(num, limit)


def _stored(dataset: Dataset, split: str, limit: int | None) -> Any:
    """Returns the serialised records of the split in storage order: shard by shard."""
    import tensorflow as tf

    records = tf.data.TFRecordDataset(list(dataset.shards[split]), buffer_size=BUFFER_BYTES)
    return records if limit is None else records.take(limit)


def _in_order(dataset: Dataset, order: Order, epoch: int) -> Any:
    """Returns the serialised records of train, several shards in turn, each as often as it is to be shown."""
    import tensorflow as tf

    chosen = order.shards(epoch, len(dataset.shards["train"]))
    paths = np.array(dataset.shards["train"])[chosen]
    lengths = np.array(dataset.shard_lengths["train"])
    starts = (np.cumsum(lengths) - lengths)[chosen]
    repeats = order.repeats(epoch, dataset.num_examples["train"])
    times = tf.constant(repeats)

    def read(path: Any, start: Any, length: Any) -> Any:
        records = tf.data.TFRecordDataset(path, buffer_size=BUFFER_BYTES)
        if (repeats == 1).all():
            return records
        counted = tf.data.Dataset.zip(records, tf.data.Dataset.from_tensor_slices(times[start : start + length]))
        return counted.flat_map(lambda record, num: tf.data.Dataset.from_tensors(record).repeat(num))

    return tf.data.Dataset.from_tensor_slices((paths, starts, lengths[chosen])).interleave(
        read,
        cycle_length=min(CYCLE_LENGTH, len(paths)),
        block_length=BLOCK_LENGTH,
        num_parallel_calls=min(THREADS, CYCLE_LENGTH, len(paths)),
        deterministic=True,
    )


def _parsed(batches: Any, dataset: Dataset, channels: Sequence[str], *, pairs: bool) -> Any:
    import tensorflow as tf

    shape = (dataset.size, dataset.size, len(dataset.channels))
    chosen = [dataset.channels.index(channel) for channel in channels]
    features = {"image": tf.io.FixedLenFeature([], tf.string)}
    if pairs:
        features["labels"] = tf.io.VarLenFeature(tf.int64)

    def parse(serialised: Any) -> Any:
        parsed = tf.io.parse_example(serialised, features)
        # Without `fixed_length`, which would pad a record that is too short, and be silent about it.
        images = tf.reshape(tf.io.decode_raw(parsed["image"], tf.uint8), (-1, *shape))
        if chosen != list(range(shape[-1])):
            images = tf.gather(images, chosen, axis=-1)
        return (images, _label_vectors(parsed["labels"])) if pairs else images

    return batches.map(parse, num_parallel_calls=THREADS, deterministic=True)


def _label_vectors(labels: Any) -> Any:
    import tensorflow as tf

    return tf.cast(tf.sparse.to_indicator(labels, NUM_CLASSES), tf.float32)


def _tail(num_batches: int) -> Any:
    """Returns the last steps of every pipeline: its length made known, and a few batches ready ahead."""
    import tensorflow as tf

    def finish(batches: Any) -> Any:
        known = batches.with_options(options()).apply(tf.data.experimental.assert_cardinality(num_batches))
        return known.prefetch(PREFETCH_BATCHES)

    return finish


def options() -> Any:
    """Returns the `tf.data.Options` of every pipeline here: nothing is tuned, files are not shared out to devices."""
    import tensorflow as tf

    chosen = tf.data.Options()
    chosen.autotune.enabled = False
    # Every device reads the same files; `fit` cuts the batches up between them.
    chosen.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return chosen


def _ids_and_labels(dataset: Dataset, split: str, limit: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    import tensorflow as tf

    features = {"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)}

    def parse(serialised: Any) -> Any:
        parsed = tf.io.parse_example(serialised, features)
        return parsed["id"], tf.cast(_label_vectors(parsed["labels"]), tf.uint8)

    batches = _stored(dataset, split, limit).batch(64).map(parse, num_parallel_calls=THREADS)
    yield from batches.with_options(options()).as_numpy_iterator()
