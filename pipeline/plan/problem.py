"""The problem that a split solves: kinds of units, the target sizes, and the cost of a solution."""

import dataclasses
import functools

import numpy as np

SIZE_WEIGHT = 1e3
"""Cost of one example too many or too few in a split; of one too many or too few of a class, the cost is 1."""


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Units (examples, or groups) of several kinds, each of which goes to one split as a whole.

    Attributes:
      counts: int `[kinds, classes]`, how many examples of each class a unit has.
      examples: int `[kinds]`, how many examples a unit has.
      units: int `[kinds]`, how many units may go to any split.
      placed: int `[kinds, splits]`, how many units stay in each split.
      wanted: examples wanted in each split.

    A solution is called `quotas`: int `[kinds, splits]`, how many of the free units go to each split.
    """

    counts: np.ndarray
    examples: np.ndarray
    units: np.ndarray
    placed: np.ndarray
    wanted: tuple[int, ...]

    @functools.cached_property
    def placed_counts(self) -> np.ndarray:
        """Examples of each class that stay, int `[splits, classes]`."""
        return np.asarray(self.placed.T @ self.counts)

    @functools.cached_property
    def placed_sizes(self) -> np.ndarray:
        """Examples that stay, int `[splits]`."""
        return np.asarray(self.placed.T @ self.examples)

    @functools.cached_property
    def totals(self) -> np.ndarray:
        """Examples of each class, int `[classes]`."""
        return np.asarray(self.units @ self.counts + self.placed_counts.sum(axis=0))

    @functools.cached_property
    def shares(self) -> np.ndarray:
        """The exact, fractional share of each class in each split of the wanted size, float `[splits, classes]`."""
        return np.asarray(self.totals * np.array(self.wanted)[:, None] / sum(self.wanted))

    @functools.cached_property
    def carriers(self) -> np.ndarray:
        """Free units that have each class, int `[classes]`."""
        return np.asarray(self.units @ (self.counts > 0))

    @functools.cached_property
    def required(self) -> np.ndarray:
        """Bool `[splits, classes]`: a class that has to be in a split.

        Every split of a wanted size above 0 must have a class if there are enough units for the splits that lack it;
        units larger than the smallest split do not count. A split that has it keeps it.
        """
        wanted = np.array(self.wanted)
        fits = self.examples <= wanted[wanted > 0].min()
        movable = (self.units * fits) @ (self.counts > 0)
        has = self.placed_counts > 0
        empty = ~has & (wanted > 0)[:, None]
        return np.asarray(has | (empty & (empty.sum(axis=0) <= movable)))

    def counts_of(self, quotas: np.ndarray) -> np.ndarray:
        """Returns the examples of each class in each split, int `[splits, classes]`."""
        return np.asarray(quotas.T @ self.counts + self.placed_counts)

    def deviation(self, quotas: np.ndarray) -> float:
        """Returns the sum of the classes' deviations from their shares, rounded to a millionth of an example.

        The rounded sum does not depend on the order in which a processor adds.
        """
        return round(float(np.abs(self.counts_of(quotas) - self.shares).sum()), 6)

    def size_deviation(self, quotas: np.ndarray) -> int:
        """Returns the sum of the splits' deviations from the sizes wanted."""
        return int(np.abs(quotas.T @ self.examples + self.placed_sizes - self.wanted).sum())

    def value(self, quotas: np.ndarray) -> tuple[int, float]:
        """Returns (classes missing where they have to be, cost): smaller is better."""
        missing = int((self.required & (self.counts_of(quotas) == 0)).sum())
        return missing, self.deviation(quotas) + SIZE_WEIGHT * self.size_deviation(quotas)

    def kind_of(self) -> np.ndarray:
        """Returns the kind of each free unit, int `[units]`, ascending."""
        return np.repeat(np.arange(len(self.units)), self.units)

    def quotas_of(self, part: np.ndarray) -> np.ndarray:
        """Returns the quotas of a split, given as the number of the split of each free unit, int `[units]`."""
        quotas = np.zeros_like(self.placed)
        np.add.at(quotas, (self.kind_of(), part), 1)
        return quotas

    def part_of(self, quotas: np.ndarray) -> np.ndarray:
        """Returns the split of each free unit, int `[units]`; the inverse of `quotas_of`."""
        return np.repeat(np.tile(np.arange(len(self.wanted)), len(self.units)), quotas.ravel())
