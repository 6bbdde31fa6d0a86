"""Baseline splits of the same label table: at random, and by `iterative-stratification`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.plan.table import Example

LARGEST_RANDOM, LARGEST_STRATIFIED = 1_000_000, 20_000
"""Largest number of groups for the baselines; `iterative-stratification` takes seconds for that many."""


@dataclasses.dataclass(frozen=True, eq=False)
class Other:
    """A split by another method: `counts` is int `[splits, classes]`, `sizes` int `[splits]`."""

    name: str
    counts: np.ndarray
    sizes: np.ndarray

    def deviation(self, wanted: Sequence[int]) -> tuple[float, float]:
        """Returns (sum of the deviations of classes from their exact shares, the largest one), in examples."""
        shares = self.counts.sum(axis=0) * np.array(wanted)[:, None] / sum(wanted)
        off = np.abs(self.counts - shares)
        return float(off.sum()), float(off.max())

    def num_absent(self, wanted: Sequence[int]) -> int:
        """Returns how many classes are missing in a split whose wanted size is above 0."""
        needed = (np.array(wanted) > 0) & (self.sizes >= 0)
        return int(((self.counts[needed] == 0).any(axis=0) & (self.counts.sum(axis=0) > 0)).sum())


def others(
    examples: Sequence[Example],
    groups: Mapping[str, str],
    wanted: Sequence[int],
    num_classes: int,
    seed: int,
) -> list[Other]:
    """Returns the splits by other methods, which also keep groups whole.

    `iterative-stratification` is not a dependency: without it, only the random split is returned.
    """
    counts, sizes = group_counts(examples, groups, num_classes)
    found = []
    if len(sizes) <= LARGEST_RANDOM:
        random = np.random.RandomState(seed % 2**32)
        part = np.empty(len(sizes), int)
        order = random.permutation(len(sizes))
        middle = np.cumsum(sizes[order]) - sizes[order] / 2
        part[order] = np.searchsorted(np.cumsum(wanted)[:-1], middle, side="right")
        found.append(_other("at random", counts, sizes, part, len(wanted)))
    if len(sizes) <= LARGEST_STRATIFIED and (part_or_none := _stratified(counts > 0, wanted, seed)) is not None:
        found.append(_other("iterative-stratification", counts, sizes, part_or_none, len(wanted)))
    return found


def group_counts(
    examples: Sequence[Example], groups: Mapping[str, str], num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (int `[groups, classes]`, int `[groups]`): examples of each class in each group, and of all."""
    numbers: dict[tuple[bool, str], int] = {}
    group_of = [
        numbers.setdefault((True, groups[example.id]) if example.id in groups else (False, example.id), len(numbers))
        for example in examples
    ]
    counts = np.zeros((len(numbers), num_classes), int)
    rows = np.repeat(group_of, [len(example.labels) for example in examples])
    labels = np.array([label for example in examples for label in example.labels], int)
    np.add.at(counts, (rows, labels), 1)
    return counts, np.bincount(group_of, minlength=len(numbers))


def _other(name: str, counts: np.ndarray, sizes: np.ndarray, part: np.ndarray, num_splits: int) -> Other:
    rows = [part == split for split in range(num_splits)]
    return Other(
        name, np.stack([counts[row].sum(axis=0) for row in rows]), np.array([sizes[row].sum() for row in rows])
    )


def _stratified(labels: np.ndarray, wanted: Sequence[int], seed: int) -> np.ndarray | None:
    """Returns the split of each group by `iterative-stratification`, on the union of its labels.

    `None` where the package is not installed, or cannot split the table.
    """
    try:
        from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
    except ImportError:
        return None
    part = np.zeros(len(labels), int)
    rest = np.arange(len(labels))
    try:
        for split in range(1, len(wanted)):  # each split is taken from what the ones before it left
            share = wanted[split] / (wanted[0] + sum(wanted[split:]))
            if not share:
                continue
            splitter: Any = MultilabelStratifiedShuffleSplit(1, test_size=share, random_state=seed % 2**32)
            left, taken = next(splitter.split(rest, labels[rest].astype(int)))
            part[rest[taken]] = split
            rest = rest[left]
    except ValueError:  # too few rows for it
        return None
    return part
