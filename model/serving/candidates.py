"""Pictures that the gallery may choose, kept in bounded memory while a split is read once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.network.classifier import Predictions
from model.page import gallery
from pipeline.store import files


class Candidates:
    """Collects the brightness of all images and the pictures of those that `gallery.choose` can still choose.

    `gallery.choose` takes an example and a class at most once, so of each class the `PER_KIND` highest scores suffice:
    at most 456 pictures, 67 MB.
    """

    def __init__(self, channels: Sequence[str], num: int = gallery.PER_KIND) -> None:
        self._channels, self._num = channels, num
        self._brightness: list[np.ndarray] = []
        self._pictures: dict[int, np.ndarray] = {}
        self._best: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # kind -> scores, indices: both [num, classes]
        self._start = 0

    @property
    def brightness(self) -> np.ndarray:
        """Mean of the green channel of each image: float64 `[N]` on the scale 0..255."""
        return np.concatenate(self._brightness) if self._brightness else np.zeros(0)

    def add(self, images: np.ndarray, label_vectors: np.ndarray, probabilities: np.ndarray) -> None:
        """Looks at the next batch: images uint8 `[B, S, S, 4]` with all channels of the dataset."""
        green = images[..., self._channels.index("green")]
        brightness = green.mean(axis=(1, 2), dtype=np.float64)
        self._brightness.append(brightness)
        indices = np.arange(self._start, self._start + len(images))
        for kind, scores in {
            **gallery.scores(label_vectors, probabilities),
            "empty": -brightness[:, None],
        }.items():
            self._best[kind] = self._merge(self._best.get(kind), scores, indices)
        wanted = set(self._wanted())
        self._pictures = {index: picture for index, picture in self._pictures.items() if index in wanted}
        for index in wanted.intersection(indices.tolist()):
            self._pictures[index] = gallery.small(images[index - self._start])
        self._start += len(images)

    def pictures(self, indices: Sequence[int]) -> np.ndarray:
        """Returns the pictures of chosen examples: uint8 `[len(indices), side, side, 4]`."""
        if not indices:
            return np.zeros((0, gallery.SIDE, gallery.SIDE, len(self._channels)), np.uint8)
        return np.stack([self._pictures[index] for index in indices])

    def _merge(
        self, best: tuple[np.ndarray, np.ndarray] | None, scores: np.ndarray, indices: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the highest scores of each column and where they are; of equal ones the earliest."""
        places = np.broadcast_to(indices[:, None], scores.shape)
        if best is not None:
            scores, places = np.concatenate([best[0], scores]), np.concatenate([best[1], places])
        order = np.argsort(-scores, axis=0, kind="stable")[: self._num]
        return np.take_along_axis(scores, order, axis=0), np.take_along_axis(places, order, axis=0)

    def _wanted(self) -> list[int]:
        chosen = [
            places[scores >= 0] if kind != "empty" else places.ravel() for kind, (scores, places) in self._best.items()
        ]
        return np.unique(np.concatenate(chosen)).tolist()


def write_gallery(path: Path, predictions: Predictions, candidates: Candidates) -> list[dict[str, Any]]:
    """Writes the pictures that the gallery shows to a NumPy file, and returns an entry for each."""
    labels, probabilities, brightness = predictions.label_vectors, predictions.probabilities, candidates.brightness
    choices = gallery.choose(labels, probabilities, brightness)
    with files.replacing(path) as file:
        np.savez_compressed(file, images=candidates.pictures([choice.index for choice in choices]))
    return [
        {
            "kind": choice.kind,
            "id": predictions.ids[choice.index],
            "class": choice.label,
            "labels": np.flatnonzero(labels[choice.index]).tolist(),
            "probabilities": probabilities[choice.index].round(4).tolist(),
            "brightness": float(brightness[choice.index]),
        }
        for choice in choices
    ]
