"""Conversion of stored pixel values to values of the dataset."""

import functools

import numpy as np

from pipeline.images.limits import Bad
from pipeline.schema import Channel
from pipeline.schema.declared import FULL_RANGE


def mean_of(planes: list[np.ndarray]) -> np.ndarray:
    """Returns the mean of planes of one type and shape, rounded to nearest, halves up."""
    if len(planes) == 1:
        return planes[0]
    total = np.sum(planes, axis=0, dtype=np.uint32)
    return ((2 * total + len(planes)) // (2 * len(planes))).astype(planes[0].dtype)


def full_range(image: np.ndarray, depth: str) -> int:
    """Returns the largest value that the pixels of a file of that depth can have."""
    return FULL_RANGE.get(depth, int(np.iinfo(image.dtype).max))


def convert(image: np.ndarray, depth: str, channel: Channel, bad: Bad) -> np.ndarray:
    """Returns the pixels of one channel as the dataset holds them: uint8, or uint16 with depth `uint16`.

    Values are scaled to 0..255 and rounded to nearest, halves up; see `schema.DEPTHS`.

    Raises:
      Exception: made by `bad(code, detail)`: the values are not of that depth.
    """
    if depth == "file":
        return to_8bit(image, 65535)
    if depth == "percentile":
        return _between(image, channel)
    if (image.dtype == np.uint8) != (depth == "8"):
        raise bad("wrong_mode", f"{8 * image.itemsize}-bit image, but the schema says depth '{depth}'")
    full = FULL_RANGE[depth]
    if depth == "12" and (largest := int(image.max())) > full:
        raise bad("out_of_range", f"a pixel has value {largest}, but depth '12' ends at {full}")
    return image if depth in ("8", "uint16") else to_8bit(image, full)


def to_8bit(image: np.ndarray, full: int) -> np.ndarray:
    """Returns uint8 `[H, W]`; 16-bit values 0..`full` are scaled to 0..255 and rounded to nearest, halves up."""
    return image if image.dtype == np.uint8 else _table(0, full)[image]


def _between(image: np.ndarray, channel: Channel) -> np.ndarray:
    assert channel.range is not None
    low, high = channel.range
    return _table(low, high)[np.clip(image.astype(np.int32), low, high) - low]


@functools.lru_cache(maxsize=64)
def _table(low: int, high: int) -> np.ndarray:
    """Returns the 8-bit value of each value from `low` to `high`."""
    steps = high - low
    return ((np.arange(steps + 1, dtype=np.int64) * 510 + steps) // (2 * steps)).astype(np.uint8)
