"""In which file does each example stand, and in which place?

Within a split, examples are ordered by a salted hash of their id and cut into shards of equal length (one
more or less). Everything is known before the first image is opened.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence

from pipeline.errors import InputError
from pipeline.plan.manifest import Example
from pipeline.schema import FILTERS, NAME, NUM_CLASSES, SPLITS, VERSION
from pipeline.write import records

DEFAULT_SHARD_MIB = 64
"""Large enough that opening a file costs nothing beside reading it, small enough to shuffle shards well."""


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """One file to write: `examples` in the order of its records."""

    split: str
    index: int
    num_shards: int
    examples: tuple[Example, ...]

    @property
    def filename(self) -> str:
        """The name that TFDS gives shard `index` of `num_shards`."""
        return f"{NAME}-{self.split}.tfrecord-{self.index:05d}-of-{self.num_shards:05d}"

    def fingerprint(self, size: int, file_bytes: Mapping[str, Sequence[int]]) -> str:
        """SHA-256 (hex) of all that decides this shard's bytes: a finished shard is reused only if it fits."""
        rows = [[example.id, example.labels, file_bytes[example.id]] for example in self.examples]
        return hashlib.sha256(json.dumps([VERSION, size, self.filename, rows]).encode()).hexdigest()


def record_bytes(size: int, id_bytes: int = 36) -> int:
    """Returns how many bytes one record of a `size` x `size` image takes in a shard, at most."""
    # 28 labels of a byte each, and 60 for names and lengths
    return size * size * len(FILTERS) + id_bytes + NUM_CLASSES + 60 + records.FRAME_BYTES


def plan(
    examples: Sequence[Example],
    splits: Mapping[str, str],
    *,
    size: int,
    seed: int = 0,
    num_shards: int | None = None,
    shard_mib: float = DEFAULT_SHARD_MIB,
    max_examples: int | None = None,
) -> list[ShardPlan]:
    """Returns the plan of every shard, train first.

    Args:
      examples: with unique ids.
      splits: `{id: split}`.
      size: pixels a side of the stacked image.
      seed: another seed, another order.
      num_shards: shards per split (never more than it has examples); `None`: by `shard_mib`.
      shard_mib: largest size of a shard, in MiB (of one example at least).
      max_examples: keep only the first so many examples of each split, for trying things out.

    Raises:
      InputError: a count below one.
    """
    for name, value in (("num_shards", num_shards), ("shard_mib", shard_mib), ("max_examples", max_examples)):
        if value is not None and value <= 0:
            raise InputError(f"{name} is {value}, expected more than 0")
    members: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for example in examples:
        members[splits[example.id]].append(example)
    plans = []
    for split in SPLITS:
        chosen = sorted(members[split], key=lambda example: _place(seed, example.id))[:max_examples]
        per_record = record_bytes(size, max((len(example.id) for example in chosen), default=0))
        per_shard = max(1, int(shard_mib * 2**20 // per_record))
        count = max(1, min(num_shards or -(-len(chosen) // per_shard), len(chosen)))
        cuts = [k * len(chosen) // count for k in range(count + 1)]
        plans += [
            ShardPlan(split, k, count, tuple(chosen[cuts[k] : cuts[k + 1]])) for k in range(count if chosen else 0)
        ]
    return plans


def _place(seed: int, example_id: str) -> bytes:
    # Salted apart from the split's hash, so that a shard is no stratum of it.
    return hashlib.sha256(f"{seed}/order/{example_id}".encode()).digest()
