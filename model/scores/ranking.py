"""How well do probabilities rank the examples of a class, whatever the threshold?"""

import numpy as np


def precision_recall(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns precision and recall, float64 `[K]` each, at every distinct score from the highest down.

    Examples of equal score come in together. `positive` and `score` are `[N]`; at least one is positive.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    true_positives = np.cumsum(positive.astype(bool)[order])[last].astype(np.float64)
    return true_positives / (last + 1), true_positives / true_positives[-1]


def average_precision(label_vectors: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the average precision of each class, float64 `[28]`; NaN for a class without positives.

    The sum over thresholds of the precision there times the step in recall, without interpolation, as
    scikit-learn defines it.
    """
    found = np.full(label_vectors.shape[1], np.nan)
    for index in np.flatnonzero(label_vectors.any(axis=0)):
        precision, recall = precision_recall(label_vectors[:, index], probabilities[:, index])
        found[index] = np.sum(np.diff(recall, prepend=0.0) * precision)
    return found


def thinned(precision: np.ndarray, recall: np.ndarray, num: int = 60) -> list[list[float]]:
    """Returns about `num` points (recall, precision) of the curve, for drawing: the best precision at or beyond each."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    wanted = np.unique(np.searchsorted(recall, np.linspace(0, 1, num), side="left").clip(0, len(recall) - 1))
    return [[0.0, round(float(best[0]), 4)], *([round(float(recall[k]), 4), round(float(best[k]), 4)] for k in wanted)]
