"""Do probabilities mean what they say? Of all predictions of 0.3, three in ten should be right."""

import dataclasses

import numpy as np

NUM_BINS = 15
"""As in Guo et al. 2017."""


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Predictions in bins of equal width over 0..1; arrays `[bins]`.

    `mean` is the mean probability in a bin and `share` the share that was right; both 0 where it is empty.
    """

    count: np.ndarray
    mean: np.ndarray
    share: np.ndarray

    @property
    def expected_error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): |mean - share|, weighted by how full the bins are."""
        return float((self.count * np.abs(self.mean - self.share)).sum() / max(self.count.sum(), 1))


def reliability(label_vectors: np.ndarray, probabilities: np.ndarray, bins: int = NUM_BINS) -> Reliability:
    """Returns the reliability of all predictions together, arrays of any equal shape."""
    truth, said = label_vectors.ravel().astype(np.float64), probabilities.ravel().astype(np.float64)
    index = np.minimum((said * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    full = np.maximum(count, 1)
    mean = np.bincount(index, said, bins) / full
    return Reliability(count, mean, np.bincount(index, truth, bins) / full)


def classwise_error(label_vectors: np.ndarray, probabilities: np.ndarray, bins: int = NUM_BINS) -> float:
    """Returns the mean over classes of their expected calibration errors (Kull et al. 2019).

    All predictions together are mostly negatives of rare classes, which are easily right; each class counts here.
    """
    errors = [
        reliability(label_vectors[:, k], probabilities[:, k], bins).expected_error
        for k in range(label_vectors.shape[1])
    ]
    return float(np.mean(errors))


def brier(label_vectors: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean squared difference between probabilities and labels, over examples and classes."""
    return float(np.mean((label_vectors.astype(np.float64) - probabilities) ** 2))
