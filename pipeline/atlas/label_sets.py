"""Random label sets with the frequencies of the real label table.

The table itself is not distributed. Label sets are drawn from the maximum-entropy distribution with the counts
below, which come from the table.
"""

import functools
import itertools

import numpy as np
from numpy.random import Generator

from pipeline.schema import HPA_KAGGLE_2018

NUM_CLASSES = HPA_KAGGLE_2018.num_classes

# All counts: train.csv of the Kaggle competition "Human Protein Atlas Image Classification" (2018), 31,072 rows.
ROWS_BY_NUM_LABELS = {1: 15126, 2: 12485, 3: 3160, 4: 299, 5: 2}

ROWS_BY_CLASS = (
    12885, 1254, 3621, 1561, 1858, 2513, 1008, 2822, 53, 45, 28, 1093, 688, 537,
    1066, 21, 530, 210, 902, 1482, 172, 3777, 802, 2965, 322, 8228, 328, 11,
)  # fmt: skip

ROWS_BY_ONLY_CLASS = (
    2414, 271, 808, 654, 1077, 983, 622, 1163, 31, 17, 0, 601, 232, 157,
    484, 0, 27, 0, 314, 522, 98, 1058, 213, 1653, 122, 1470, 134, 1,
)  # fmt: skip
"""Rows with this class and no other."""

ROWS_BY_PAIR = {
    (0, 25): 3631, (0, 2): 1735, (0, 21): 1343, (0, 7): 1092, (21, 25): 921, (0, 5): 806, (0, 23): 802,
    (2, 25): 782, (0, 19): 614, (0, 1): 600, (0, 3): 571, (5, 25): 555, (7, 25): 411, (4, 25): 329, (0, 22): 325,
    (0, 16): 286, (0, 18): 279, (19, 25): 276, (3, 25): 272, (1, 25): 261, (0, 11): 259, (18, 25): 258,
    (2, 23): 226, (0, 14): 217,
}  # fmt: skip
"""Rows with both classes, for the 24 most frequent pairs."""

_LARGEST = 4  # a set of five, 2 rows in 31,072, is drawn as a set of four plus one more class


def draw_labels(seed: int, index: int, *, balanced: bool) -> tuple[int, ...]:
    """Returns the labels of example `index`, ascending; a pure function of its arguments.

    With `balanced` every class is equally frequent: each block of 28 examples (0..27, 28..55, ...) has every class
    once as its first label, and further labels are drawn uniformly.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, index, int(balanced), 0]))
    if not balanced:
        return _draw_frequent(rng)
    block = np.random.default_rng(np.random.SeedSequence([seed, index // NUM_CLASSES, int(balanced), 2]))
    first = int(block.permutation(NUM_CLASSES)[index % NUM_CLASSES])
    counts = np.array(list(ROWS_BY_NUM_LABELS.values()), np.float64)
    num_labels = int(rng.choice(list(ROWS_BY_NUM_LABELS), p=counts / counts.sum()))
    others = rng.permutation([c for c in range(NUM_CLASSES) if c != first])[: num_labels - 1]
    return tuple(sorted([first, *others.tolist()]))


def _draw_frequent(rng: Generator) -> tuple[int, ...]:
    sets, cumulated = _distribution()
    drawn = sets[np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right")]
    four, five = ROWS_BY_NUM_LABELS[4], ROWS_BY_NUM_LABELS[5]
    if len(drawn) == _LARGEST and rng.random() < five / (four + five):
        weights = np.array(ROWS_BY_CLASS, np.float64)
        weights[list(drawn)] = 0
        drawn = (*drawn, int(rng.choice(NUM_CLASSES, p=weights / weights.sum())))
    return tuple(sorted(drawn))


@functools.cache
def _distribution() -> tuple[list[tuple[int, ...]], np.ndarray]:
    """All sets of up to four classes, and the cumulative sum of their expected rows (float64).

    Iterative proportional fitting: the sets of each constraint are scaled in turn until all constraints are met.
    Sixty rounds meet every count within 1% (tested), in a fifth of a second.
    """
    several = [s for size in range(2, _LARGEST + 1) for s in itertools.combinations(range(NUM_CLASSES), size)]
    member = np.zeros((NUM_CLASSES, len(several)), bool)
    for column, labels in enumerate(several):
        member[list(labels), column] = True
    sizes = member.sum(axis=0)
    rows_by_size = {**ROWS_BY_NUM_LABELS, 4: ROWS_BY_NUM_LABELS[4] + ROWS_BY_NUM_LABELS[5]}
    constraints = [(np.flatnonzero(member[a] & member[b]), rows) for (a, b), rows in ROWS_BY_PAIR.items()]
    for label, (rows, alone) in enumerate(zip(ROWS_BY_CLASS, ROWS_BY_ONLY_CLASS, strict=True)):
        constraints.append((np.flatnonzero(member[label]), rows - alone))
    constraints += [(np.flatnonzero(sizes == size), rows_by_size[size]) for size in range(2, _LARGEST + 1)]
    expected = np.ones(len(several))
    for _ in range(60):
        for where, rows in constraints:
            expected[where] *= rows / expected[where].sum()
    sets = [(c,) for c in range(NUM_CLASSES)] + several
    return sets, np.cumsum(np.concatenate([np.array(ROWS_BY_ONLY_CLASS, np.float64), expected]))
