"""How do the bytes of a greyscale PNG become pixels: checked before they are trusted, and fast?

Everything that can be wrong with a file is found here: its own checksums are walked first (decoders skip some of
them), and the header is believed only up to a size. Sections named below are those of the PNG specification,
third edition.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from imageio.core.v3_plugin_api import PluginV3
from isal import isal_zlib

MAX_SIDE = 8192
"""Largest width or height that is decoded, in pixels; the atlas's originals are 2048, 3072 or 4096."""

MAX_FILE_BYTES = 2 * MAX_SIDE * MAX_SIDE
"""Largest file that is read: an uncompressed 16-bit image of `MAX_SIDE`, in bytes."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33  # signature, and the chunk IHDR
_IEND = b"\0\0\0\0IEND\xaeB`\x82"
_COLOUR_TYPES = {2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}  # table 11.1

_DAMAGED: Any = isal_zlib.error  # whose type hint takes the class for an instance

Bad = Callable[[str, str], Exception]


def check(data: bytes, bad: Bad) -> None:
    """Checks a PNG file's signature, header and every chunk's checksum, without decoding it.

    Raises:
      Exception: made by `bad(code, detail)`; the codes are those of `stack.CODES`.
    """
    if not data:
        raise bad("empty", "the file has 0 bytes, expected a PNG image")
    if len(data) > MAX_FILE_BYTES:
        raise bad("too_large", f"the file has {len(data):,} bytes, expected at most {MAX_FILE_BYTES:,}")
    if data[:8] != _SIGNATURE[: len(data)]:
        raise bad("unreadable", f"not a PNG image: the file starts with {bytes(data[:8])!r}")
    if len(data) < _HEADER_END:
        raise bad("truncated", f"the file ends at byte {len(data)}, inside the header")
    _check_header(data, bad)
    _check_chunks(data, bad)


def _check_header(data: bytes, bad: Bad) -> None:
    width, height, depth, colour_type, *_ = _header(data)
    if max(width, height) > MAX_SIDE:
        raise bad("too_large", f"the header claims {width}x{height}, expected at most {MAX_SIDE}x{MAX_SIDE}")
    if colour_type != 0:
        found = _COLOUR_TYPES.get(colour_type, f"colour type {colour_type}")
        raise bad("wrong_mode", f"{found} image, expected 8-bit or 16-bit greyscale")
    if depth not in (8, 16):
        raise bad("wrong_mode", f"{depth}-bit greyscale image, expected 8 or 16 bits")


def _check_chunks(data: bytes, bad: Bad) -> None:
    view, position, kind = memoryview(data), len(_SIGNATURE), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise bad("truncated", f"the file ends at byte {len(data)}, before the image does")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise bad("truncated", f"the file ends at byte {len(data)}, inside a chunk that needs {end}")
        if isal_zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise bad("unreadable", f"damaged: the checksum of the chunk at byte {position} does not match")
        position = end


def _header(data: bytes) -> tuple[int, int, int, int, int, int, int]:
    """Returns width, height, bit depth, colour type, compression, filter and interlace methods (11.2.1)."""
    return struct.unpack_from(">IIBBBBB", data, 16)


def shape(data: bytes) -> tuple[int, int]:
    """Returns (height, width) of a checked PNG in pixels, as its header says."""
    width, height, *_ = _header(data)
    return height, width


class Plugin(PluginV3):
    """How imageio reads a checked PNG: unpacked by ISA-L, unfiltered by OpenCV, all in memory.

    Half the time of decoding is unpacking with zlib, which OpenCV and Pillow leave to the library of that name;
    Intel's does it in half of that. imageio's own plugins take a third longer (Pillow) or want a path (OpenCV).
    """

    def read(self, *, index: int = 0) -> np.ndarray:
        """Returns uint8 or uint16 `[height, width]`, as stored (metadata may ask a viewer to turn an image).

        Raises:
          ValueError: the data is damaged.
        """
        import cv2

        data = self.request.get_file().read()
        flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(_unpacked(data), np.uint8), flags)
        if pixels is None:
            raise ValueError("its data cannot be decoded")
        return pixels


def _unpacked(data: bytes) -> bytes | bytearray:
    """Returns a PNG of the same pixels whose data is merely wrapped, not compressed, for the decoder to be quick.

    What is irregular comes back as it is, for the decoder to judge: interlaced or damaged images, those with more
    or less data than their header says, or with chunks that must be understood.
    """
    width, height, depth, _, _, _, interlaced = _header(data)
    expected = height * (1 + width * depth // 8)  # each row begins with the number of its filter (7.2)
    stream = isal_zlib.decompressobj()
    try:
        rows = b"" if interlaced else stream.decompress(b"".join(_image_data(data)), expected + 1)
    except _DAMAGED:
        return data
    if len(rows) != expected or not stream.eof:
        return data
    wrapped = list(_wrapped(rows))
    length = struct.pack(">I", sum(map(len, wrapped)))
    png = bytearray().join((data[:_HEADER_END], length, b"IDAT", *wrapped, bytes(4), _IEND))
    start, end = _HEADER_END + 4, len(png) - len(_IEND) - 4
    struct.pack_into(">I", png, end, isal_zlib.crc32(memoryview(png)[start:end]))
    return png


def _image_data(data: bytes) -> list[memoryview]:
    """Returns the contents of all chunks IDAT; none if another chunk is critical (5.4), but for the first and last."""
    view, position, kind = memoryview(data), _HEADER_END, b""
    found: list[memoryview] = []
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            found.append(view[position + 8 : position + 8 + length])
        elif kind != b"IEND" and kind[:1].isupper():
            return []
        position += 12 + length
    return found


def _wrapped(rows: bytes) -> Iterator[bytes | memoryview]:
    """Yields a zlib stream (RFC 1950) of stored blocks (RFC 1951, section 3.2.4)."""
    view, longest = memoryview(rows), 0xFFFF
    yield b"\x78\x01"
    for start in range(0, len(rows), longest):
        block = view[start : start + longest]
        yield struct.pack("<BHH", start + longest >= len(rows), len(block), len(block) ^ 0xFFFF)
        yield block
    yield struct.pack(">I", isal_zlib.adler32(rows))
