"""Exact resizing by area.

Each output pixel is the mean over the area that it covers; a source pixel that lies partly inside counts by that
part. All arithmetic is in integers, rounded to nearest with halves up, so the result is the same on every machine.

With side / size = p / q in lowest terms, an output row covers p/q source rows. Counted in q-ths of a source row, all
weights are whole numbers that add up to p, and an output pixel is a sum over rows and columns divided by p * p.
"""

import math

import numpy as np

_STRIP_BYTES = 1 << 17
"""Size of the arrays to work on, in bytes: they stay in the cache, and glibc reuses their memory."""


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Returns a square image resized to `size` pixels a side, of the same dtype.

    Args:
      image: uint8 or uint16 `[side, side]`, `side >= size`.
    """
    import cv2

    side = len(image)
    if side == size:
        return image
    if side == 2 * size:
        # The most common ratio; OpenCV's arithmetic is the same here, and six times as fast.
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    rows = _AreaRows(side, size)
    area, largest = rows.p * rows.p, np.iinfo(image.dtype).max
    narrow, wide = _unsigned(largest * rows.p), _unsigned(largest * area + area // 2)
    source = rows.padded(image)
    out = np.empty((size, size), image.dtype)
    for start, end in _strips(size, max(32, _STRIP_BYTES // (side * narrow.itemsize))):
        total = rows.sums(_transposed(rows.sums(source, narrow, start, end)), wide, 0, size)
        total += area // 2
        total //= area
        out[start:end] = cv2.transpose(total.astype(image.dtype))
    return out


class _AreaRows:
    """Weighted sums of the source rows that each output row covers; the weights of a sum add up to `p`."""

    def __init__(self, side: int, size: int):
        divisor = math.gcd(side, size)
        self.p, self._q = side // divisor, size // divisor
        # Output row i starts `part[i]` q-ths below the top of source row `first[i]`, and ends where i + 1 starts.
        first, self._part = np.divmod(np.arange(size + 1) * self.p, self._q)
        num = self.p // self._q  # every output row covers this many starts of source rows, or one more
        last = np.where(first[:-1] + num < first[1:], first[:-1] + num, side)  # `side`: the row of zeros
        self._first, self._others = first, [*(first[:-1] + k for k in range(1, num)), last]

    def padded(self, image: np.ndarray) -> np.ndarray:
        """Returns the image, with a last row and column of zeros if `sums` needs them."""
        import cv2

        return image if self._q == 1 else cv2.copyMakeBorder(image, 0, 1, 0, 1, cv2.BORDER_CONSTANT)

    def sums(self, rows: np.ndarray, dtype: np.dtype, start: int, end: int) -> np.ndarray:
        """Returns `[end - start, width]`: weighted sums of the rows that the output rows from `start` to `end` cover.

        `dtype` is unsigned and holds the results; overflow on the way there is undone by the subtraction.
        """
        p, q = self.p, self._q
        total: np.ndarray
        if q == 1:
            total = rows[start * p : end * p].reshape(end - start, p, -1).sum(axis=1, dtype=dtype)
            return total
        first = rows.take(self._first[start : end + 1], axis=0).astype(dtype, copy=False)
        above = first * self._part[start : end + 1, None].astype(dtype)  # the part that the previous output row covers
        total = first[:-1]
        for index in self._others:
            total += rows.take(index[start:end], axis=0)
        total *= q
        total -= above[:-1]
        total += above[1:]
        return total


def _strips(size: int, most: int) -> list[tuple[int, int]]:
    """Returns (start, end) of equal parts of `range(size)`, of at most `most` each."""
    num = -(-size // most)
    return [(k * size // num, (k + 1) * size // num) for k in range(num)]


def _unsigned(largest: int) -> np.dtype:
    """Returns the smallest unsigned dtype, of 16 bits or more, that holds `largest`."""
    return np.promote_types(np.min_scalar_type(largest), np.uint16)


def _transposed(array: np.ndarray) -> np.ndarray:
    """Returns the transposed array, in order in memory; OpenCV does it ten times as fast as NumPy."""
    import cv2

    same_width = {2: np.uint16, 4: np.int32, 8: np.float64}[array.itemsize]
    return cv2.transpose(array.view(same_width)).view(array.dtype)
