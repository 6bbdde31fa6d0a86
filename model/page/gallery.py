"""Choice of the pictures in the gallery, and their colours.

Three kinds: false positives with the highest probabilities, missed classes with the lowest, and images whose green
channel is the darkest, which the paper shows as those that nobody could classify.
"""

import base64
import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from model.scores import thresholds

KINDS = {
    "wrong": "Most confident false positives",
    "missed": "Missed with the lowest probability",
    "empty": "Nearly empty green images",
}
"""Kind of a choice -> its heading on the page."""

PER_KIND = 8

SIDE = 192
"""Pixels a side of a stored picture."""

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
"""Colours of the channels, RGB 0..1, as the atlas shows them; channels of other names are grey."""

MIX = {"red": (0.6, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (0.35, 0.22, 0)}
"""The same in the picture of all channels: the references are dimmed, so that the protein stands out."""

GREY = (1, 1, 1)
GREY_MIX = (0.4, 0.4, 0.4)


@dataclasses.dataclass(frozen=True)
class Choice:
    """An example of the gallery: its kind, its place in the split, and the class it is shown for, if any."""

    kind: str
    index: int
    label: int | None


def choose(
    label_vectors: np.ndarray, probabilities: np.ndarray, brightness: np.ndarray, num: int = PER_KIND
) -> list[Choice]:
    """Returns what to show, at most `num` of each kind; an example and a class come at most once in each.

    Only classes predicted at the fixed threshold count as wrong, and only those below it as missed.

    Args:
        label_vectors: `[N, classes]` of 0 and 1.
        probabilities: float `[N, classes]`.
        brightness: mean of the green channel of each example, float `[N]`.
        num: at most so many of each kind.
    """
    chosen = {kind: _extremes(score, num) for kind, score in scores(label_vectors, probabilities).items()}
    return [
        *(Choice(kind, index, label) for kind, pairs in chosen.items() for index, label in pairs),
        *(Choice("empty", int(index), None) for index in np.argsort(brightness, kind="stable")[:num]),
    ]


def scores(label_vectors: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the rank of each class of each example as `wrong` and as `missed`: float `[N, classes]` each.

    It is the probability of a false positive, or 1 minus that of a missed class; -1 where the class is neither.
    """
    truth, predicted = label_vectors.astype(bool), probabilities >= thresholds.FIXED
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
    """Returns the image averaged down to at most `side` pixels a side: uint8 `[side, side, C]`."""
    import cv2

    if image.shape[0] <= side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).reshape(side, side, -1)


def coloured(image: np.ndarray, channel: str, channels: Sequence[str]) -> np.ndarray:
    """Returns one channel in its colour, uint8 `[H, W, 3]`, of an image `[H, W, C]`."""
    colour = np.array(COLOURS.get(channel, GREY))
    return (image[..., [channels.index(channel)] * 3] * colour).astype(np.uint8)


def composite(image: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Returns all channels in their colours, added up: uint8 `[H, W, 3]` of an image `[H, W, C]`."""
    weights = np.array([MIX.get(channel, GREY_MIX) for channel in channels])
    return np.clip(image.astype(np.float64) @ weights, 0, 255).astype(np.uint8)


def data_uri(pixels: np.ndarray) -> str:
    """Returns a PNG picture of uint8 `[H, W, 3]` as the address of an `<img>`: the picture is in the page itself."""
    from PIL import Image

    file = io.BytesIO()
    # Without `optimize`: a quarter of the time for 4% more bytes.
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
