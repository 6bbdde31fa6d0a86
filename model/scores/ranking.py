"""Ranking scores, which need no threshold: precision-recall curves and average precision."""

import numpy as np


def precision_recall(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns precision and recall, float64 `[K]` each, at every distinct score from the highest down.

    Examples of equal score count together. `positive` and `score` are `[N]`; at least one is positive.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    true_positives = np.cumsum(positive.astype(bool)[order])[last].astype(np.float64)
    return true_positives / (last + 1), true_positives / true_positives[-1]


def average_precision(label_vectors: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the average precision of each class, float64 `[classes]`; NaN for a class without positives.

    The sum over thresholds of precision times the step in recall, without interpolation, as in scikit-learn.
    """
    precisions = np.full(label_vectors.shape[1], np.nan)
    for index in np.flatnonzero(label_vectors.any(axis=0)):
        precision, recall = precision_recall(label_vectors[:, index], probabilities[:, index])
        precisions[index] = np.sum(np.diff(recall, prepend=0.0) * precision)
    return precisions


def auc(label_vectors: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the area under the ROC curve of each class, float64 `[classes]`; NaN without positives or negatives.

    It is the share of pairs of a positive and a negative in which the positive scores higher; equal scores count half
    (Hanley and McNeil 1982).
    """
    num = label_vectors.sum(axis=0, dtype=np.float64)
    pairs = num * (len(label_vectors) - num)
    ranks = np.stack([_mean_ranks(column) for column in probabilities.T], axis=1)
    above = (label_vectors * ranks).sum(axis=0) - num * (num + 1) / 2
    return np.divide(above, pairs, out=np.full(len(num), np.nan), where=pairs > 0)


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    """Returns ranks from 1 up, float64 `[N]`; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def thinned(precision: np.ndarray, recall: np.ndarray, num: int = 60) -> list[list[float]]:
    """Returns at most `num` + 1 points [recall, precision] of a curve for drawing.

    The precision is the highest at this recall or beyond, rounded to 4 digits like the recall.
    """
    best = np.maximum.accumulate(precision[::-1])[::-1]
    wanted = np.unique(np.searchsorted(recall, np.linspace(0, 1, num), side="left").clip(0, len(recall) - 1))
    return [[0.0, round(float(best[0]), 4)], *([round(float(recall[k]), 4), round(float(best[k]), 4)] for k in wanted)]
