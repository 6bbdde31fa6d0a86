"""Four greyscale filter images, checked, resized and stacked into one image."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.images import png
from pipeline.images.resize import resize
from pipeline.images.sources import Images
from pipeline.schema import FILTERS


class BadImage(ValueError):
    """An image that cannot be used. `code` is one of `CODES`."""

    def __init__(self, filter_name: str, code: str, detail: str):
        super().__init__(filter_name, code, detail)
        self.filter, self.code, self.detail = filter_name, code, detail


class BadExample(ValueError):
    """An example that cannot be used; `images` are its bad images."""

    def __init__(self, images: Sequence[BadImage]):
        super().__init__(images)
        self.images = tuple(images)


CODES = {
    "missing_filter": "there is no file for this filter",
    "empty": "the file has no bytes",
    "unreadable": "the file cannot be read, is not a PNG image, or is damaged",
    "truncated": "the file ends before the image does",
    "wrong_mode": "the image is not 8-bit or 16-bit greyscale",
    "wrong_size": "the image is not square, not of the size of the other filters, or smaller than the output",
    "too_large": f"the image has more than {png.MAX_SIDE} pixels a side, or the file is too large for such an image",
}


@dataclasses.dataclass(frozen=True)
class Stacked:
    """`image` is uint8 `[size, size, 4]`, channels in `FILTERS` order; `moments` is what the function returns."""

    image: np.ndarray
    moments: np.ndarray
    num_16bit: int  # filters that were scaled down from 16 bits


def stack_example(images: Images, example_id: str, size: int) -> Stacked:
    """Reads, checks, resizes and stacks the four filters of one example.

    Raises:
      BadExample: naming every bad filter.
    """
    channels, bad = [], []
    images = images.together([f"{example_id}_{name}.png" for name in FILTERS])
    for name in FILTERS:
        try:
            channels.append(read_filter(images, example_id, name))
        except BadImage as error:
            bad.append(error)
    if not bad:
        bad = list(_mismatches(channels, size))
    if bad:
        raise BadExample(bad)
    num_16bit = sum(channel.dtype == np.uint16 for channel in channels)
    resized = [resize(to_8bit(channel), size) for channel in channels]
    return Stacked(stack(resized), moments(resized), num_16bit)


def stack(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Returns uint8 `[size, size, 4]` from four uint8 `[size, size]` in `FILTERS` order."""
    import cv2

    return cv2.merge(list(channels))


def moments(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Returns int64 `[2, channels]`: the exact sum of the pixels of each uint8 image, and of their squares."""
    import cv2

    out = np.empty((2, len(channels)), np.int64)
    for k, channel in enumerate(channels):
        # Integers throughout; `sumElems` is exact at these sizes. A dot product would run in BLAS, whose threads
        # compete with ours, and OpenCV's `norm` adds in single precision for small images.
        squares = np.multiply(channel, channel, dtype=np.uint16)
        out[:, k] = cv2.sumElems(channel)[0], cv2.sumElems(squares)[0]
    return out


def read_filter(images: Images, example_id: str, filter_name: str) -> np.ndarray:
    """Returns one filter image, uint8 or uint16 `[height, width]`.

    Raises:
      BadImage: the file is missing, cannot be read or cannot be used.
    """
    bad = functools.partial(BadImage, filter_name)
    name = f"{example_id}_{filter_name}.png"
    try:
        data = images.read(name)
    except FileNotFoundError:
        raise bad("missing_filter", f"no file {name}") from None
    except OSError as error:
        raise bad("unreadable", f"{name}: {error.strerror or error}") from None
    return png.decode(data, bad)


def _mismatches(channels: Sequence[np.ndarray], size: int) -> Iterator[BadImage]:
    expected = channels[0].shape
    for name, channel in zip(FILTERS, channels, strict=True):
        height, width = channel.shape
        if channel.shape != expected:
            like = f"{expected[1]}x{expected[0]} like '{FILTERS[0]}'"
            yield BadImage(name, "wrong_size", f"{width}x{height}, expected {like}")
        elif height != width:
            yield BadImage(name, "wrong_size", f"{width}x{height}, expected a square image")
        elif height < size:
            yield BadImage(name, "wrong_size", f"{width}x{height}, expected at least {size}x{size}")


def to_8bit(image: np.ndarray) -> np.ndarray:
    """Returns uint8 `[H, W]`; 16-bit values 0..65535 are divided by 257 and rounded to nearest (no ties)."""
    if image.dtype == np.uint8:
        return image
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
