"""Checks, resizes and stacks the files of an example into one image."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import StorageError
from pipeline.images import depth, formats, limits, reading
from pipeline.images.limits import MAX_SIDE, BadImage, Unusable
from pipeline.images.resize import resize
from pipeline.images.sources import Images
from pipeline.schema import Channel, Schema
from pipeline.schema.declared import Source


class BadExample(ValueError):
    """An example that cannot be used; `images` are its bad images."""

    def __init__(self, images: Sequence[BadImage]):
        super().__init__(images)
        self.images = tuple(images)


CODES = {
    "missing_filter": "there is no file for this channel",
    "empty": "the file has no bytes",
    "unreadable": "the file cannot be read, is not an image of the expected format, or is damaged",
    "truncated": "the file ends before the image does",
    "wrong_mode": "the image has other planes or another bit depth than the schema says",
    "wrong_size": "the image is not square, not of the size of the other channels, or smaller than the output",
    "out_of_range": "a pixel has a larger value than the depth in the schema allows",
    "too_large": f"the image has more than {MAX_SIDE} pixels a side, or the file is too large for such an image",
    "decoder_crash": "decoding it ends the process, or takes longer than any image of its size can",
}

DIM = 8
"""An image is dim if no pixel reaches the full range divided by this: 12-bit values in a 16-bit file, for example.

With depth `percentile` the full range is the one that the schema declares for the channel.
"""


@dataclasses.dataclass(frozen=True)
class Stacked:
    """`image` is uint8 or uint16 `[size, size, channels]`; `moments` is what `moments()` returns.

    `num_16bit` counts channels scaled from 16 to 8 bits, `dim` says of each channel whether it is dim (see `DIM`).
    """

    image: np.ndarray
    moments: np.ndarray
    num_16bit: int
    dim: tuple[bool, ...]


def stack_example(images: Images, names: Sequence[str], schema: Schema, size: int) -> Stacked:
    """Reads, checks, resizes and stacks the channels of one example.

    Args:
      images: where the files are.
      names: of the example's files, in the order of `schema.sources()`.
      schema: what the files hold.
      size: pixels a side of the result.

    Raises:
      BadExample: naming every bad file or channel.
      StorageError: a file could not be read, which says nothing about the image.
    """
    channels = read_channels(images, names, schema)
    if bad := list(_mismatches(schema, channels, size)):
        raise BadExample(bad)
    dim = tuple(is_dim(image, schema, channel) for image, channel in zip(channels, schema.channels, strict=True))
    converted = _convert(schema, channels)
    num_16bit = sum(before.itemsize > after.itemsize for before, after in zip(channels, converted, strict=True))
    resized = [resize(image, size) for image in converted]
    return Stacked(stack(resized), moments(resized), num_16bit, dim)


def is_dim(image: np.ndarray, schema: Schema, channel: Channel) -> bool:
    """Returns whether all pixels of a channel are in the lowest eighth of their range (see `DIM`)."""
    low, high = 0, depth.full_range(image, schema.depth)
    if schema.depth == "percentile" and channel.range is not None:
        low, high = channel.range
    return int(image.max()) < low + (high - low) // DIM


def read_channels(images: Images, names: Sequence[str], schema: Schema) -> list[np.ndarray]:
    """Returns the channels of one example as stored: uint8 or uint16 `[height, width]` each.

    Raises:
      BadExample: naming every bad file.
      StorageError: a file could not be read.
    """
    channels: dict[int, np.ndarray] = {}
    bad: list[BadImage] = []
    images = images.together(names, max_bytes(schema))
    for name, source in zip(names, schema.default_sources, strict=True):
        try:
            channels |= read_file(images, name, source, schema)
        except BadImage as error:
            bad.append(error)
    if bad:
        raise BadExample(bad)
    return [channels[index] for index in range(schema.num_channels)]


def max_bytes(schema: Schema) -> int:
    """Returns the size of the largest file of an example that is read, in bytes."""
    return limits.max_bytes(max(schema.num_planes(source) for source in schema.default_sources))


def read_file(images: Images, name: str, source: Source, schema: Schema) -> dict[int, np.ndarray]:
    """Returns the channels of one file by their index in the schema, uint8 or uint16 `[height, width]` each.

    Raises:
      BadImage: the file is missing or cannot be used.
      StorageError: it could not be read, or there is too little memory; that says nothing about the image.
    """
    bad = functools.partial(BadImage, "+".join(schema.channels[index].name for index in source.channels))
    num_planes = schema.num_planes(source)
    try:
        data = reading.read(images, name, limits.max_bytes(num_planes))
        planes = formats.decode(name, data, bad, num_planes)
    except FileNotFoundError:
        raise bad("missing_filter", f"no file {name}") from None
    except Unusable as error:
        raise bad(error.code, f"{name}: {error.detail}") from None
    except MemoryError:
        raise StorageError(f"{name}: out of memory while it was decoded; try again with fewer --threads") from None
    if len({(plane.shape, plane.dtype) for plane in planes}) > 1:
        found = ", ".join(f"{plane.shape[1]}x{plane.shape[0]} {plane.dtype}" for plane in planes[:4])
        raise bad("wrong_size", f"planes of different size or depth: {found}")
    chosen = {index: schema.channels[index].planes or (0,) for index in source.channels}
    return {index: depth.mean_of([planes[plane] for plane in which]) for index, which in chosen.items()}


def _convert(schema: Schema, channels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the channels with the dataset's values; raises `BadExample` for values that are not of its depth."""
    converted, bad = [], []
    for channel, image in zip(schema.channels, channels, strict=True):
        try:
            converted.append(depth.convert(image, schema.depth, channel, functools.partial(BadImage, channel.name)))
        except BadImage as error:
            bad.append(error)
    if bad:
        raise BadExample(bad)
    return converted


def stack(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Returns `[size, size, channels]` from images `[size, size]` of one type."""
    import cv2

    # OpenCV leaves out the last axis of a single channel.
    return cv2.merge(list(channels)).reshape(*channels[0].shape, len(channels))


def moments(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Returns int64 `[2, channels]`: the exact sum of the pixels of each image, and of their squares."""
    import cv2

    out = np.empty((2, len(channels)), np.int64)
    for k, channel in enumerate(channels):
        if channel.dtype == np.uint16:
            out[:, k] = channel.sum(dtype=np.int64), np.square(channel, dtype=np.int64).sum()
            continue
        # Integers throughout; `sumElems` is exact at these sizes. A dot product would run in BLAS, whose threads
        # compete with ours, and OpenCV's `norm` adds in single precision for small images.
        squares = np.multiply(channel, channel, dtype=np.uint16)
        out[:, k] = cv2.sumElems(channel)[0], cv2.sumElems(squares)[0]
    return out


def _mismatches(schema: Schema, channels: Sequence[np.ndarray], size: int) -> Iterator[BadImage]:
    expected = channels[0].shape
    for name, channel in zip(schema.channel_names, channels, strict=True):
        height, width = channel.shape
        if channel.shape != expected:
            like = f"{expected[1]}x{expected[0]} like '{schema.channel_names[0]}'"
            yield BadImage(name, "wrong_size", f"{width}x{height}, expected {like}")
        elif height != width:
            yield BadImage(name, "wrong_size", f"{width}x{height}, expected a square image")
        elif height < size:
            yield BadImage(name, "wrong_size", f"{width}x{height}, expected at least {size}x{size}")
