"""Calibration: how well predicted probabilities match observed frequencies."""

import dataclasses

import numpy as np

NUM_BINS = 15
"""As in Guo et al. 2017."""


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Predictions in bins of equal width over 0..1.

    Attributes:
        count: predictions in each bin, int64 `[bins]`.
        mean: mean probability in each bin, float64 `[bins]`, 0 where the bin is empty.
        share: share of positives in each bin, float64 `[bins]`, 0 where the bin is empty.
    """

    count: np.ndarray
    mean: np.ndarray
    share: np.ndarray

    @property
    def expected_error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): mean of |mean - share| weighted by `count`."""
        return float((self.count * np.abs(self.mean - self.share)).sum() / max(self.count.sum(), 1))


def reliability(label_vectors: np.ndarray, probabilities: np.ndarray, bins: int = NUM_BINS) -> Reliability:
    """Returns the reliability of all predictions together.

    Args:
        label_vectors: 0 and 1, of any shape.
        probabilities: 0..1, of the same shape.
        bins: number of bins.
    """
    labels, scores = label_vectors.ravel().astype(np.float64), probabilities.ravel().astype(np.float64)
    index = np.minimum((scores * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    filled = np.maximum(count, 1)
    mean = np.bincount(index, scores, bins) / filled
    return Reliability(count, mean, np.bincount(index, labels, bins) / filled)


def classwise_error(label_vectors: np.ndarray, probabilities: np.ndarray, bins: int = NUM_BINS) -> float:
    """Returns the mean over classes of their expected calibration errors (Kull et al. 2019).

    Most predictions are negatives of rare classes, which are easy; here every class has the same weight.
    """
    errors = [
        reliability(label_vectors[:, k], probabilities[:, k], bins).expected_error
        for k in range(label_vectors.shape[1])
    ]
    return float(np.mean(errors))


def top_label(label_vectors: np.ndarray, probabilities: np.ndarray, bins: int = NUM_BINS) -> Reliability:
    """Returns the reliability of the most probable class of each example."""
    highest = probabilities.argmax(axis=1)
    rows = np.arange(len(highest))
    return reliability(label_vectors[rows, highest], probabilities[rows, highest], bins)


def brier(label_vectors: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean squared difference between probabilities and labels, over examples and classes."""
    return float(np.mean((label_vectors.astype(np.float64) - probabilities) ** 2))
