"""A strict decoder of PNG files, short and slow: what the specification says, and nothing beyond it.

Sections named below are those of the PNG specification, third edition.
"""

import itertools
import struct
import zlib
from collections.abc import Iterator

import numpy as np

PLANES = {0: 1, 2: 3, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of the passes of an interlaced image (8.1)."""


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields (type, content) of all chunks, IEND included; raises `ValueError` for damage."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("signature")
    position = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        (crc,) = struct.unpack_from(">I", data, position + 8 + length)
        if zlib.crc32(kind + body) != crc:
            raise ValueError("checksum of a chunk")
        yield kind, body
        if kind == b"IEND":
            return
        position += 12 + length


def decode(data: bytes) -> np.ndarray:
    """Returns the image, uint8 or uint16 `[height, width, planes]`; raises `ValueError` for damage."""
    try:
        found = list(chunks(data))
        kind, header = found[0]
        width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", header)
    except struct.error as error:
        raise ValueError(str(error)) from None
    if kind != b"IHDR" or depth not in (8, 16) or colour not in PLANES or compression or filters or interlace > 1:
        raise ValueError("header")
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(b"".join(body for kind, body in found if kind == b"IDAT"))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError("the image data has no end")
    return _image(content, width, height, PLANES[colour], depth // 8, bool(interlace))


def _image(content: bytes, width: int, height: int, planes: int, depth: int, interlaced: bool) -> np.ndarray:
    image, position = np.zeros((height, width, planes), f">u{depth}"), 0
    for left, top, across, down in _PASSES if interlaced else [(0, 0, 1, 1)]:
        columns, rows = len(range(left, width, across)), len(range(top, height, down))
        if columns and rows:
            size = columns * planes * depth
            lines, position = _unfiltered(content, position, rows, size, planes * depth)
            image[top::down, left::across] = lines.view(f">u{depth}").reshape(rows, columns, planes)
    return image.astype(f"u{depth}")


def _unfiltered(content: bytes, position: int, rows: int, size: int, step: int) -> tuple[np.ndarray, int]:
    """Undoes the filters of rows of `size` bytes (9.2); returns uint8 `[rows, size]` and where the next one starts."""
    if len(content) < position + rows * (size + 1):
        raise ValueError("fewer pixels than the header says")
    lines, above = [], bytes(size)
    for _ in range(rows):
        kind, line = content[position], bytearray(content[position + 1 : position + 1 + size])
        if kind > 4:
            raise ValueError("filter type")
        for k in range(size if kind else 0):
            a, b, c = line[k - step] if k >= step else 0, above[k], above[k - step] if k >= step else 0
            line[k] = (line[k] + _predicted(kind, a, b, c)) & 0xFF
        lines.append(bytes(line))
        above, position = bytes(line), position + 1 + size
    return np.frombuffer(b"".join(lines), np.uint8).reshape(rows, size), position


def _predicted(kind: int, a: int, b: int, c: int) -> int:
    if kind == 4:
        estimate = a + b - c
        return min((abs(estimate - value), order, value) for order, value in enumerate((a, b, c)))[2]
    return (0, a, b, (a + b) // 2)[kind]


def adam7(image: np.ndarray) -> list[np.ndarray]:
    """Returns the pixels of each pass of an interlaced image that has any."""
    passes = [image[top::down, left::across] for left, top, across, down in _PASSES]
    return [pixels for pixels in passes if pixels.size]


def pairs(count: int) -> list[tuple[int, int]]:
    """Returns consecutive pairs of cuts of a length into up to three parts."""
    return list(itertools.pairwise([0, count // 3, 2 * count // 3, count]))
