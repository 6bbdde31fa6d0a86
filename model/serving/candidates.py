"""Candidates for the report's gallery, collected while a split is read once."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from model.data.batches import Batch
from model.data.channels import protein
from model.page import gallery
from pipeline.schema import Schema


@dataclasses.dataclass(frozen=True)
class Example:
    """An example with its picture, `[side, side, C]`, and the mean of its pixels.

    The picture is uint8 once it is small. The mean is that of the protein's channel, or of all if there is none.
    """

    id: str
    picture: np.ndarray
    label_vector: np.ndarray
    probabilities: np.ndarray
    brightness: float


class Candidates:
    """Keeps the examples that `gallery.choose` chooses from all batches so far.

    A dropped example would never be chosen later: `choose` takes the highest scores first, each class and each example
    once, so a new example can only push others down or out. The choice from the kept examples and the next batch is
    therefore the choice from all examples, and three times `gallery.PER_KIND` pictures (3.5 MB) are enough.
    """

    def __init__(self, schema: Schema, white: Sequence[float], num: int = gallery.PER_KIND) -> None:
        self._single_label, self._white, self._num = schema.single_label, white, num
        name = protein(schema)
        self._channels = [schema.channel_names.index(name)] if name else list(range(schema.num_channels))
        self._examples: list[Example] = []

    def add(self, batch: Batch, probabilities: np.ndarray) -> None:
        """Adds a batch with all channels of the dataset."""
        brightness = batch.images[..., self._channels].mean(axis=(1, 2, 3), dtype=np.float64)
        ids = [key.decode() for key in batch.ids.tolist()]
        rows = zip(ids, batch.images, batch.label_vectors, probabilities, brightness.tolist(), strict=True)
        examples = [*self._examples, *(Example(*row) for row in rows)]
        chosen = {choice.index for choice in self._choose(examples)}
        # In storage order, by which `choose` breaks ties.
        self._examples = [self._with_small_picture(examples[index]) for index in sorted(chosen)]

    def pictures(self) -> np.ndarray:
        """Returns the chosen pictures: uint8 `[K, side, side, C]`."""
        return np.stack([self._examples[choice.index].picture for choice in self._choose(self._examples)])

    def entries(self) -> list[dict[str, Any]]:
        """Returns what the report shows beside each of `pictures`."""
        choices = self._choose(self._examples)
        return [_entry(self._examples[choice.index], choice) for choice in choices]

    def _with_small_picture(self, example: Example) -> Example:
        picture = gallery.to_8bit(gallery.small(example.picture), self._white)
        # A copy, because a view would keep the whole batch.
        return dataclasses.replace(example, picture=picture.copy())

    def _choose(self, examples: Sequence[Example]) -> list[gallery.Choice]:
        labels, probabilities, brightness = (
            np.stack([getattr(example, name) for example in examples])
            for name in ("label_vector", "probabilities", "brightness")
        )
        return gallery.choose(labels, probabilities, brightness, self._num, single_label=self._single_label)


def _entry(example: Example, choice: gallery.Choice) -> dict[str, Any]:
    return {
        "kind": choice.kind,
        "id": example.id,
        "class": choice.label,
        "labels": np.flatnonzero(example.label_vector).tolist(),
        "probabilities": example.probabilities.round(4).tolist(),
        "brightness": example.brightness,
    }
