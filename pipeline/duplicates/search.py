"""Similar pairs among many examples, without comparing every pair.

Hashes are found by multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): a key of 63 bits is cut into three
parts of 21. If two keys differ in at most 5 bits, one of their parts differs in at most one bit, so it is enough to
look up every part, and every part with one bit changed. Nothing within that distance is missed.

Landmarks are found by equal parts of their hashes. In a true overlap, several landmarks have an equal part, so a pair
of examples is compared in full once two of its landmarks match with the same shift.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from pipeline.duplicates import grids, hashes, landmarks

KEY_DISTANCE = 5
"""Bits of 63 in which the keys of one channel may differ for a pair to be looked at."""

MAX_SHARE = 1 / 10
"""Largest share of differing bits of the whole hashes, over all channels that are not flat, of a near-duplicate."""

LANDMARK_SHARE = 1 / 12
"""Largest share of differing bits of two landmarks that look alike."""

MIN_LANDMARKS = 5
"""Least number of landmarks that two overlapping examples have in common."""

MIN_COMMON_SHARE = 0.45
"""Least share of the landmarks in the overlap that both examples have; by chance it is a sixth."""

TOLERANCE = 2
"""Cells by which the shifts of two landmarks may differ."""

_PART_BITS = 21
_NARROW, _WIDE, _MANY = 20, 30, 1 << 19
"""Bits of a part of a landmark's hash: wide from `_MANY` landmarks on, or most candidates would be chance."""

_CHUNK = 1 << 22  # candidates looked at together: about 200 MB

Pairs = tuple[np.ndarray, np.ndarray]
"""Two arrays of row numbers, int64 `[P]`."""


def near(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the pairs of similar hashes, a row of `first` with a later row of `second`.

    Finds every pair whose keys differ in at most `KEY_DISTANCE` bits in one channel, and whose whole hashes differ in
    at most `MAX_SHARE` of their bits.

    Args:
      first: uint8 `[N, channels, 32]`.
      second: the same examples, perhaps turned.

    Returns:
      Rows of `first`, rows of `second`, and the share of differing bits; sorted, without repeats.
    """
    one, other = _words(first), _words(second)
    found = [np.zeros(0, np.int64)]
    for channel in range(first.shape[1]):
        for i, j in _near_keys(one[:, channel, 0], other[:, channel, 0]):
            similar = _share(one, other, i, j) <= MAX_SHARE
            found.append(i[similar] * len(first) + j[similar])
    i, j = np.divmod(np.unique(np.concatenate(found)), max(len(first), 1))
    return i, j, _share(one, other, i, j)


def _words(found: np.ndarray) -> np.ndarray:
    """Returns the hashes as uint64 `[N, channels, 4]`; the first is the key."""
    return np.ascontiguousarray(found).view(">u8").astype(np.uint64)


def _share(one: np.ndarray, other: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Returns each pair's share of differing bits over the channels that are flat in neither; 1 if there is none."""
    differing, compared = np.zeros(len(i), np.int64), np.zeros(len(i), np.int64)
    for channel in range(one.shape[1]):
        left, right = one[i, channel], other[j, channel]
        both = (left[:, 0] >> np.uint64(63) & right[:, 0] >> np.uint64(63)).astype(bool)
        differing += np.where(both, count_bits(left ^ right).sum(axis=1, dtype=np.int64), 0)
        compared += np.where(both, 8 * hashes.BYTES - 1, 0)
    return np.where(compared > 0, differing / np.maximum(compared, 1), 1.0)


def _near_keys(one: np.ndarray, other: np.ndarray) -> Iterator[Pairs]:
    """Yields the pairs of keys `one[i]`, `other[j]` with i < j that differ in at most `KEY_DISTANCE` bits.

    Bit 63 is set in a key that may be compared. A pair may be yielded more than once.
    """
    top = np.uint64(63)
    rows, columns = np.flatnonzero(one >> top), np.flatnonzero(other >> top)
    mask = np.uint64((1 << _PART_BITS) - 1)
    for shift in range(0, 63, _PART_BITS):
        left = (one[rows] >> np.uint64(shift) & mask).astype(np.int64)
        right = (other[columns] >> np.uint64(shift) & mask).astype(np.int64)
        order, starts = _index(right)
        for changed in (0, *(1 << bit for bit in range(_PART_BITS))):
            wanted = left ^ changed
            for a, b in _expand(starts[wanted], starts[wanted + 1] - starts[wanted], order):
                i, j = rows[a], columns[b]
                i, j = i[i < j], j[i < j]
                close = count_bits(one[i] ^ other[j]) <= KEY_DISTANCE
                yield i[close], j[close]


def _index(values: np.ndarray) -> Pairs:
    """Returns the rows in the order of their values, and where each value starts among them: a table of all values."""
    counts = np.bincount(values, minlength=1 << _PART_BITS)
    return np.argsort(values, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def _expand(first: np.ndarray, counts: np.ndarray, order: np.ndarray) -> Iterator[Pairs]:
    """Yields (k, order[first[k] + 0 .. counts[k] - 1]) for every k, in chunks of about `_CHUNK` pairs."""
    some = np.flatnonzero(counts)
    first, counts = first[some], counts[some]
    ends = np.cumsum(counts)
    start = 0
    while start < len(some):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + _CHUNK, side="right")), start + 1)
        many = counts[start:stop]
        offsets = np.arange(many.sum()) - np.repeat(ends[start:stop] - many - before, many)
        yield np.repeat(some[start:stop], many), order[np.repeat(first[start:stop], many) + offsets]
        start = stop


