"""Choice of the pictures in the gallery, and their colours.

Three kinds: false positives with the highest probabilities, missed classes with the lowest, and the darkest images. In
the Human Protein Atlas these have a nearly empty green channel; the paper shows them as images that nobody could
classify.
"""

import base64
import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from model.scores import thresholds
from pipeline.schema import Schema

KINDS = ("wrong", "missed", "empty")

PER_KIND = 8

SIDE = 192
"""Pixels a side of a stored picture."""

DIMMED = {"#ff0000": (0.6, 0, 0), "#0000ff": (0, 0, 1), "#ffff00": (0.35, 0.22, 0)}
"""Colours of reference channels in the picture of all channels, RGB 0..1: dimmed, so that the protein stands out."""

OTHER_DIMMED = 0.4
"""Factor for reference channels of other colours."""

WHITE_STDS = 4
"""A uint16 pixel this many standard deviations above the mean is shown as white: images that use only part of the
range, such as those of 12-bit cameras, would otherwise be black."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """An example of the gallery: its kind, its place in the split, and the class it is shown for, if any."""

    kind: str
    index: int
    label: int | None


def headings(protein: str | None, *, single_label: bool) -> dict[str, str]:
    """Returns the heading of each kind on the page."""
    return {
        "wrong": "Most confident wrong predictions" if single_label else "Most confident false positives",
        "missed": "Least probable true classes" if single_label else "Missed with the lowest probability",
        "empty": f"Nearly empty {protein} images" if protein else "Darkest images",
    }


def choose(
    label_vectors: np.ndarray,
    probabilities: np.ndarray,
    brightness: np.ndarray,
    num: int = PER_KIND,
    *,
    single_label: bool = False,
) -> list[Choice]:
    """Returns what to show, at most `num` of each kind; within a kind, no example and no class appears twice.

    Only predicted classes count as wrong, and only others as missed (see `thresholds.decide`).

    Args:
        label_vectors: `[N, classes]` of 0 and 1.
        probabilities: float `[N, classes]`.
        brightness: mean of the pixels of each example, float `[N]`.
        num: the largest number of each kind.
        single_label: the most probable class is predicted.
    """
    predicted = thresholds.decide(probabilities, single_label=single_label)
    ranks = scores(label_vectors.astype(bool), probabilities, predicted)
    chosen = {kind: _extremes(score, num) for kind, score in ranks.items()}
    return [
        *(Choice(kind, index, label) for kind, pairs in chosen.items() for index, label in pairs),
        *(Choice("empty", int(index), None) for index in np.argsort(brightness, kind="stable")[:num]),
    ]


def scores(truth: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the score of each class of each example as `wrong` and as `missed`: float `[N, classes]` each.

    It is the probability of a false positive, or 1 minus that of a missed class; -1 where the class is neither.
    """
    return {
        "wrong": np.where(predicted & ~truth, probabilities, -1.0),
        "missed": np.where(truth & ~predicted, 1.0 - probabilities, -1.0),
    }


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
    """Returns the image averaged down to at most `side` pixels a side: `[side, side, C]` of the same type."""
    import cv2

    if image.shape[0] <= side:
        return image
    # One channel at a time: OpenCV 5 resizes at most four.
    channels = np.moveaxis(image, -1, 0)
    return np.stack([cv2.resize(channel, (side, side), interpolation=cv2.INTER_AREA) for channel in channels], axis=-1)


def white_levels(schema: Schema, mean: Sequence[float], std: Sequence[float]) -> list[float]:
    """Returns the pixel value of each channel that is shown as 255; `mean` and `std` are on the scale 0..1."""
    if schema.dtype == "uint8":
        return [255.0] * schema.num_channels
    return [schema.max_value * min(1.0, m + WHITE_STDS * s) for m, s in zip(mean, std, strict=True)]


def to_8bit(image: np.ndarray, white: Sequence[float]) -> np.ndarray:
    """Returns the image as uint8, scaled so that the `white` of each channel is 255, and clipped."""
    if image.dtype == np.uint8:
        return image
    scale = 255 / np.maximum(np.array(white), 1)
    return np.clip(image * scale + 0.5, 0, 255).astype(np.uint8)


def coloured(image: np.ndarray, index: int, colour: str) -> np.ndarray:
    """Returns one channel in its colour `#rrggbb`: uint8 `[H, W, 3]` of an image uint8 `[H, W, C]`."""
    return (image[..., [index] * 3] * np.array(_rgb(colour))).astype(np.uint8)


def composite(image: np.ndarray, colours: Sequence[str], protein: int | None) -> np.ndarray:
    """Returns all channels in their colours, added up: uint8 `[H, W, 3]` of an image uint8 `[H, W, C]`.

    If one channel is the protein, `protein` is its index, and the others are dimmed.
    """
    weights = [_rgb(colour) if protein in (None, index) else _dimmed(colour) for index, colour in enumerate(colours)]
    return np.clip(image.astype(np.float64) @ np.array(weights), 0, 255).astype(np.uint8)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))


def _dimmed(colour: str) -> tuple[float, ...]:
    return DIMMED.get(colour) or tuple(OTHER_DIMMED * part for part in _rgb(colour))


def data_uri(pixels: np.ndarray) -> str:
    """Returns uint8 `[H, W, 3]` as a PNG in the address of an `<img>`: the page itself contains the picture."""
    from PIL import Image

    file = io.BytesIO()
    # Without `optimize`: a quarter of the time for 4% more bytes.
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
