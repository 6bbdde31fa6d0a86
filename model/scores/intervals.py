"""Intervals for F1 scores: of one class, the macro mean over classes, and the difference between two models.

The method is the Bayesian bootstrap by group (Rubin 1981): a replicate gives every group of near-duplicates a random
weight from the exponential distribution and computes the scores from the weighted counts. Three additions make it
reach its nominal level; `docs/intervals.md` has the coverage measured with `python -m bench.coverage`.

*Pseudo-counts.* A class found in zero of three examples is found in zero of three in every replicate, so resampling
alone understates the uncertainty. Counts resampled this way follow gamma distributions; a further gamma
pseudo-count extends them to what was not seen, as in Goutte and Gaussier (2005). For the lower end most of it counts
as errors, for the upper end most of it counts as correct predictions. With pseudo-counts of 0 and 1 the ends for one
class would be the exact ones of Clopper and Pearson (1934); `AGAINST` and `TOWARDS` lie between these and the Bayesian
ones, and were chosen by measured coverage. A class without any example or prediction gets the whole range 0 to 1.

*Curvature.* F1 is a concave function of the counts, so its mean over replicates lies below F1 at the mean counts.
For one class this does not matter, but it adds up over 28 classes. The macro mean adds the gap back.

*Groups.* A pseudo-count weighs as much as a typical group of its class.

Measured coverage of the 95% intervals, on simulated splits of 300 to 4,072 examples and with models from poor to
excellent: over classes with ten positives or more 94.8% to 98.5% for macro F1 and 93.5% to 100% for the difference of
two models; over all 28 classes 96% to 100% and 95% to 100%. It is above the nominal level over all 28 classes because a
split has hardly any examples of the rare ones, and the interval allows any F1 for them. Compare models over frequent
classes where there are enough: those intervals are two to four times narrower.

With single labels, on 300 simulated splits each of 200 examples of 4 classes, and of 400 and 3,000 of 16 classes: 94.7%
to 95.3% for accuracy, 94.7% to 96.7% for balanced accuracy and macro F1.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

LEVEL = 0.95

EXPLANATION = (
    "95% intervals come from the Bayesian bootstrap with pseudo-counts; examples of a group are resampled together. "
    "In simulations they cover the true score in 93% of splits or more. Over all classes of a small split they are "
    "wide and cover it in nearly every split, because a class with hardly any examples may have any F1. "
    "Intervals over frequent classes are narrower."
)
"""The method, for readers of a report; `docs/intervals.md` has the measurements."""

NUM_REPLICATES = 1000

CHUNK = 100
"""Replicates at a time: 10 MB of weights at 24,000 examples."""

TOWARDS = 0.1
"""Pseudo-count that favours the end: correct predictions for the lower end, errors for the upper."""

AGAINST = 0.4
"""Pseudo-count that widens the interval: errors for the lower end, correct predictions for the upper."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A score, and the ends of its interval; the score never lies outside."""

    estimate: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class ResampledF1:
    """F1 of each class with its replicates.

    Attributes:
        f1: the score on the split, float64 `[C]`.
        low: replicates for lower ends, float64 `[NUM_REPLICATES, C]`.
        high: replicates for upper ends, of the same shape.
    """

    f1: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def per_class(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the lower and the upper end for each class: float64 `[C]` each, 0..1."""
        low, high = _lower_end(self.low), _upper_end(self.high)
        return np.minimum(low, self.f1), np.maximum(high, self.f1)

    def macro(self, classes: np.ndarray | None = None) -> Interval:
        """Returns mean F1 over the classes where `classes`, bool `[C]`, is true (default: all); 0 if there are none.

        Its ends are within 0..1: with few groups, the correction for curvature may exceed 1.
        """
        classes = np.ones(len(self.f1), bool) if classes is None else classes
        if not classes.any():
            return Interval(0.0, 0.0, 0.0)
        low, high = (
            np.clip((replicates + _curvature(replicates))[:, classes].mean(axis=1), 0, 1)
            for replicates in (self.low, self.high)
        )
        return of_replicates(float(self.f1[classes].mean()), low, high)


def resample_f1(
    label_vectors: np.ndarray, predicted: np.ndarray, codes: np.ndarray | None = None, *, seed: int = 0
) -> ResampledF1:
    """Returns F1 of each class and its replicates.

    Args:
        label_vectors: `[N, C]` of 0 and 1.
        predicted: bool `[N, C]`.
        codes: the group of each example, int `[N]`; by default every example is a group of its own.
        seed: of the random weights; the same seed gives the same replicates.
    """
    labels, predicted = label_vectors.astype(bool), predicted.astype(bool)
    counts = sum_by_group([labels & predicted, labels ^ predicted], codes)
    right, wrong = counts.sum(axis=0, dtype=np.float64)
    drawn_right, drawn_wrong = resample(counts, seed)
    towards, against = _pseudo_counts(counts, seed)
    return ResampledF1(
        f1_score(right, wrong),
        # An end that no example contradicts stays at 0 or 1.
        low=f1_score(drawn_right + towards * (right > 0), drawn_wrong + against),
        high=f1_score(drawn_right + against, drawn_wrong + towards * (wrong > 0)),
    )


def difference(
    label_vectors: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    codes: np.ndarray | None = None,
    seed: int = 0,
    classes: np.ndarray | None = None,
) -> Interval:
    """Returns macro F1 of `second` minus that of `first`, with the interval of the difference.

    Both models are scored on the same replicates. Pseudo-counts are examples on which the models disagree: for the
    lower end most of them are in favour of `first`, for the upper end most are in favour of `second`.
    The interval is 0 to 0 when the models predict the same.

    Args:
        label_vectors: `[N, C]` of 0 and 1.
        first: bool `[N, C]`.
        second: bool `[N, C]`.
        codes: the group of each example, int `[N]`; by default every example is a group of its own.
        seed: of the random weights.
        classes: which classes to average over, bool `[C]`; by default all.
    """
    labels, first, second = (array.astype(bool) for array in (label_vectors, first, second))
    classes = np.ones(labels.shape[1], bool) if classes is None else classes
    if (first == second).all() or not classes.any():
        return Interval(0.0, 0.0, 0.0)
    counts = sum_by_group(_paired_outcomes(labels, first, second), codes)
    observed, drawn = counts.sum(axis=0, dtype=np.float64), resample(counts, seed)
    towards, against = _pseudo_counts(counts, seed)
    low, high = (
        _paired_replicates(drawn, for_first, for_second)[:, classes].mean(axis=1)
        for for_first, for_second in (
            (against, towards * (observed[SECOND_BETTER].sum(axis=0) > 0)),
            (towards * (observed[FIRST_BETTER].sum(axis=0) > 0), against),
        )
    )
    before, after = _paired_f1(observed)
    return of_replicates(float((after - before)[classes].mean()), low, high)


def balanced_accuracy(
    label_vectors: np.ndarray, predicted: np.ndarray, codes: np.ndarray | None = None, *, seed: int = 0
) -> Interval:
    """Returns the mean recall of the classes that occur, with its interval, by the same method as F1.

    Recall needs no correction for curvature: the mean share of gamma-distributed counts is the share of their means.

    Args:
        label_vectors: `[N, C]` of 0 and 1.
        predicted: bool `[N, C]`.
        codes: the group of each example, int `[N]`; by default every example is a group of its own.
        seed: of the random weights.
    """
    labels, predicted = label_vectors.astype(bool), predicted.astype(bool)
    present = labels.any(axis=0)
    if not present.any():
        return Interval(0.0, 0.0, 0.0)
    return _mean_share((labels & predicted)[:, present], (labels & ~predicted)[:, present], codes, seed)


def accuracy(
    label_vectors: np.ndarray, predicted: np.ndarray, codes: np.ndarray | None = None, *, seed: int = 0
) -> Interval:
    """Returns the share of examples whose classes are all right, with its interval; see `balanced_accuracy`."""
    right = (label_vectors.astype(bool) == predicted.astype(bool)).all(axis=1, keepdims=True)
    if not len(right):
        return Interval(0.0, 0.0, 0.0)
    return _mean_share(right, ~right, codes, seed)


def _mean_share(right: np.ndarray, wrong: np.ndarray, codes: np.ndarray | None, seed: int) -> Interval:
    """Returns the mean over columns of the share of `right`, bool `[N, C]`, among `right` and `wrong`."""
    counts = sum_by_group([right, wrong], codes)
    num_right, num_wrong = counts.sum(axis=0, dtype=np.float64)
    drawn_right, drawn_wrong = resample(counts, seed)
    towards, against = _pseudo_counts(counts, seed)
    low = _share(drawn_right + towards * (num_right > 0), drawn_wrong + against)
    high = _share(drawn_right + against, drawn_wrong + towards * (num_wrong > 0))
    return of_replicates(float(_share(num_right, num_wrong).mean()), low.mean(axis=1), high.mean(axis=1))


def _share(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    return right / np.maximum(right + wrong, np.finfo(np.float64).tiny)


FIRST_BETTER, SECOND_BETTER = [1, 4], [2, 3]
"""Indices of the `_paired_outcomes` in favour of each model."""


def _paired_outcomes(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
    return [
        labels & first & second,
        labels & first & ~second,
        labels & ~first & second,
        ~labels & first & ~second,
        ~labels & ~first & second,
        (labels ^ first) & (labels ^ second),
    ]


def _paired_f1(outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns F1 of both models, `[..., C]` each, from counts of `_paired_outcomes`, `[6, ..., C]`."""
    both_right, first_hit, second_hit, first_wrong, second_wrong, both_wrong = outcomes
    return (
        f1_score(both_right + first_hit, second_hit + first_wrong + both_wrong),
        f1_score(both_right + second_hit, first_hit + second_wrong + both_wrong),
    )


def _paired_replicates(drawn: np.ndarray, for_first: np.ndarray, for_second: np.ndarray) -> np.ndarray:
    """Returns replicates of the difference, `[NUM_REPLICATES, C]`, with pseudo-counts in favour of each model."""
    outcomes = drawn.copy()
    # Half of them positives that one model finds, half negatives that the other predicts.
    outcomes[FIRST_BETTER] += for_first / 2
    outcomes[SECOND_BETTER] += for_second / 2
    first, second = _paired_f1(outcomes)
    return second + _curvature(second) - first - _curvature(first)


def _pseudo_counts(counts: np.ndarray, seed: int) -> list[np.ndarray]:
    """Returns pseudo-counts of shape `TOWARDS` and `AGAINST`, float64 `[NUM_REPLICATES, C]` each."""
    rng, size = np.random.default_rng([seed, 1]), group_sizes(counts)
    return [rng.gamma(shape, size=(NUM_REPLICATES, counts.shape[2])) * size for shape in (TOWARDS, AGAINST)]


def resample(counts: np.ndarray, seed: int) -> np.ndarray:
    """Returns the totals of `counts`, `[groups, outcomes, C]`, under random weights of the groups.

    Float64 `[outcomes, NUM_REPLICATES, C]`. The weights are exponential with mean 1.
    """
    groups, outcomes, num_classes = counts.shape
    rng = np.random.default_rng([seed, 0])
    totals = np.empty((NUM_REPLICATES, outcomes * num_classes))
    for start in range(0, NUM_REPLICATES, CHUNK):
        weights = rng.standard_exponential((min(CHUNK, NUM_REPLICATES - start), groups), np.float32)
        totals[start : start + CHUNK] = weights @ counts.reshape(groups, -1)
    return totals.reshape(NUM_REPLICATES, outcomes, num_classes).transpose(1, 0, 2)


def f1_score(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Returns F1 of true positives `right` and errors `wrong` (false positives and negatives); 0 where both are 0."""
    return 2 * right / np.maximum(2 * right + wrong, np.finfo(np.float64).tiny)


def group_codes(ids: Sequence[str], groups: Mapping[str, str]) -> np.ndarray:
    """Returns the number of each id's group, int64 `[N]`, from 0 up; an id without a group is a group of its own."""
    keys = [("group", groups[id_]) if id_ in groups else ("id", id_) for id_ in ids]
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def sum_by_group(outcomes: Sequence[np.ndarray], codes: np.ndarray | None) -> np.ndarray:
    """Returns how often each outcome, bool `[N, C]`, occurs in each group: float32 `[groups, outcomes, C]`."""
    each = np.stack(outcomes, axis=1).astype(np.float32)
    if codes is None:
        return each
    sums = np.zeros((int(codes.max(initial=-1)) + 1, *each.shape[1:]), np.float32)
    np.add.at(sums, codes, each)
    return sums


def group_sizes(counts: np.ndarray) -> np.ndarray:
    """Returns how many examples of a class are in the group of a typical one: float64 `[C]`, at least 1.

    Args:
        counts: from `sum_by_group`.
    """
    examples = counts.sum(axis=1, dtype=np.float64)
    return np.maximum((examples**2).sum(axis=0) / np.maximum(examples.sum(axis=0), 1), 1)


def _curvature(replicates: np.ndarray) -> np.ndarray:
    """Returns by how much the mean of F1 lies below F1 at the mean counts: float64 `[C]`, at least 0.

    F1 is 2j / (1 + j), where j = right / (right + wrong) has no such gap.
    """
    share = (replicates / (2 - replicates)).mean(axis=0)
    return 2 * share / (1 + share) - replicates.mean(axis=0)


def of_replicates(estimate: float, low: np.ndarray, high: np.ndarray | None = None) -> Interval:
    """Returns a score with the interval from its replicates; the two ends may have different ones."""
    ends = float(_lower_end(low)), float(_upper_end(low if high is None else high))
    return Interval(estimate, min(ends[0], estimate), max(ends[1], estimate))


def _lower_end(replicates: np.ndarray) -> np.ndarray:
    return np.quantile(replicates, (1 - LEVEL) / 2, axis=0)


def _upper_end(replicates: np.ndarray) -> np.ndarray:
    return np.quantile(replicates, (1 + LEVEL) / 2, axis=0)
