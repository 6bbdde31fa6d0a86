"""Perceptual hash of a channel: the signs of its low spatial frequencies.

The hash has 256 bits. Bits 1 to 255 are the signs of the 16 x 16 lowest frequencies (DCT-II) of the coarse grid. They
do not change with brightness and contrast, and little with noise, JPEG and small crops. Bit 0, in the place of the
mean, is set unless the channel is flat: flat channels resemble one another without being duplicates.

The lowest 8 x 8 frequencies come first. They are the key by which similar hashes are found.

A flip negates the odd frequencies of an axis and a transposition exchanges the axes, so the hash of a rotated or
flipped image follows from the hash of the image, without its pixels.
"""

import functools

import numpy as np

from pipeline.duplicates import grids

SIDE = 16
BYTES = SIDE**2 // 8
KEY_SIDE = 8
KEY_BYTES = KEY_SIDE**2 // 8

TURNS = range(8)
"""Bit 0: flipped upside down; bit 1: flipped left to right; bit 2: transposed before that. 0 changes nothing."""

COSINE_STEPS = 4096
"""A cosine of 1, in whole numbers. With pixels of 16 bits every sum stays below 2**63."""


def of_grid(coarse: np.ndarray, full_scale: int) -> bytes:
    """Returns the hash of a channel, 32 bytes; all zero if it is flat.

    Args:
      coarse: int64 `[32, 32]`, from `grids.means`.
      full_scale: the largest value a pixel can have.
    """
    if int(np.ptp(coarse)) < grids.flat_below(full_scale):
        return bytes(BYTES)
    cosines = cosine_table(SIDE, grids.COARSE)
    signs = (cosines @ coarse @ cosines.T > 0).ravel()[_order(SIDE)]
    signs[0] = True
    return np.packbits(signs).tobytes()


@functools.cache
def cosine_table(num_frequencies: int, num_places: int) -> np.ndarray:
    """Returns int64 `[frequencies, places]`: the cosines of DCT-II, times `COSINE_STEPS` and rounded."""
    frequency, place = np.arange(num_frequencies)[:, None], np.arange(num_places)
    return np.rint(COSINE_STEPS * np.cos(np.pi * frequency * (2 * place + 1) / (2 * num_places))).astype(np.int64)


@functools.cache
def _order(side: int) -> np.ndarray:
    """Returns the order of the frequencies in a hash: row by row within each square shell, small squares first."""
    row, column = np.divmod(np.arange(side**2), side)
    return np.lexsort((column, row, np.maximum(row, column)))


@functools.cache
def turned_signs(side: int, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (source, negated) of the frequencies of a turned image: bit k is bit `source[k]`, or its inverse.

    Both are `[side * side]`; bit 0 stays.
    """
    order = _order(side)
    row, column = np.divmod(order, side)
    place = np.empty(side**2, int)
    place[order] = np.arange(side**2)
    negated = ((turn & 1) * row + (turn >> 1 & 1) * column) % 2 == 1
    return (place[column * side + row] if turn & 4 else np.arange(side**2)), negated


def turned(hashes: np.ndarray, turn: int) -> np.ndarray:
    """Returns the hashes of the turned images: uint8 `[..., 32]`, like `hashes`."""
    source, negated = turned_signs(SIDE, turn)
    bits = np.unpackbits(hashes, axis=-1)
    structured = bits[..., :1]
    return np.packbits((bits[..., source] ^ negated) & structured, axis=-1)


def turned_image(image: np.ndarray, turn: int) -> np.ndarray:
    """Returns `image` `[H, W, ...]` turned."""
    image = image.swapaxes(0, 1) if turn & 4 else image
    return image[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
