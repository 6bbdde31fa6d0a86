"""Damage to a published dataset, detected when it is opened or read.

Opening compares the sizes of all shards with the metadata, which costs a few milliseconds. TensorFlow checks the
checksums of records while it reads them, and every pass checks their number against the metadata.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model.data.dataset import Dataset
from pipeline.errors import InputError

_MOST_OTHER_BYTES = 1024
"""Limit for a record's bytes beside its image, plus 10 for each class; framing and an id of 200 bytes fit."""


def check_sizes(dataset: Dataset, num_bytes: Mapping[str, int]) -> None:
    """Checks that all shards are there and as long as the metadata says; `num_bytes` are the bytes of each split.

    Raises:
        InputError: naming the shard.
    """
    image = dataset.size * dataset.size * len(dataset.channels) * (2 if dataset.schema.dtype == "uint16" else 1)
    most = image + _MOST_OTHER_BYTES + 10 * len(dataset.class_names)
    for split, shards in dataset.shards.items():
        total = 0
        for shard, length in zip(shards, dataset.shard_lengths[split], strict=True):
            try:
                found = os.path.getsize(shard)
            except OSError as error:
                raise _damaged(dataset, f"shard {Path(shard).name} cannot be read ({error.strerror})") from None
            if not length * image <= found <= length * most:
                raise _damaged(
                    dataset, f"shard {Path(shard).name} has {found:,} bytes, too few or too many for {length} records"
                )
            total += found
        if total != num_bytes[split]:
            found_problem = _first_problem(dataset, split)
            problem = f"the shards of {split} have {total:,} bytes, expected {num_bytes[split]:,}"
            raise _damaged(dataset, found_problem or problem)


@contextlib.contextmanager
def named(dataset: Dataset) -> Iterator[None]:
    """Turns TensorFlow's errors of a damaged dataset into one line that names the shard.

    Raises:
        InputError: a shard is missing or damaged, or holds more or fewer records than the metadata says.
    """
    import tensorflow as tf

    errors = tf.errors
    try:
        yield
    except (errors.DataLossError, errors.NotFoundError, errors.FailedPreconditionError, errors.InvalidArgumentError):
        for split in dataset.shards:
            if problem := _first_problem(dataset, split):
                raise _damaged(dataset, problem) from None
        raise


def _first_problem(dataset: Dataset, split: str) -> str | None:
    """Returns what is wrong with the first damaged shard of a split; reads the shards up to it."""
    for shard, length in zip(dataset.shards[split], dataset.shard_lengths[split], strict=True):
        name = Path(shard).name
        try:
            count = _count(shard)
        except _read_errors() as error:
            text = str(error.message).rpartition("}} ")[2].splitlines()[0]  # after the name of TensorFlow's operation
            return f"shard {name} is damaged ({text[:120]})"
        if count != length:
            return f"shard {name} has {count} records, expected {length}"
    return None


def _count(shard: str) -> int:
    import tensorflow as tf

    return sum(1 for _ in tf.data.TFRecordDataset(shard))


def _read_errors() -> tuple[Any, ...]:
    import tensorflow as tf

    return (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError, tf.errors.UnknownError)


def _damaged(dataset: Dataset, problem: str) -> InputError:
    return InputError(
        f"dataset {dataset.path}: {problem}; 'python -m pipeline verify {dataset.path}' lists all damage, and the "
        "build command with --overwrite makes it again"
    )
