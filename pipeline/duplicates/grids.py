"""Means of an image over a square grid, by area.

Integer arithmetic: the result is the same on every machine, and the grid of a flipped image is the flipped grid.
"""

import numpy as np

FINE = 128
"""Means a side for landmarks."""

COARSE = 32
"""Means a side for hashes: enough for 16 frequencies, and coarse enough to average out noise and JPEG's blocks."""

STEPS = 256
"""Steps of a mean between two values of a pixel."""


def means(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the means of an image, times `STEPS` and rounded down: int64 `[128, 128]` and `[32, 32]`.

    Args:
      image: uint8 or uint16 `[H, W]`. A pixel that lies partly in a cell counts by that part.
    """
    height, width = image.shape
    if height % FINE or width % FINE:
        total = _area_sums(_area_sums(image.astype(np.int64)).T).T
        area = height * width
    else:
        rows = image.reshape(FINE, height // FINE, width).sum(axis=1, dtype=np.uint32)
        total = rows.reshape(FINE, FINE, width // FINE).sum(axis=2, dtype=np.int64)
        area = (height // FINE) * (width // FINE)
    ratio = FINE // COARSE
    coarse = total.reshape(COARSE, ratio, COARSE, ratio).sum(axis=(1, 3))
    return total * STEPS // area, coarse * STEPS // (area * ratio**2)


def flat_below(full_scale: int) -> int:
    """Returns two of 256 levels, in units of `means`: a picture is flat if its means differ by less.

    `full_scale` is the largest value a pixel can have.
    """
    return full_scale * STEPS // 128


def _area_sums(image: np.ndarray) -> np.ndarray:
    """Returns int64 `[128, W]`: sums over rows, each row weighted by the part of it that is covered, in 1/128."""
    whole, part = np.divmod(np.arange(FINE + 1) * image.shape[0], FINE)
    below = np.concatenate([np.zeros_like(image[:1]), np.cumsum(image, axis=0)])
    padded = np.concatenate([image, np.zeros_like(image[:1])])
    return np.diff(below[whole] * FINE + padded[whole] * part[:, None], axis=0)
