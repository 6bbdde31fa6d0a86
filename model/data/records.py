"""Random access to the records of a TFRecord shard, by their position."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

# The format: the length in 8 bytes, a checksum of it in 4, that many bytes, a checksum of them in 4.
# https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
HEADER_BYTES, FOOTER_BYTES = 12, 4

AT_ONCE = 16
"""Records per call from TensorFlow into Python."""


def bounds(path: str, length: int) -> np.ndarray:
    """Returns where each of the `length` records of a shard begins, and where the last one ends: int64 `[length + 1]`.

    Reads 8 bytes of each record.

    Raises:
        DataLossError, NotFoundError: TensorFlow's; the shard has another number of records, or cannot be opened.
    """
    import tensorflow as tf

    try:
        with open(path, "rb") as file:
            descriptor, size = file.fileno(), os.fstat(file.fileno()).st_size
            found = [0]
            while len(found) <= length and found[-1] < size:
                num_bytes = int.from_bytes(os.pread(descriptor, 8, found[-1]), "little")
                found.append(found[-1] + HEADER_BYTES + num_bytes + FOOTER_BYTES)
    except OSError as error:
        raise tf.errors.NotFoundError(None, None, f"{path}: {error.strerror}") from None
    if len(found) != length + 1 or found[-1] != size:
        raise tf.errors.DataLossError(None, None, f"{path}: not {length} records")
    return np.array(found, np.int64)


def read(paths: Sequence[str], lengths: Sequence[int], chosen: np.ndarray, num_threads: int) -> Any:
    """Returns a `tf.data.Dataset` of serialised records: those numbered `chosen`, int64 `[N]`, counted over all shards.

    Checksums are not compared: training also reads each of these records in a pass that compares them.
    """
    import tensorflow as tf

    found = [bounds(path, length) for path, length in zip(paths, lengths, strict=True)]
    shards = np.repeat(np.arange(len(paths)), lengths)[chosen]
    begins = np.concatenate([each[:-1] for each in found])[chosen] + HEADER_BYTES
    ends = np.concatenate([each[1:] for each in found])[chosen] - FOOTER_BYTES

    def read_some(shards: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        places = zip(shards, begins, ends, strict=True)
        return np.array([_read_bytes(paths[shard], begin, end) for shard, begin, end in places], object)

    # In Python: opening a `tf.data.Dataset` for each record takes milliseconds.
    places = tf.data.Dataset.from_tensor_slices((shards, begins, ends)).batch(AT_ONCE)
    return places.map(
        lambda *place: tf.ensure_shape(tf.numpy_function(read_some, place, tf.string, stateful=False), [None]),
        num_parallel_calls=num_threads,
        deterministic=True,
    ).unbatch()


def _read_bytes(path: str, begin: int, end: int) -> bytes:
    """Returns the bytes of a file from `begin` to `end`; fewer if it was cut, and then parsing the record fails."""
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(begin)
            return file.read(end - begin)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None  # an `InvalidArgumentError` in TensorFlow
