"""What a split has to solve: units, the sizes wanted, and what a solution is worth."""

import dataclasses
import functools

import numpy as np

SIZE_WEIGHT = 1e3
"""Cost of one example too many or too few in a split; of one too many or too few of a class, the cost is 1."""

FREE = -1
"""The split of a unit that may go to any."""


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Units, each of which goes to one split as a whole.

    Attributes:
      counts: int `[units, classes]`, how many examples of each class a unit has.
      examples: int `[units]`, how many examples a unit has.
      wanted: examples wanted in each split.
      fixed: int `[units]`, the number of the split that a unit has to stay in, or `FREE`.
    """

    counts: np.ndarray
    examples: np.ndarray
    wanted: tuple[int, ...]
    fixed: np.ndarray

    @functools.cached_property
    def totals(self) -> np.ndarray:
        """Examples of each class, int `[classes]`."""
        return np.asarray(self.counts.sum(axis=0))

    @functools.cached_property
    def shares(self) -> np.ndarray:
        """The exact, fractional share of each class in each split of the wanted size, float `[splits, classes]`."""
        return self.totals * np.array(self.wanted)[:, None] / sum(self.wanted)

    @functools.cached_property
    def carriers(self) -> np.ndarray:
        """Units that have each class, int `[classes]`."""
        return np.asarray((self.counts > 0).sum(axis=0))

    def counts_of(self, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (int `[splits, classes]`, int `[splits]`): examples of each class, and of all; `FREE` ones are none."""
        rows = [part == split for split in range(len(self.wanted))]
        counts = np.stack([self.counts[row].sum(axis=0) for row in rows])
        return counts, np.array([self.examples[row].sum() for row in rows])

    def deviations(self, part: np.ndarray) -> tuple[float, int]:
        """Returns the sums of (deviations of classes from their shares, deviations of sizes), in examples."""
        counts, sizes = self.counts_of(part)
        return float(np.abs(counts - self.shares).sum()), int(np.abs(sizes - self.wanted).sum())

    def required(self) -> np.ndarray:
        """Returns bool `[splits, classes]`: a split that must have a class.

        A class must stand in every split of a wanted size above 0 if it has as many units as there are such splits;
        units larger than a split do not count, nor those of which too many are fixed elsewhere.
        """
        wanted = np.array(self.wanted)
        fitting = self.examples <= wanted[wanted > 0].min()
        movable = (self.counts[(self.fixed == FREE) & fitting] > 0).sum(axis=0)
        has, _ = self.counts_of(self.fixed)
        empty = (has == 0) & (wanted > 0)[:, None]
        return ((wanted > 0)[:, None] & (empty.sum(axis=0) <= movable)) | (has > 0)
