"""Checked decoding of PNG files of one to four planes.

The signature, the header and the checksum of every chunk are checked before a file is decoded, and the decoder
gets only the image itself: no metadata, no animation. Section numbers below refer to the PNG specification, third
edition.
"""

import logging
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import imagecodecs
import imageio.v3 as iio
import numpy as np
from imageio.core.v3_plugin_api import PluginV3

from pipeline.images.limits import Bad, check_bytes, check_side

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_START = b"\0\0\0\rIHDR"  # length and type of the first chunk (11.2.1)
_HEADER_END = 33  # signature and IHDR
_IEND = b"\0\0\0\0IEND\xaeB`\x82"
_crc32: Any = imagecodecs.deflate_crc32  # seven times as fast as zlib's; its type hint leaves out memoryview
_LAST_READ = 4096  # bytes; libpng reads up to 8192 of a chunk at once
_BEYOND = 1 << 20  # bytes that the image data may hold beyond twice the size of the image
_UNDECODABLE = "damaged: the image data cannot be decoded"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}  # table 11.1
_PLANES = {0: 1, 2: 3, 4: 2, 6: 4}

# libpng warns about interlaced images and about bytes after the image data, and decodes both correctly.
logging.getLogger("imagecodecs").addFilter(lambda record: record.msg != "PNG warning: %s")


def decode(data: bytes, bad: Bad, planes: int = 1) -> list[np.ndarray]:
    """Returns the planes of a PNG file: uint8 or uint16 `[height, width]` each, as stored.

    One plane is greyscale, two are grey with alpha, three RGB and four RGBA; alpha is a plane like any other. Metadata
    is ignored: orientation, gamma, transparency. An animated PNG gives its default image.

    Raises:
      Exception: made by `bad(code, detail)`: the file is not a PNG of 8 or 16 bits with that many planes, too large,
        truncated or damaged.
    """
    stream = _stored(data, check(data, bad, planes), bad)
    try:
        with iio.imopen(_image_only(data, stream), "r", plugin=Plugin) as file:
            pixels = file.read()
    except (imagecodecs.PngError, ValueError):
        # The error itself is not shown: imagecodecs reads its text from memory that libpng has already freed.
        raise bad("unreadable", _UNDECODABLE) from None
    width, height, depth, *_ = _header(data)
    expected = (height, width) if planes == 1 else (height, width, planes)
    if pixels.shape != expected or pixels.itemsize != depth // 8:
        found = f"{pixels.dtype} {pixels.shape}"
        raise bad("unreadable", f"decoded to {found}, expected {depth} bits and {expected} as the header says")
    return [pixels] if planes == 1 else [np.ascontiguousarray(pixels[..., plane]) for plane in range(planes)]


class Plugin(PluginV3):
    """Decodes a PNG in memory with libpng, by way of imagecodecs.

    imageio's own plugins decode with Pillow, which is slower, or with OpenCV, which crashes on crafted animations.
    This one raises `imagecodecs.PngError` and releases the GIL.
    """

    def read(self, *, index: int = 0) -> np.ndarray:
        return imagecodecs.png_decode(self.request.get_file().read())


def check(data: bytes, bad: Bad, planes: int = 1) -> bytes:
    """Checks the signature, the header and the checksum of every chunk of a PNG file.

    Returns the image data: a zlib stream, not yet checked.

    Raises:
      Exception: made by `bad(code, detail)`.
    """
    check_bytes(data, "PNG", planes, bad)
    if data[:8] != _SIGNATURE[: len(data)]:
        raise bad("unreadable", f"not a PNG image: the file starts with {bytes(data[:8])!r}")
    if len(data) < _HEADER_END:
        raise bad("truncated", f"the file ends at byte {len(data)}, inside the header")
    _check_header(data, bad, planes)
    return b"".join(body for kind, body in _checked_chunks(data, bad) if kind == b"IDAT")


