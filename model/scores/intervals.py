"""How far could a score be off, because the split is one draw of examples out of many?

The bootstrap by group: groups of near-duplicates are drawn with replacement, whole (Davison and Hinkley 1997,
section 3.8), and the interval holds the middle 95% of the scores of the redrawn splits (Efron 1979).

That alone is too sure of rare classes: a class that was found zero times of three is found zero times in every
redrawn split, and macro F1 gives it the weight of any other. So every redrawn count of true positives, false
positives and false negatives gets a small random number on top, from the gamma distribution that Goutte and
Gaussier (2005) put on these counts. `PRIOR` is its shape. On simulated splits of 300 and 4,072 examples with
the real class frequencies, nominal 95% intervals of macro F1 over 28 classes held the true value in 88% to
92% of cases with it, and in as few as 12% without. Over classes with ten positives or more: 92% to 97%.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

NUM_RESAMPLES = 1000
LEVEL = 0.95
PRIOR = 0.1
"""Pseudo-counts, as weak as they can be: 0.1 lets the F1 of a class nobody saw be anything."""

CHUNK = 100
"""Resamples at a time: 20 MB of weights at 24,000 examples."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A score and where it probably lies."""

    estimate: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"


def group_codes(ids: Sequence[str], groups: Mapping[str, str]) -> np.ndarray:
    """Returns the number of each id's group, int64 `[N]`, 0 to groups - 1; an id without a group is its own."""
    keys = [("group", groups[one]) if one in groups else ("id", one) for one in ids]
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def f1_replicates(
    label_vectors: np.ndarray,
    predicted: np.ndarray,
    codes: np.ndarray | None = None,
    *,
    num: int = NUM_RESAMPLES,
    seed: int = 0,
    prior: float = PRIOR,
) -> np.ndarray:
    """Returns F1 of each class in each of `num` redrawn splits: float64 `[num, 28]`.

    Args:
        label_vectors: `[N, 28]` of 0 and 1.
        predicted: bool `[N, 28]`.
        codes: the group of each example, int `[N]`; without it each stands alone.
        prior: shape of the gamma pseudo-counts; 0 adds none.
    """
    counts = per_group(label_vectors, predicted, codes)
    totals = np.concatenate(list(_redrawn(counts, num, seed)))
    if prior:
        totals += np.random.default_rng([seed, 1]).gamma(prior, size=totals.shape)
    return f1_of(totals)


def per_group(label_vectors: np.ndarray, predicted: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
    """Returns true positives, false positives, false negatives of each group: float32 `[groups, 3 * 28]`."""
    truth, said = label_vectors.astype(bool), predicted.astype(bool)
    each = np.concatenate([truth & said, ~truth & said, truth & ~said], axis=1).astype(np.float32)
    if codes is None:
        return each
    sums = np.zeros((int(codes.max(initial=-1)) + 1, each.shape[1]), np.float32)
    np.add.at(sums, codes, each)
    return sums


def _redrawn(counts: np.ndarray, num: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng([seed, 0])
    groups = len(counts)
    for start in range(0, num, CHUNK):
        size = min(CHUNK, num - start)
        draws = [np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(size)]
        yield (np.array(draws, np.float32) @ counts).astype(np.float64)


def f1_of(totals: np.ndarray) -> np.ndarray:
    """Returns F1, `[..., 28]`, of true positives, false positives, false negatives `[..., 3 * 28]`."""
    true_positives, false_positives, false_negatives = np.split(totals, 3, axis=-1)
    below = 2 * true_positives + false_positives + false_negatives
    return np.divide(2 * true_positives, below, out=np.zeros_like(below), where=below > 0)


def macro(f1: np.ndarray, replicates: np.ndarray, classes: np.ndarray | None = None) -> Interval:
    """Returns mean F1 over the classes (all, or those where `classes`, bool `[28]`, holds) with its interval."""
    chosen = np.ones(len(f1), bool) if classes is None else classes
    if not chosen.any():
        return Interval(0.0, 0.0, 0.0)
    found = around(float(f1[chosen].mean()), replicates[:, chosen].mean(axis=1))
    # Where nearly every class is rare, pseudo-counts move the middle away from a score near 0 or 1.
    return Interval(found.estimate, min(found.low, found.estimate), max(found.high, found.estimate))


def difference(
    label_vectors: np.ndarray, first: np.ndarray, second: np.ndarray, codes: np.ndarray | None = None, seed: int = 0
) -> Interval:
    """Returns macro F1 of `second` less that of `first`, both bool `[N, 28]`, on the same redrawn examples.

    Without pseudo-counts: what is unknown of rare classes is unknown of both.
    """
    one, other = (f1_replicates(label_vectors, said, codes, seed=seed, prior=0.0) for said in (first, second))
    here, there = (
        f1_of(per_group(label_vectors, said, None).sum(axis=0, dtype=np.float64)).mean() for said in (first, second)
    )
    return around(float(there - here), (other - one).mean(axis=1))


def around(estimate: float, replicates: np.ndarray, level: float = LEVEL) -> Interval:
    """Returns the middle share `level` of `replicates`, `[num]`, about the estimate."""
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))