def overlapping(
    first: landmarks.Landmarks, second: landmarks.Landmarks, num_channels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the pairs of examples that have landmarks in common, a row of `first` with a later row of `second`.

    Args:
      first: of all examples.
      second: of the same examples, perhaps turned.
      num_channels: of the examples.

    Returns:
      Rows of `first`, rows of `second`, and the number of common landmarks, at least `MIN_LANDMARKS`; sorted, without
      repeats.
    """
    masks = landmarks.masks(num_channels)
    candidates = _with_two_matches(first, second, masks)
    i, j = np.divmod(candidates, max(len(first.counts), 1))
    common = np.array([_common(first, second, a, b, masks) for a, b in zip(i, j, strict=True)], int)
    keep = common >= MIN_LANDMARKS
    return i[keep], j[keep], common[keep]


def _with_two_matches(first: landmarks.Landmarks, second: landmarks.Landmarks, masks: np.ndarray) -> np.ndarray:
    """Returns i * N + j of the pairs of examples i < j with two or more matching landmarks at the same shift."""
    rows, columns = first.owners(), second.owners()
    one, other = first.flat_hashes(), second.flat_hashes()
    num_flags, num_bits = len(masks).bit_length() - 1, int(masks[-1]).bit_count()
    width = min(num_bits, _NARROW if len(one) < _MANY else _WIDE)
    found = [np.zeros(0, np.int64)]
    for part in range(num_bits // width):
        shift, mask = np.uint64(num_flags + part * width), np.uint64((1 << width) - 1)
        for a, b in _equal_values(one >> shift & mask, other >> shift & mask, width):
            a, b = (k[rows[a] < columns[b]] for k in (a, b))
            alike = _alike(one[a], other[b], masks)
            found.append(np.unique(a[alike] * len(other) + b[alike]))
    a, b = np.divmod(np.unique(np.concatenate(found)), max(len(other), 1))
    shifts = first.flat_places()[a].astype(np.int64) - second.flat_places()[b]
    return _repeated(rows[a] * len(first.counts) + columns[b], shifts)


def _repeated(pairs: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Returns the pairs that occur twice or more with shifts that differ by `TOLERANCE` at most, or little more.

    Shifts are counted in squares of four times the tolerance. Squares moved by half their side are counted as well, so
    that two shifts that agree are in one square at least once.
    """
    side, offset = 4 * TOLERANCE, 2 * grids.FINE
    found = [np.zeros(0, np.int64)]
    for moved in ((0, 0), (0, side // 2), (side // 2, 0), (side // 2, side // 2)):
        down, right = ((shifts + moved + offset) // side).T
        squares, counts = np.unique((pairs << 14) + (down << 7) + right, return_counts=True)
        found.append(squares[counts >= 2] >> 14)
    return np.unique(np.concatenate(found))


def _alike(one: np.ndarray, other: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Returns which landmarks look alike, bool; compared over the channels that are flat in neither."""
    compared = masks[(one & other & np.uint64(len(masks) - 1)).astype(np.int64)]
    num_compared = count_bits(compared)
    return (num_compared > 0) & (count_bits((one ^ other) & compared) <= num_compared * LANDMARK_SHARE)


def _equal_values(left: np.ndarray, right: np.ndarray, num_bits: int) -> Iterator[Pairs]:
    """Yields (row of `left`, row of `right`) wherever the values of `num_bits` bits are equal, in chunks."""
    steps = max(1, len(right) >> 20)  # ranges of values; one is sorted at a time
    bounds = [np.uint64(k * (1 << num_bits) // steps) for k in range(steps + 1)]
    for low, high in itertools.pairwise(bounds):
        rows, columns = (np.flatnonzero((low <= values) & (values < high)) for values in (left, right))
        rows, columns = rows[np.argsort(left[rows])], columns[np.argsort(right[columns], kind="stable")]
        start, stop = (np.searchsorted(right[columns], left[rows], side=side) for side in ("left", "right"))
        for a, b in _expand(start, stop - start, columns):
            yield rows[a], b


def _common(first: landmarks.Landmarks, second: landmarks.Landmarks, i: int, j: int, masks: np.ndarray) -> int:
    """Returns how many landmarks two examples have in common: alike, and at the same shift; 0 if there are too few."""
    places, found = first.of(i)
    other_places, other = second.of(j)
    a, b = np.nonzero(_alike(found[:, None], other[None], masks))
    if len(a) < MIN_LANDMARKS:
        return 0
    shifts = places[a].astype(int) - other_places[b]
    agree = np.abs(shifts[:, None] - shifts[None]).max(axis=2) <= TOLERANCE
    counts = [min(len(np.unique(a[row])), len(np.unique(b[row]))) for row in agree]
    best = int(np.argmax(counts))
    inside = min(_num_inside(places - shifts[best]), _num_inside(other_places + shifts[best]))
    enough = counts[best] >= max(MIN_LANDMARKS, MIN_COMMON_SHARE * inside)
    return counts[best] if enough else 0


def _num_inside(places: np.ndarray) -> int:
    """Returns how many places are where an image can have landmarks."""
    inside = (places >= landmarks.RADIUS) & (places < grids.FINE - landmarks.RADIUS)
    return int(inside.all(axis=1).sum())


def count_bits(words: np.ndarray) -> np.ndarray:
    """Returns the number of bits set in each uint64."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.bitwise_count(words)
    return _BITS[np.ascontiguousarray(words)[..., None].view(np.uint16)].sum(axis=-1, dtype=np.uint8)


_BITS = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1).sum(1, dtype=np.uint8)
