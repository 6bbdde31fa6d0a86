"""Scores of predictions that do not look at the images."""

import numpy as np

from model.scores import metrics


def all_positive(label_vectors: np.ndarray) -> metrics.Counts:
    """Returns the counts of predicting every class for every example."""
    return metrics.count(label_vectors, np.ones(label_vectors.shape, bool))


def drawn_by_frequency(label_vectors: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Returns the expected F1 of predicting each class at random with its frequency: float64 `[classes]`.

    With share s in the split and frequency f, precision tends to s and recall to f.
    """
    share = label_vectors.astype(np.float64).mean(axis=0) if len(label_vectors) else np.zeros(len(frequencies))
    return 2 * share * frequencies / np.maximum(share + frequencies, 1e-12)


def majority(label_vectors: np.ndarray, frequencies: np.ndarray) -> metrics.Counts:
    """Returns the counts of predicting the most frequent class alone for every example."""
    predicted = np.zeros(label_vectors.shape, bool)
    predicted[:, frequencies.argmax()] = True
    return metrics.count(label_vectors, predicted)


def constant(label_vectors: np.ndarray, frequencies: np.ndarray) -> metrics.Counts:
    """Returns the counts of predicting the frequency of each class as its probability, at threshold 0.5."""
    return metrics.at_threshold(label_vectors, np.broadcast_to(frequencies, label_vectors.shape))
