"""Landmarks: spots by which two overlapping pictures of one field are recognised.

A landmark is a bright or dark blob of the channels together, with a hash of its surroundings in every channel. Two
examples overlap if several landmarks look alike and lie in the same place after one common shift.

The hash of a landmark is computed like the hash of a channel (`hashes`), in 64 bits for all channels:
bit `k * channels + c` is the sign of frequency k of channel c. Bit c, in the place of the mean, is set unless channel c
is flat there; then its other bits are 0 too and are not compared.
"""

import dataclasses

import numpy as np

from pipeline.duplicates import grids, hashes

MOST = 32
"""Landmarks kept per example: the strongest."""

RADIUS = 12
"""Cells of the fine grid from a landmark to the edge of its surroundings; 48 pixels of an image of 512."""

_FINE_BLUR, _COARSE_BLUR = (5, 5), (7, 7, 7)
"""Widths of the repeated box filters whose difference responds to blobs; variances of 4 and 12 cells."""

_SUPPRESSION = 7
"""Cells a side of the window in which a landmark is the strongest."""


@dataclasses.dataclass(frozen=True, eq=False)
class Landmarks:
    """Landmarks of N examples: `places` uint8 `[N, 32, 2]`, `hashes` uint64 `[N, 32]`; `counts[n]` of them are used."""

    places: np.ndarray
    hashes: np.ndarray
    counts: np.ndarray

    def of(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the places and hashes of one example."""
        return self.places[row, : self.counts[row]], self.hashes[row, : self.counts[row]]

    def owners(self) -> np.ndarray:
        """Returns the example of each landmark of `flat_hashes`, int64."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def flat_hashes(self) -> np.ndarray:
        """Returns the hashes of all examples, one after another."""
        return self.hashes[np.arange(MOST) < self.counts[:, None]]

    def flat_places(self) -> np.ndarray:
        """Returns the places of all examples, one after another."""
        return self.places[np.arange(MOST) < self.counts[:, None]]

    def take(self, rows: np.ndarray) -> "Landmarks":
        """Returns the landmarks of some examples."""
        return Landmarks(self.places[rows], self.hashes[rows], self.counts[rows])

    def turned(self, turn: int, num_channels: int) -> "Landmarks":
        """Returns the landmarks of the turned images."""
        return Landmarks(turned_places(self.places, turn), turned_hashes(self.hashes, turn, num_channels), self.counts)


def hash_side(num_channels: int) -> int:
    """Returns how many frequencies a side each channel has in the hash of a landmark, of at most 64 bits in all."""
    return next((side for side in (8, 5, 4, 3) if num_channels * side**2 <= 64), 2)


def num_hashed(num_channels: int) -> int:
    """Returns how many channels the hash has room for: the first 16 at most."""
    return min(num_channels, 16)


def find(fine: np.ndarray, full_scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the landmarks of an example, strongest first.

    Args:
      fine: int64 `[channels, 128, 128]`, from `grids.means`.
      full_scale: the largest value a pixel can have.

    Returns:
      Places (row, column) on the grid, uint8 `[N, 2]`, and hashes, uint64 `[N]`; N is at most 32.
    """
    response = _response(fine)
    inner = slice(RADIUS, grids.FINE - RADIUS)
    peak = np.zeros(response.shape, bool)
    for signed in (response, -response):
        peak |= (signed > 0) & (signed == _largest_around(signed))
    rows, columns = (found + RADIUS for found in np.nonzero(peak[inner, inner]))
    strongest = np.lexsort((columns, rows, -np.abs(response[rows, columns])))[:MOST]
    places = np.stack([rows[strongest], columns[strongest]], axis=1)
    return places.astype(np.uint8), _hashes(fine, places, grids.flat_below(full_scale))


def _response(fine: np.ndarray) -> np.ndarray:
    """Returns int32 `[128, 128]`: how much each cell differs from its neighbourhood, all channels equally weighted."""
    mixed = np.zeros(fine.shape[1:], np.int64)
    for channel in fine:
        off = channel - int(channel.sum()) // channel.size
        spread = int(np.abs(off).sum()) // channel.size
        if spread > 0:
            mixed += np.clip(off * 256 // spread, -(2**16), 2**16)
    first = mixed.astype(np.int32)
    return _blurred(first, _FINE_BLUR) - _blurred(first, _COARSE_BLUR)


def _blurred(image: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    import cv2

    for width in widths:  # sums of whole numbers, exact
        image = cv2.boxFilter(image, cv2.CV_32S, (width, width), normalize=False) // width**2
    return image


def _largest_around(image: np.ndarray) -> np.ndarray:
    import cv2

    window = np.ones((_SUPPRESSION, _SUPPRESSION), np.uint8)
    return cv2.dilate(image.astype(np.float32), window).astype(np.int32)  # below 2**24: exact


def _hashes(fine: np.ndarray, places: np.ndarray, flat_below: int) -> np.ndarray:
    """Returns uint64 `[N]`: the hash of the surroundings of each place."""
    num, width = num_hashed(len(fine)), 2 * RADIUS + 1
    cosines = hashes.cosine_table(hash_side(len(fine)), width)
    rows, columns = (places - RADIUS).T
    bits = np.zeros((len(places), cosines.shape[0] ** 2, num), bool)
    for k, channel in enumerate(fine[:num]):
        around = np.lib.stride_tricks.sliding_window_view(channel, (width, width))[rows, columns]
        structured = np.ptp(around, axis=(1, 2)) >= flat_below
        signs = (cosines @ around @ cosines.T > 0).reshape(bits.shape[:2])
        bits[:, :, k] = signs & structured[:, None]
        bits[:, 0, k] = structured
    weights = np.uint64(1) << np.arange(bits.shape[1] * num, dtype=np.uint64).reshape(bits.shape[1:])
    return (bits * weights).sum(axis=(1, 2), dtype=np.uint64)


def masks(num_channels: int) -> np.ndarray:
    """Returns the bits to compare, by the channels that are flat in neither landmark: uint64 `[2 ** channels]`.

    The index is the bitwise "and" of the first bits of both hashes.
    """
    num, side = num_hashed(num_channels), hash_side(num_channels)
    one_channel = sum(1 << (k * num) for k in range(1, side**2))
    values = [sum(one_channel << c for c in range(num) if flags >> c & 1) for flags in range(1 << num)]
    return np.array(values, np.uint64)


def turned_places(places: np.ndarray, turn: int) -> np.ndarray:
    """Returns where landmarks are in the turned image; `places` is uint8 `[..., 2]`."""
    found = places[..., ::-1] if turn & 4 else places
    last = np.array([(turn & 1), (turn >> 1 & 1)]) * (grids.FINE - 1)
    return np.where(last, last - found, found).astype(np.uint8)


def turned_hashes(found: np.ndarray, turn: int, num_channels: int) -> np.ndarray:
    """Returns the hashes of landmarks in the turned image: uint64, in the shape of `found`."""
    num, side = num_hashed(num_channels), hash_side(num_channels)
    row, column = np.divmod(np.arange(side**2), side)
    source = column * side + row if turn & 4 else np.arange(side**2)
    negated = ((turn & 1) * row + (turn >> 1 & 1) * column) % 2
    result = np.zeros_like(found)
    for k in range(side**2):
        for c in range(num):
            structured = found >> np.uint64(c) & np.uint64(1)
            sign = found >> np.uint64(int(source[k]) * num + c) & np.uint64(1)
            result |= ((sign ^ np.uint64(negated[k])) & structured) << np.uint64(k * num + c)
    return result
