"""Predictions for a split, kept in memory and saved beside the run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.store import files


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions for a split, in storage order: ids, label vectors uint8 and probabilities float32 `[N, classes]`."""

    ids: list[str]
    label_vectors: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def concatenate(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """Returns the predictions of consecutive batches, at least one, as one."""
        return cls(
            [example_id for part in parts for example_id in part.ids],
            np.concatenate([part.label_vectors for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )

    def save(self, path: Path, codes: np.ndarray | None = None) -> None:
        """Writes the arrays `ids`, `labels`, `probabilities` and `groups` to a compressed NumPy file.

        `codes` are the groups, int `[N]`; by default every example is a group of its own.
        """
        arrays = {
            "ids": np.array(self.ids, np.str_),
            "labels": self.label_vectors,
            "probabilities": self.probabilities,
            "groups": np.arange(len(self.ids)) if codes is None else codes,
        }
        with files.replacing(path) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
