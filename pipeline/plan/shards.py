"""Shard plans: the file and the position of every example.

Within a split, examples are ordered by a salted hash of their id and cut into shards of equal length (plus or minus
one). Labels and ids decide the plan; no image is opened.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence

from pipeline.errors import InputError
from pipeline.plan.table import Example
from pipeline.schema import HPA_KAGGLE_2018, NAME, SPLITS, VERSION, Schema
from pipeline.write import records

DEFAULT_SHARD_MIB = 64
"""Large enough that reading a file takes much longer than opening it, small enough to shuffle shards well."""


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """One file to write: `examples` in the order of its records."""

    split: str
    index: int
    num_shards: int
    examples: tuple[Example, ...]
    file_format: str = "tfrecord"

    @property
    def filename(self) -> str:
        """The name that TFDS gives shard `index` of `num_shards`."""
        return f"{NAME}-{self.split}.{self.file_format}-{self.index:05d}-of-{self.num_shards:05d}"

    def fingerprint(self, schema: Schema, size: int, file_bytes: Mapping[str, Sequence[int]]) -> str:
        """SHA-256 (hex) of all that decides this shard's bytes; a finished shard is reused only if it matches."""
        rows = [[example.id, example.labels, example.files, file_bytes[example.id]] for example in self.examples]
        form = [schema.digest(), schema.num_classes, schema.single_label, size, self.filename]
        return hashlib.sha256(json.dumps([VERSION, form, rows]).encode()).hexdigest()


def record_bytes(schema: Schema, size: int, id_bytes: int = 36) -> int:
    """Returns the largest number of bytes that one record of a `size` x `size` image takes in a shard."""
    pixels = size * size * schema.num_channels * (schema.max_value.bit_length() // 8)
    # The label vector, as many labels of two bytes at most, and 100 for names and lengths
    return pixels + id_bytes + 3 * schema.num_classes + 100 + records.FRAME_BYTES


def plan(
    examples: Sequence[Example],
    splits: Mapping[str, str],
    *,
    schema: Schema = HPA_KAGGLE_2018,
    size: int,
    seed: int = 0,
    num_shards: int | None = None,
    shard_mib: float = DEFAULT_SHARD_MIB,
    max_examples: int | None = None,
    file_format: str = "tfrecord",
) -> list[ShardPlan]:
    """Returns the plan of every shard, train first.

    Args:
      examples: with unique ids.
      splits: `{id: split}`.
      schema: what an example is made of.
      size: pixels a side of the stacked image.
      seed: changes the order.
      num_shards: shards per split, at most one per example; `None` for as many as `shard_mib` asks for.
      shard_mib: largest size of a shard, in MiB; a shard holds at least one example.
      file_format: of the shards, a key of `shard_files.FORMATS`.
      max_examples: keep only this many examples of each split, the first ones, for a trial.

    Raises:
      InputError: a number that is not above 0.
    """
    for name, value in (("num_shards", num_shards), ("shard_mib", shard_mib), ("max_examples", max_examples)):
        if value is not None and value <= 0:
            raise InputError(f"{name} is {value}, expected more than 0")
    members: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for example in examples:
        members[splits[example.id]].append(example)
    plans = []
    for split in SPLITS:
        ordered = sorted(members[split], key=lambda example: _place(seed, example.id))[:max_examples]
        count = num_shards or _count_shards(ordered, schema, size, shard_mib)
        plans += _cut(split, ordered, min(count, len(ordered)), file_format)
    return plans


def _count_shards(examples: Sequence[Example], schema: Schema, size: int, shard_mib: float) -> int:
    """Returns how many shards of at most `shard_mib` MiB the examples fill."""
    per_record = record_bytes(schema, size, max((len(example.id) for example in examples), default=0))
    per_shard = max(1, int(shard_mib * 2**20 // per_record))
    return -(-len(examples) // per_shard)


def _cut(split: str, examples: Sequence[Example], count: int, file_format: str) -> list[ShardPlan]:
    """Cuts a split into `count` shards of equal length, plus or minus one; none if it has no examples."""
    if not examples:
        return []
    bounds = itertools.pairwise(k * len(examples) // count for k in range(count + 1))
    return [
        ShardPlan(split, k, count, tuple(examples[start:stop]), file_format) for k, (start, stop) in enumerate(bounds)
    ]


def _place(seed: int, example_id: str) -> bytes:
    # The salt differs from that of the split's hash, so that the order is independent of the split.
    return hashlib.sha256(f"{seed}/order/{example_id}".encode()).digest()
