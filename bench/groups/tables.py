"""Label tables with groups, drawn in the shape of real ones.

The real tables of this shape are not distributed. Each group has a label set, drawn with the frequencies of the real
label table; its rows have that set with labels left out and added. Group sizes are geometric.
"""

import dataclasses

import numpy as np

from pipeline.atlas import label_sets
from pipeline.plan.table import Example

ROWS_PER_GROUP = 5.82
"""Mean rows per antibody in the table of 74,606 rows and 12,815 antibodies."""

KEPT, ADDED = 0.85, 0.12
"""Probability that a row has each label of its group, and that it gets a random label in addition."""


@dataclasses.dataclass(frozen=True)
class Table:
    """A label table and the group of each of its ids."""

    examples: list[Example]
    groups: dict[str, str]


def by_group(num_groups: int, num_rows: int, seed: int = 0, largest: int = 60) -> Table:
    """Returns `num_rows` rows in `num_groups` groups of 1 to `largest` rows."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.geometric(num_groups / num_rows, num_groups), largest)
    while (missing := num_rows - int(sizes.sum())) != 0:  # group by group, until the sum is right
        free = np.flatnonzero(sizes < largest if missing > 0 else sizes > 1)
        sizes[rng.choice(free, min(abs(missing), len(free)), replace=False)] += np.sign(missing)
    return _rows(np.repeat(np.arange(num_groups), sizes), rng)


def by_plate(num_plates: int, num_rows: int, seed: int = 0) -> Table:
    """Returns the rows of `by_group`, grouped by plate: each plate has all rows of one to a few dozen groups."""
    table = by_group(round(num_rows / ROWS_PER_GROUP), num_rows, seed)
    names = list(dict.fromkeys(table.groups.values()))
    rng = np.random.default_rng(seed + 1)
    cuts = np.sort(rng.choice(len(names) - 1, num_plates - 1, replace=False) + 1)  # geometric gaps
    plates = np.searchsorted(cuts, np.arange(len(names)), side="right")
    plate = dict(zip(names, plates.tolist(), strict=True))
    return Table(table.examples, {name: f"plate{plate[group]}" for name, group in table.groups.items()})


def by_mixed_plate(num_plates: int, num_rows: int, seed: int = 0) -> Table:
    """Returns the rows of `by_group`, with groups dealt at random to plates of equally many groups."""
    table = by_group(round(num_rows / ROWS_PER_GROUP), num_rows, seed)
    names = list(dict.fromkeys(table.groups.values()))
    dealt = np.random.default_rng(seed + 1).permutation(np.arange(len(names)) % num_plates)
    plate = dict(zip(names, dealt.tolist(), strict=True))
    return Table(table.examples, {name: f"plate{plate[group]}" for name, group in table.groups.items()})


def uniform(num_rows: int, largest: int = 20, seed: int = 0) -> Table:
    """Returns `num_rows` rows in groups of 1 to `largest` rows, every size equally frequent."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.integers(1, largest + 1, num_rows))
    return _rows(np.searchsorted(ends, np.arange(num_rows), side="right"), rng)


def _rows(group: np.ndarray, rng: np.random.Generator) -> Table:
    """Returns a row for each entry of `group`, the number of its group."""
    sets, cumulated = label_sets._distribution()
    frequent = np.array(label_sets.ROWS_BY_CLASS, float).cumsum()
    drawn = np.searchsorted(cumulated, rng.random(int(group[-1]) + 1) * cumulated[-1], side="right").tolist()
    kept = (rng.random((len(group), 4)) < KEPT).tolist()
    added = np.where(
        rng.random(len(group)) < ADDED,
        np.searchsorted(frequent, rng.random(len(group)) * frequent[-1], side="right"),
        -1,
    ).tolist()
    examples, groups = [], {}
    for number, (of, keep, extra) in enumerate(zip(group.tolist(), kept, added, strict=True)):
        labels = {label for label, stays in zip(sets[drawn[of]], keep, strict=False) if stays}
        labels |= {extra} if extra >= 0 else set()
        example = Example(f"row{number:08d}", tuple(sorted(labels or sets[drawn[of]])))
        examples.append(example)
        groups[example.id] = f"group{of}"
    return Table(examples, groups)
