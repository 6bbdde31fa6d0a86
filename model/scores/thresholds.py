"""From which probability on is a class predicted? Four rules, chosen on dev alone.

`fixed` is 0.5 for every class. `flat` is the one threshold for all classes with the best macro F1 on dev.
`matched` lets each class be predicted on dev as often as it occurs there. `shrunk` is the best threshold of
each class on dev, drawn towards `flat` the more, the fewer positives it was found on: the best threshold of a
class with five positives is mostly luck, and searching one per class cost nearly every competitor places.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from model.scores import metrics

FIXED = 0.5

RULES = ("fixed", "flat", "matched", "shrunk")

SHRINKAGE = 50.0
"""Positives at which a class's own threshold and the flat one count equally. Of the order at which the F1 of one
class, whose standard error is about 0.5 / sqrt(positives), is known to 0.07."""

GRID = np.round(np.arange(0.01, 1.0, 0.01), 2)
"""Where `flat` looks: finer steps would find only the noise of dev."""

EDGE = 1e-6
"""Probabilities closer to 0 or 1 count as this close on the logit scale."""


def choose(label_vectors: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the thresholds of every rule, float64 `[28]` each, from label vectors and probabilities `[N, 28]`."""
    flat = best_flat(label_vectors, probabilities)
    return {
        "fixed": np.full(label_vectors.shape[1], FIXED),
        "flat": np.full(label_vectors.shape[1], flat),
        "matched": matched(label_vectors, probabilities),
        "shrunk": shrunk(label_vectors, probabilities, flat),
    }


def choose_on(dev: Any, num_classes: int) -> dict[str, np.ndarray]:
    """Returns the thresholds of every rule, chosen on the predictions of dev; without dev only the fixed ones."""
    if dev is None:
        return {"fixed": np.full(num_classes, FIXED)}
    return choose(dev.label_vectors, dev.probabilities)


def best_flat(label_vectors: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the threshold on `GRID` with the best macro F1; of several the one nearest to 0.5."""
    scores = np.array([metrics.at_threshold(label_vectors, probabilities, one).macro_f1 for one in GRID])
    best = GRID[scores >= scores.max() - 1e-12]
    return float(best[np.abs(best - FIXED).argmin()])


def matched(label_vectors: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns thresholds, float64 `[28]`, at which each class is predicted as often as it occurs.

    Halfway between the last probability that is taken and the first that is not; ties may add some.
    """
    num = label_vectors.astype(np.int64).sum(axis=0)
    found = np.empty(len(num))
    for index, count in enumerate(num):
        ordered = np.concatenate([[1.0], np.sort(probabilities[:, index].astype(np.float64))[::-1], [0.0]])
        found[index] = (ordered[count] + ordered[count + 1]) / 2
    return found


def shrunk(label_vectors: np.ndarray, probabilities: np.ndarray, flat: float) -> np.ndarray:
    """Returns each class's best threshold, drawn towards `flat` on the logit scale: float64 `[28]`.

    With n positives the class's own counts n / (n + `SHRINKAGE`); a class without positives gets `flat`.
    """
    num = label_vectors.astype(np.int64).sum(axis=0)
    own = np.array([best_of_class(label_vectors[:, k], probabilities[:, k], flat) for k in range(len(num))])
    weight = num / (num + SHRINKAGE)
    mixed = weight * _logit(own) + (1 - weight) * _logit(np.full(len(num), flat))
    return 1 / (1 + np.exp(-mixed))


def best_of_class(positive: np.ndarray, probability: np.ndarray, otherwise: float) -> float:
    """Returns the threshold with the best F1 of one class, arrays `[N]`; `otherwise` if it has no positives."""
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


def predict(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns which classes are predicted: bool `[N, 28]`, where the probability is at least the threshold."""
    return probabilities >= np.asarray(thresholds, np.float64)


def at_least_one(predicted: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns `predicted` with, where it is empty, the class that is nearest to its threshold (on the logit scale)."""
    nearest = (_logit(probabilities) - _logit(np.asarray(thresholds))).argmax(axis=1)
    filled = predicted.copy()
    empty = ~predicted.any(axis=1)
    filled[empty, nearest[empty]] = True
    return filled


def to_json(chosen: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Returns plain values."""
    return {name: np.asarray(values).tolist() for name, values in chosen.items()}


def _logit(probability: np.ndarray) -> np.ndarray:
    inside = np.clip(np.asarray(probability, np.float64), EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))
