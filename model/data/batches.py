"""Batches of a published dataset, as `tf.data` pipelines.

Serialised records are shuffled (never decoded images), then batched, then parsed with one call per batch. Pixels stay
uint8 or uint16 all the way to the device. The order of an epoch is a function of seed and epoch alone, so a killed run
can skip the batches it has seen and continue.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from model.data import labels, records
from model.data.dataset import Dataset, num_limited
from model.data.order import Order, count_steps
from pipeline.threads import num_cores

# Sixteen shards at a time, sixteen records of each: the records of a shard are in random order already, and reading
# several in a row wakes the reader threads less often.
CYCLE_LENGTH = 16
BLOCK_LENGTH = 16

# No buffer: records are copied from the page cache to their final place.
BUFFER_BYTES = 0

# Set once. TensorFlow would tune the number while it reads, and its tuner can take two seconds to stop at the end of
# every epoch.
THREADS = num_cores()
PREFETCH_BATCHES = 4


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

    Each is a pair of images, uint8 or uint16 `[B, S, S, C]` with the channels asked for, and label vectors, float32
    `[B, classes]` of 0 and 1.
    """
    import tensorflow as tf

    steps = count_steps(dataset, order, epoch, batch_size)
    # Skipped before they are parsed: for batches that a killed run has seen, only reading costs time.
    batches = _in_order(dataset, order, epoch).batch(batch_size, drop_remainder=True).take(steps).skip(skip)
    parse = _parser(dataset, channels)

    def pair(serialised: Any) -> Any:
        batch = parse(serialised)
        return batch.images, tf.cast(batch.label_vectors, tf.float32)

    return batches.map(pair, num_parallel_calls=THREADS, deterministic=True).apply(_tail(steps - skip))


class Batch(NamedTuple):
    """One batch of `eval_batches`, in storage order.

    `ids` are UTF-8 bytes `[B]`, `images` uint8 or uint16 `[B, S, S, C]`, `label_vectors` uint8 `[B, classes]` of 0 and
    1.
    """

    ids: Any
    images: Any
    label_vectors: Any