def _stored(data: bytes, stream: bytes, bad: Bad) -> bytes | bytearray:
    """Returns the image data stored without compression, so that libpng only has to undo the row filters.

    libdeflate inflates about twice as fast as the zlib that libpng calls, which saves more than the copies cost.
    """
    width, height, depth, colour_type, *_ = _header(data)
    # Each row starts with a byte (7.3); interlaced, there are more rows.
    limit = height * (width * depth * _PLANES[colour_type] // 8 + 2) + 8
    try:
        return imagecodecs.deflate_encode(imagecodecs.deflate_decode(stream, out=limit), level=0)
    except imagecodecs.DeflateError:
        # Damaged, or longer than the image, as in some files: libpng then has all pixels before it reaches the
        # checksum, and does not check it.
        if not _is_whole(stream, 2 * limit + _BEYOND):
            raise bad("unreadable", _UNDECODABLE) from None
        return stream


def _is_whole(stream: bytes, limit: int) -> bool:
    """Returns whether a zlib stream has an end, a correct checksum, and at most `limit` bytes of content."""
    unpacker, num_bytes, rest = zlib.decompressobj(), 0, stream
    try:
        while not unpacker.eof and num_bytes <= limit:
            block = unpacker.decompress(rest, _BEYOND)
            rest = unpacker.unconsumed_tail
            if not block and not rest:
                break
            num_bytes += len(block)
    except zlib.error:
        return False
    return unpacker.eof and num_bytes <= limit


def _image_only(data: bytes, stream: bytes | bytearray) -> bytes:
    """Returns a PNG with the header of `data`, the image data and nothing else.

    Metadata, transparency and animation are left out: libpng would act on them, and with the APNG patch, which
    imagecodecs and OpenCV include, it parses the frames.
    """
    # libpng refuses a wrong Adler-32 at the end of the stream only if it is read together with the last pixels;
    # otherwise it warns. A short last chunk is read at once.
    view, cut = memoryview(stream), max(len(stream) - _LAST_READ, 0)
    return b"".join((data[:_HEADER_END], *_idat(view[:cut]), *_idat(view[cut:]), _IEND))


def _idat(body: memoryview) -> tuple[bytes, memoryview, bytes]:
    crc = _crc32(body, _crc32(b"IDAT"))
    return struct.pack(">I4s", len(body), b"IDAT"), body, struct.pack(">I", crc)


def _check_header(data: bytes, bad: Bad, planes: int) -> None:
    if data[8:16] != _HEADER_START:
        raise bad("unreadable", f"damaged: the first chunk starts with {data[8:16]!r}, expected {_HEADER_START!r}")
    width, height, depth, colour_type, *_ = _header(data)
    check_side(width, height, bad)
    if _PLANES.get(colour_type) != planes:
        found = _COLOUR_TYPES.get(colour_type, f"colour type {colour_type}")
        expected = "greyscale" if planes == 1 else f"with {planes} planes"
        raise bad("wrong_mode", f"{found} image, expected 8-bit or 16-bit {expected}")
    if depth not in (8, 16):
        raise bad("wrong_mode", f"{depth}-bit {_COLOUR_TYPES[colour_type]} image, expected 8 or 16 bits")


def _header(data: bytes) -> tuple[int, int, int, int, int, int, int]:
    """Returns width, height, bit depth, colour type, compression, filter and interlace methods (11.2.1)."""
    return struct.unpack_from(">IIBBBBB", data, 16)


def _checked_chunks(data: bytes, bad: Bad) -> Iterator[tuple[bytes, memoryview]]:
    """Yields (type, content) of every chunk up to and including IEND."""
    view, position, kind = memoryview(data), len(_SIGNATURE), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise bad("truncated", f"the file ends at byte {len(data)}, before the image does")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise bad("truncated", f"the file ends at byte {len(data)}, inside a chunk that needs {end}")
        if _crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise bad("unreadable", f"damaged: the checksum of the chunk at byte {position} does not match")
        if not _is_known(kind, position):
            raise bad("unreadable", f"unexpected critical chunk {kind!r} at byte {position}")
        yield kind, view[position + 8 : end - 4]
        position = end


def _is_known(kind: bytes, position: int) -> bool:
    """Returns whether a chunk may be there: a decoder must not skip critical chunks that it does not know (5.4)."""
    if kind == b"IHDR":
        return position == len(_SIGNATURE)
    return not kind[:1].isupper() or kind in (b"PLTE", b"IDAT", b"IEND")
