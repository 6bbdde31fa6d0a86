"""Thresholds at or above which a class is predicted, by five rules.

- `fixed`: 0.5 for every class.
- `flat`: one threshold for all classes, with the best macro F1 on dev.
- `matched`: each class is predicted for the same share of dev as its share of train. Train has the most positives:
  a share counted on a few examples of dev would be mostly luck.
- `shrunk`: the best threshold of each class on dev, moved towards `flat`; further for classes with few positives,
  because the best threshold of a class with five positives is mostly luck.
- `matched-set`: as `matched`, but on the predicted set itself, as the winner of the 2018 competition did. It needs no
  dev, and the decision about an example depends on the other examples of the set.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from model.scores import metrics

FIXED = 0.5

MATCHED_SET = "matched-set"


class Predictions(Protocol):
    """Label vectors and probabilities of a split, both `[N, classes]`."""

    @property
    def label_vectors(self) -> np.ndarray: ...
    @property
    def probabilities(self) -> np.ndarray: ...


SHRINKAGE = 50.0
"""Positives at which a class's own threshold and the flat one have equal weight. With 50, the standard error of the
F1 of one class is about 0.5 / sqrt(50) = 0.07."""

GRID = np.round(np.arange(0.01, 1.0, 0.01), 2)
"""Candidates for `flat`; finer steps would fit the noise of dev."""

EDGE = 1e-6
"""Probabilities are clipped to this distance from 0 and 1 on the logit scale."""


def choose(
    label_vectors: np.ndarray, probabilities: np.ndarray, frequencies: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Returns the thresholds of every rule that chooses them on dev, float64 `[classes]` each.

    Args:
        label_vectors: of dev, `[N, classes]`.
        probabilities: of the same examples, `[N, classes]`.
        frequencies: share of train examples with each class, float `[classes]`; without it there is no `matched`.
    """
    flat = best_flat(label_vectors, probabilities)
    return {
        "fixed": np.full(label_vectors.shape[1], FIXED),
        "flat": np.full(label_vectors.shape[1], flat),
        **({} if frequencies is None else {"matched": matched(frequencies, probabilities)}),
        "shrunk": shrunk(label_vectors, probabilities, flat),
    }


def choose_on(
    dev: Predictions | None, num_classes: int, frequencies: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Returns the thresholds of every rule, chosen on the predictions of dev; without dev only the fixed ones."""
    if dev is None:
        return {"fixed": np.full(num_classes, FIXED)}
    return choose(dev.label_vectors, dev.probabilities, frequencies)


def with_matched_set(
    chosen: Mapping[str, np.ndarray], frequencies: np.ndarray | None, probabilities: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the thresholds `chosen` and, if the class frequencies of train are given, those that match the set."""
    matching = {} if frequencies is None else {MATCHED_SET: matched(frequencies, probabilities)}
    return {**chosen, **matching}


def best_flat(label_vectors: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the threshold on `GRID` with the best macro F1; of several, the nearest to 0.5."""
    scores = np.array([metrics.at_threshold(label_vectors, probabilities, value).macro_f1 for value in GRID])
    best = GRID[scores >= scores.max() - 1e-12]
    return float(best[np.abs(best - FIXED).argmin()])


def matched(frequencies: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns thresholds at which each class is predicted for a share of the examples: float64 `[classes]`.

    A class is predicted at least once if its share is above 0. A threshold is halfway between the last probability
    above it and the first below, or between two such values if the share is not a whole number of examples. Ties may
    add predictions.

    Args:
        frequencies: the share of each class, float `[classes]`, 0..1.
        probabilities: float `[N, classes]`.
    """
    num = len(probabilities)
    wanted = np.where(frequencies > 0, np.clip(np.asarray(frequencies, np.float64) * num, 1, None), 0)
    chosen = np.empty(len(wanted))
    for index, count in enumerate(wanted):
        ordered = np.concatenate([[1.0], np.sort(probabilities[:, index].astype(np.float64))[::-1], [0.0]])
        chosen[index] = np.interp(count, np.arange(num + 1), (ordered[:-1] + ordered[1:]) / 2)
    return chosen


def shrunk(label_vectors: np.ndarray, probabilities: np.ndarray, flat: float) -> np.ndarray:
    """Returns each class's best threshold, moved towards `flat` on the logit scale: float64 `[classes]`.

    With n positives its own threshold has weight n / (n + `SHRINKAGE`); a class without positives gets `flat`.
    """
    num = label_vectors.astype(np.int64).sum(axis=0)
    own = np.array([best_of_class(label_vectors[:, k], probabilities[:, k], flat) for k in range(len(num))])
    weight = num / (num + SHRINKAGE)
    mixed = weight * _logit(own) + (1 - weight) * _logit(np.full(len(num), flat))
    return 1 / (1 + np.exp(-mixed))


def best_of_class(positive: np.ndarray, probability: np.ndarray, otherwise: float) -> float:
    """Returns the threshold with the best F1 of one class, from arrays `[N]`; `otherwise` if it has no positives."""
    positive = positive.astype(bool)
    if not positive.any():
        return otherwise
    order = np.argsort(-probability, kind="stable")
    sorted_ = probability[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(sorted_)), len(order) - 1)  # ends of runs of equal probability
    f1 = 2 * np.cumsum(positive[order])[last] / (last + 1 + positive.sum())
    best = last[f1.argmax()]
    below = sorted_[best + 1] if best + 1 < len(sorted_) else 0.0
    return float((sorted_[best] + below) / 2)


def mean(chosen: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mean of several runs' thresholds on the logit scale: float64 `[classes]`."""
    return 1 / (1 + np.exp(-np.mean([_logit(values) for values in chosen], axis=0)))


def decide(probabilities: np.ndarray, *, single_label: bool, threshold: float = FIXED) -> np.ndarray:
    """Returns which classes are predicted without choosing thresholds: bool `[N, classes]`.

    Those of at least `threshold`; with `single_label`, the most probable one, or the first of several.
    """
    if not single_label:
        return probabilities >= threshold
    highest = probabilities.argmax(axis=1)
    return highest[:, None] == np.arange(probabilities.shape[1])


def predict(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns which classes are predicted: bool `[N, classes]`, where the probability is at least the threshold."""
    return probabilities >= np.asarray(thresholds, np.float64)


def at_least_one(predicted: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns `predicted`, bool `[N, classes]`, with one class added where no class is predicted.

    The class added is the one nearest to its threshold on the logit scale.
    """
    nearest = (_logit(probabilities) - _logit(np.asarray(thresholds))).argmax(axis=1)
    filled = predicted.copy()
    empty = ~predicted.any(axis=1)
    filled[empty, nearest[empty]] = True
    return filled


def _logit(probability: np.ndarray) -> np.ndarray:
    inside = np.clip(np.asarray(probability, np.float64), EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))
