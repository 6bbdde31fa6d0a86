"""Ablation of channels: predictions with some of them set to their mean."""

from collections.abc import Sequence

import keras
import numpy as np

from model import runs
from model.data.batches import Batch
from model.serving.scoring import predict_batch


class Ablation:
    """Predicts every batch again with each set of channels blanked."""

    def __init__(self, model: keras.Model, run: runs.Run, sets: Sequence[tuple[str, ...]]) -> None:
        self._model, self._run = model, run
        self._parts: dict[tuple[str, ...], list[np.ndarray]] = {blanked: [] for blanked in sets}

    def add(self, batch: Batch, probabilities: np.ndarray) -> None:
        """Adds a batch with all channels of the dataset."""
        channels = [self._run.dataset["channels"].index(channel) for channel in self._run.settings.channels]
        images = batch.images[..., channels]
        for blanked, parts in self._parts.items():
            parts.append(predict_batch(self._model, blank(images, self._run, blanked)))

    def probabilities(self) -> dict[tuple[str, ...], np.ndarray]:
        """Returns the probabilities, float32 `[N, classes]`, for each set of blanked channels."""
        return {blanked: np.concatenate(parts) for blanked, parts in self._parts.items()}


def blanked_sets(channels: Sequence[str], protein: str | None) -> list[tuple[str, ...]]:
    """Returns the sets of channels to blank: each reference, all references, and the protein as a control.

    Without a protein, each channel alone.
    """
    references = [channel for channel in channels if channel != protein]
    sets: list[tuple[str, ...]] = [(channel,) for channel in references]
    if protein and len(references) > 1:
        sets.append(tuple(references))
    return [*sets, (protein,)] if protein and protein in channels else sets


def blank(images: np.ndarray, run: runs.Run, channels: Sequence[str]) -> np.ndarray:
    """Returns the images, float32 `[B, S, S, C]`, with `channels` set to their mean over train: 0 once normalised."""
    images = np.array(images, np.float32)
    for channel in channels:
        index = run.settings.channels.index(channel)
        images[..., index] = run.schema.max_value * run.mean[index]
    return images
