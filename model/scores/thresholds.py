"""Thresholds from which a class is predicted, by four rules that use dev alone.

- `fixed`: 0.5 for every class.
- `flat`: one threshold for all classes, with the best macro F1 on dev.
- `matched`: each class is predicted on dev as often as it occurs there.
- `shrunk`: the best threshold of each class on dev, moved towards `flat`; further for classes with few positives,
  because the best threshold of a class with five positives is mostly luck.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from model.scores import metrics

FIXED = 0.5


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


def choose(label_vectors: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the thresholds of every rule, float64 `[classes]` each, from label vectors and probabilities `[N, classes]`."""
    flat = best_flat(label_vectors, probabilities)
    return {
        "fixed": np.full(label_vectors.shape[1], FIXED),
        "flat": np.full(label_vectors.shape[1], flat),
        "matched": matched(label_vectors, probabilities),
        "shrunk": shrunk(label_vectors, probabilities, flat),
    }


def choose_on(dev: Predictions | None, num_classes: int) -> dict[str, np.ndarray]:
    """Returns the thresholds of every rule, chosen on the predictions of dev; without dev only the fixed ones."""
    if dev is None:
        return {"fixed": np.full(num_classes, FIXED)}
    return choose(dev.label_vectors, dev.probabilities)


def best_flat(label_vectors: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the threshold on `GRID` with the best macro F1, or the nearest to 0.5 of several."""
    scores = np.array([metrics.at_threshold(label_vectors, probabilities, value).macro_f1 for value in GRID])
    best = GRID[scores >= scores.max() - 1e-12]
    return float(best[np.abs(best - FIXED).argmin()])


def matched(label_vectors: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns thresholds, float64 `[classes]`, at which each class is predicted as often as it occurs.

    A threshold lies halfway between the last probability above and the first below; ties may add predictions.
    """
    num = label_vectors.astype(np.int64).sum(axis=0)
    chosen = np.empty(len(num))
    for index, count in enumerate(num):
        ordered = np.concatenate([[1.0], np.sort(probabilities[:, index].astype(np.float64))[::-1], [0.0]])
        chosen[index] = (ordered[count] + ordered[count + 1]) / 2
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

    Those of at least `threshold`; with `single_label`, the most probable one, the first of several.
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
