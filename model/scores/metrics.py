"""Precision, recall and F1 from exact counts over a whole split; nothing is averaged over batches."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives of each class: int64 `[classes]` each."""

    true_positives: np.ndarray
    false_positives: np.ndarray
    false_negatives: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """Examples with each class: int64 `[classes]`."""
        return self.true_positives + self.false_negatives

    @property
    def precision(self) -> np.ndarray:
        """Share of the predictions of each class that are right; 0 where it is never predicted: float64 `[classes]`."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> np.ndarray:
        """Share of the examples of each class that are found; 0 where there are none: float64 `[classes]`."""
        return _ratio(self.true_positives, self.support)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall: float64 `[classes]`, never NaN.

        0 for a class that is neither present nor predicted, as in scikit-learn with `zero_division=0`.
        """
        doubled = 2 * self.true_positives
        return _ratio(doubled, doubled + self.false_positives + self.false_negatives)

    @property
    def macro_f1(self) -> float:
        """Mean of F1 over all classes, including those absent from the split (as 0)."""
        return float(self.f1.mean())

    @property
    def macro_f1_present(self) -> float:
        """Mean of F1 over the classes that are in the split."""
        present = self.support > 0
        return float(self.f1[present].mean()) if present.any() else 0.0

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall over the classes that are in the split."""
        present = self.support > 0
        return float(self.recall[present].mean()) if present.any() else 0.0

    def absent(self, class_names: Sequence[str]) -> list[str]:
        """Returns the names of the classes that are not in the split."""
        return [name for name, num in zip(class_names, self.support, strict=True) if num == 0]

    def to_json(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns macro values and one entry per class, as plain values."""
        columns = {
            "support": self.support,
            "true_positives": self.true_positives,
            "false_positives": self.false_positives,
            "false_negatives": self.false_negatives,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
        }
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return {
            "macro_f1": self.macro_f1,
            "macro_f1_present": self.macro_f1_present,
            "macro_precision": float(self.precision.mean()),
            "macro_recall": float(self.recall.mean()),
            "absent": self.absent(class_names),
            "classes": [
                {"name": name, **dict(zip(columns, row, strict=True))}
                for name, row in zip(class_names, rows, strict=True)
            ],
        }


def count(label_vectors: np.ndarray, predicted: np.ndarray) -> Counts:
    """Returns the counts of `predicted`, bool `[N, classes]`, against label vectors `[N, classes]` of 0 and 1.

    Raises:
        ValueError: arrays of different shape.
    """
    if label_vectors.shape != predicted.shape:
        raise ValueError(f"label vectors {label_vectors.shape} and predictions {predicted.shape} differ in shape")
    labels, predicted = label_vectors.astype(bool), predicted.astype(bool)
    return Counts((labels & predicted).sum(0), (~labels & predicted).sum(0), (labels & ~predicted).sum(0))


def correct(label_vectors: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns which labels of each example are predicted, bool `[N, classes]`: their sum is the true positives."""
    return label_vectors.astype(bool) & predicted.astype(bool)


def at_threshold(label_vectors: np.ndarray, probabilities: np.ndarray, threshold: float = 0.5) -> Counts:
    """Returns the counts when a class is predicted where its probability is at least `threshold`."""
    return count(label_vectors, probabilities >= threshold)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return numerator / np.maximum(denominator, 1)
