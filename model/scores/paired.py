"""Difference between two models that predict the same examples: of macro F1 at their thresholds, and of mAP.

Both models are scored on the same replicates of the Bayesian bootstrap by group. The interval of macro F1 has the
pseudo-counts of `intervals`; the interval of the mean average precision (mAP) has none, so it does not reflect the
uncertainty of a class with one or two positives: if there are few positives, compare models by the mAP of frequent
classes.
"""

from collections.abc import Iterator

import numpy as np

from model.scores import intervals, ranking, thresholds
from model.scores.describe import MIN_POSITIVES

Scored = tuple[np.ndarray, np.ndarray]
"""Probabilities `[N, classes]` and thresholds `[classes]` of a model."""


def paired_difference(
    label_vectors: np.ndarray,
    first: Scored,
    second: Scored,
    codes: np.ndarray | None = None,
    *,
    seed: int = 0,
    min_positives: int = MIN_POSITIVES,
) -> dict[str, dict[str, float]]:
    """Returns scores of `second` minus those of `first`, each as `estimate`, `low` and `high` of its 95% interval.

    The scores are `macro_f1`, `mean_average_precision`, and both over the frequent classes: `macro_f1_frequent`,
    `mean_average_precision_frequent`.

    Args:
        label_vectors: `[N, classes]` of 0 and 1.
        first: probabilities and thresholds of a model.
        second: the same of another model, for the same examples in the same order.
        codes: the group of each example, int `[N]`; by default every example is a group of its own.
        seed: of the random weights.
        min_positives: positives that a class needs to count as frequent.
    """
    before, after = (thresholds.predict(*model) for model in (first, second))
    frequent = label_vectors.sum(axis=0) >= min_positives
    found: dict[str, dict[str, float]] = {}
    for suffix, classes in (("", None), ("_frequent", frequent)):
        of_f1 = intervals.difference(label_vectors, before, after, codes, seed, classes)
        of_map = map_difference(label_vectors, first[0], second[0], codes, seed=seed, classes=classes)
        found |= {f"macro_f1{suffix}": of_f1.to_json(), f"mean_average_precision{suffix}": of_map.to_json()}
    return found


def map_difference(
    label_vectors: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    codes: np.ndarray | None = None,
    *,
    seed: int = 0,
    classes: np.ndarray | None = None,
) -> intervals.Interval:
    """Returns the mAP of `second` minus that of `first`, probabilities `[N, classes]` each, with its interval.

    Classes without positives are left out; `classes`, bool `[classes]`, leaves out others. The other arguments are
    those of `paired_difference`.
    """
    scored = label_vectors.any(axis=0)
    scored = scored if classes is None else scored & classes
    if not scored.any():
        return intervals.Interval(0.0, 0.0, 0.0)
    positive = label_vectors[:, scored].astype(bool)
    models = [model[:, scored] for model in (first, second)]
    before, after = (ranking.average_precision(positive, model).mean() for model in models)
    drawn = []
    for weights in _weights(len(positive), codes, seed):
        means = [_weighted_precision(positive, model, weights).mean(axis=1) for model in models]
        drawn.append(means[1] - means[0])
    return intervals.of_replicates(float(after - before), np.concatenate(drawn))


def _weights(num: int, codes: np.ndarray | None, seed: int) -> Iterator[np.ndarray]:
    """Yields the weights of the examples, float32 `[CHUNK, N]`, until there are `NUM_REPLICATES`.

    They are those of `intervals.resample`: exponential with mean 1, the same for all examples of a group.
    """
    codes = np.arange(num) if codes is None else codes
    rng, groups = np.random.default_rng([seed, 0]), int(codes.max(initial=-1)) + 1
    for start in range(0, intervals.NUM_REPLICATES, intervals.CHUNK):
        size = min(intervals.CHUNK, intervals.NUM_REPLICATES - start)
        yield rng.standard_exponential((size, groups), np.float32)[:, codes]


def _weighted_precision(positive: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the average precision of weighted examples, float64 `[replicates, classes]`.

    Args:
        positive: bool `[N, classes]`, with a positive in each class.
        probabilities: float `[N, classes]`; examples of equal probability count together.
        weights: float `[replicates, N]`, above 0.
    """
    found = np.empty((len(weights), positive.shape[1]))
    for index in range(positive.shape[1]):
        order = np.argsort(-probabilities[:, index], kind="stable")
        starts = np.flatnonzero(np.diff(probabilities[order, index], prepend=np.inf))
        ordered = weights[:, order].astype(np.float64)
        right = np.add.reduceat(ordered * positive[order, index], starts, axis=1)
        predicted = np.add.reduceat(ordered, starts, axis=1).cumsum(axis=1)
        precision = right.cumsum(axis=1) / predicted
        found[:, index] = (right * precision).sum(axis=1) / right.sum(axis=1)
    return found