def eval_batches(
    dataset: Dataset, split: str, *, channels: Sequence[str], batch_size: int, limit: int | None = None
) -> Any:
    """Returns a `tf.data.Dataset` of `Batch` over the whole split, or its first `limit` examples.

    Batches come in storage order with the channels asked for; the last one may be smaller.
    """
    num = num_limited(dataset, split, limit)
    batches = _stored(dataset, split, limit).batch(batch_size)
    return batches.map(_parser(dataset, channels), num_parallel_calls=THREADS, deterministic=True).apply(
        _tail(-(-num // batch_size))
    )


def set_labels_aside(batches: Any) -> tuple[Any, list[np.ndarray]]:
    """Returns the images of `eval_batches` as a `tf.data.Dataset`, and a list that their label vectors are added to.

    For Keras's `predict`, which takes a dataset of images, spreads each batch over all devices and returns outputs
    alone. The list is filled, in order, while the images are read.
    """
    import tensorflow as tf

    label_vectors: list[np.ndarray] = []

    def images_of(batch: Batch) -> Any:
        tf.numpy_function(lambda vectors: label_vectors.append(vectors.copy()), [batch.label_vectors], [])
        return batch.images

    return batches.map(images_of), label_vectors


def read_labels(dataset: Dataset, split: str, limit: int | None = None) -> np.ndarray:
    """Returns the label vectors of the split in storage order: uint8 `[N, classes]` of 0 and 1.

    They come from the table of labels beside the shards; without a table, every record is read.

    Raises:
        InputError: the table does not fit the dataset.
    """
    published = labels.read_published(dataset, split)
    return _read_labels(dataset, split, limit) if published is None else published[:limit]


def _read_labels(dataset: Dataset, split: str, limit: int | None) -> np.ndarray:
    """Returns the same, read from the records."""
    import tensorflow as tf

    features, label_vectors = _label_parser(dataset)

    def parse(serialised: Any) -> Any:
        return label_vectors(tf.io.parse_example(serialised, features))

    batches = _stored(dataset, split, limit).batch(64).map(parse, num_parallel_calls=THREADS)
    parts = list(batches.with_options(options()).as_numpy_iterator())
    return np.concatenate(parts) if parts else np.zeros((0, len(dataset.class_names)), np.uint8)


def _stored(dataset: Dataset, split: str, limit: int | None) -> Any:
    """Returns the serialised records of the split in storage order."""
    import tensorflow as tf

    stored = tf.data.TFRecordDataset(list(dataset.shards[split]), buffer_size=BUFFER_BYTES)
    stored = stored if limit is None else stored.take(limit)
    # TensorFlow raises no error for a shard that was cut between two records.
    return stored.apply(tf.data.experimental.assert_cardinality(num_limited(dataset, split, limit)))


def _first_copies(dataset: Dataset, order: Order, epoch: int) -> Any:
    """Returns the serialised records of train, each once, interleaved from several shards and shuffled."""
    import tensorflow as tf

    lengths = np.array(dataset.shard_lengths["train"])
    starts = np.cumsum(lengths) - lengths
    shown = lengths if order.limit is None else np.clip(order.limit - starts, 0, lengths)
    chosen = order.shards(epoch, len(lengths))
    chosen = chosen[shown[chosen] > 0]
    paths = np.array(dataset.shards["train"])[chosen]

    def read(path: Any, length: Any, num: Any) -> Any:
        stored = tf.data.TFRecordDataset(path, buffer_size=BUFFER_BYTES)
        return stored.apply(tf.data.experimental.assert_cardinality(length)).take(num)

    found = tf.data.Dataset.from_tensor_slices((paths, lengths[chosen], shown[chosen])).interleave(
        read,
        cycle_length=min(CYCLE_LENGTH, len(paths)),
        block_length=BLOCK_LENGTH,
        num_parallel_calls=min(THREADS, CYCLE_LENGTH, len(paths)),
        deterministic=True,
    )
    # Shuffled before they are parsed: a serialised record is one string of 256 KiB, a parsed example takes 1 MiB.
    return found.shuffle(order.buffer, seed=order.shuffle_seed(epoch), reshuffle_each_iteration=False)


def _in_order(dataset: Dataset, order: Order, epoch: int) -> Any:
    """Returns the serialised records of the epoch.

    First copies are read shard by shard; the other copies of an example are read one by one from any shard, so that
    they are spread over the epoch and not next to the first.
    """
    import tensorflow as tf

    first = _first_copies(dataset, order, epoch)
    copies = order.more_copies(epoch, dataset.num_examples["train"])
    if not len(copies):
        return first
    more = records.read(dataset.shards["train"], dataset.shard_lengths["train"], copies, THREADS)
    is_copy = order.is_copy(epoch, num_limited(dataset, "train", order.limit), len(copies))
    return tf.data.Dataset.choose_from_datasets(
        [first, more], tf.data.Dataset.from_tensor_slices(is_copy.astype(np.int64)), stop_on_empty_dataset=False
    )


def _parser(dataset: Dataset, channels: Sequence[str]) -> Callable[[Any], Batch]:
    """Returns the function from a batch of serialised records, string `[B]`, to a `Batch`."""
    import tensorflow as tf

    shape = (dataset.size, dataset.size, len(dataset.channels))
    chosen = [dataset.channels.index(channel) for channel in channels]
    features = {
        "id": tf.io.FixedLenFeature([], tf.string),
        "image": tf.io.FixedLenFeature([], tf.string),
    }
    label_features, label_vectors = _label_parser(dataset)

    def parse(serialised: Any) -> Batch:
        parsed = tf.io.parse_example(serialised, features | label_features)
        # Without `fixed_length`, which would silently pad a record that is too short.
        images = tf.reshape(tf.io.decode_raw(parsed["image"], dataset.schema.dtype), (-1, *shape))
        if chosen != list(range(shape[-1])):
            images = tf.gather(images, chosen, axis=-1)
        return Batch(parsed["id"], images, label_vectors(parsed))

    return parse


def _label_parser(dataset: Dataset) -> tuple[dict[str, Any], Callable[[dict[str, Any]], Any]]:
    """Returns the features that hold the labels, and the function from a batch of them to label vectors.

    Label vectors are uint8 `[B, classes]`. Records of version 1.0.0 have class ids instead.
    """
    import tensorflow as tf

    num_classes = len(dataset.class_names)
    if not dataset.has_label_vectors:
        return (
            {"labels": tf.io.VarLenFeature(tf.int64)},
            lambda parsed: tf.cast(tf.sparse.to_indicator(parsed["labels"], num_classes), tf.uint8),
        )

    def label_vectors(parsed: dict[str, Any]) -> Any:
        vectors = tf.io.decode_raw(parsed["label_vector"], tf.uint8)
        # Not -1 for the number of records: vectors of another length must fail, not be cut at other places.
        return tf.reshape(vectors, (tf.size(parsed["label_vector"]), num_classes))

    return {"label_vector": tf.io.FixedLenFeature([], tf.string)}, label_vectors


def _tail(num_batches: int) -> Any:
    """Returns the last steps of every pipeline: set its length, prefetch a few batches."""
    import tensorflow as tf

    def finish(batches: Any) -> Any:
        known = batches.with_options(options()).apply(tf.data.experimental.assert_cardinality(num_batches))
        return known.prefetch(PREFETCH_BATCHES)

    return finish


def options() -> Any:
    """Returns the `tf.data.Options` of every pipeline here: no tuning, no sharding of files over devices."""
    import tensorflow as tf

    chosen = tf.data.Options()
    chosen.autotune.enabled = False
    # All devices read the same files; `fit` divides each batch among them.
    chosen.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return chosen
