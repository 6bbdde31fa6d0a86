"""Which pictures are worth looking at, and how do they become small files?

Two kinds: the mistakes a model was surest of, and images whose green channel is nearly empty, which the paper
shows as those nobody could classify.
"""

import dataclasses
import io
from collections.abc import Sequence

import numpy as np

KINDS = {
    "wrong": "Said with most confidence, and wrong",
    "missed": "There, and most surely overlooked",
    "empty": "Nearly empty green images",
}

PER_KIND = 8

SIDE = 192
"""Pixels a side of a stored picture."""

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
"""As the atlas shows them: microtubules, the protein, nucleus, endoplasmic reticulum."""

MIX = {"red": (0.6, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (0.35, 0.22, 0)}
"""In the picture of all four the references are dimmed, so that the protein stays in front."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """An example of the gallery: its `kind`, its place in the split, and the class it is shown for, if one."""

    kind: str
    index: int
    label: int | None


def choose(
    label_vectors: np.ndarray, probabilities: np.ndarray, brightness: np.ndarray, num: int = PER_KIND
) -> list[Choice]:
    """Returns what to show, at most `num` of each kind; an example and a class come at most once in each.

    `label_vectors` and `probabilities` are `[N, 28]`; `brightness`, `[N]`, is the mean of the green channel.
    """
    chosen = {kind: _extremes(score, num) for kind, score in scores(label_vectors, probabilities).items()}
    return [
        *(Choice(kind, index, label) for kind, pairs in chosen.items() for index, label in pairs),
        *(Choice("empty", int(index), None) for index in np.argsort(brightness, kind="stable")[:num]),
    ]


def scores(label_vectors: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Returns how wrong and how overlooked each class of each example is, `[N, 28]`; -1 where it is not."""
    truth = label_vectors.astype(bool)
    return {"wrong": np.where(truth, -1.0, probabilities), "missed": np.where(truth, 1.0 - probabilities, -1.0)}


def _extremes(score: np.ndarray, num: int) -> list[tuple[int, int]]:
    """Returns (row, column) of the highest scores of at least 0, no row and no column twice."""
    score = score.astype(np.float64)
    found: list[tuple[int, int]] = []
    while score.size and len(found) < num and score.max() >= 0:
        row, column = map(int, np.unravel_index(score.argmax(), score.shape))
        found.append((row, column))
        score[row], score[:, column] = -1, -1
    return found


def small(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Returns the image averaged down to at most `side` pixels a side: uint8 `[side, side, C]`."""
    import cv2

    if image.shape[0] <= side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).reshape(side, side, -1)


def coloured(image: np.ndarray, channel: str, channels: Sequence[str]) -> np.ndarray:
    """Returns one channel in its colour, uint8 `[H, W, 3]`, of an image `[H, W, C]`."""
    return (image[..., [channels.index(channel)] * 3] * np.array(COLOURS[channel])).astype(np.uint8)


def composite(image: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Returns all channels in their colours, added up: uint8 `[H, W, 3]` of an image `[H, W, C]`."""
    weights = np.array([MIX[channel] for channel in channels])
    return np.clip(image.astype(np.float64) @ weights, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Returns a PNG file of uint8 `[H, W, 3]`."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()
