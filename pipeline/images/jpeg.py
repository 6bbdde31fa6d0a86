"""Checked decoding of JPEG files by libjpeg-turbo.

A JPEG has no checksum: a changed byte inside its data can change pixels without an error. What the decoder does notice,
such as a file that ends early, is an error here; most decoders only warn.
"""

import struct

import numpy as np
import simplejpeg

from pipeline.images.limits import Bad, check_bytes, check_side

_COLOURS = {"Gray": 1, "YCbCr": 3, "RGB": 3}
_STARTS_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # ITU T.81, table B.1

_MAX_SCANS = 100
"""A progressive image has about ten. Each takes time for all pixels, and as few as 16 bytes of the file."""


def decode(data: bytes, bad: Bad, planes: int = 1) -> list[np.ndarray]:
    """Returns the planes of a JPEG file, uint8 `[height, width]` each: one of a grey image, or red, green and blue.

    Raises:
      Exception: made by `bad(code, detail)`: the file is not a JPEG of 8 bits with that many planes, too large,
        truncated or damaged.
    """
    check_bytes(data, "JPEG", planes, bad)
    if data[:3] != b"\xff\xd8\xff"[: len(data)]:
        raise bad("unreadable", f"not a JPEG image: the file starts with {bytes(data[:8])!r}")
    _check_frame(data, bad)
    # Inside compressed data, a byte 255 is followed by 0 or by a restart marker.
    if (scans := data.count(b"\xff\xda")) > _MAX_SCANS:
        raise bad("unreadable", f"{scans} scans, expected at most {_MAX_SCANS}")
    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(data)
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if planes == 1 else "RGB", strict=True)
    except ValueError as error:
        raise bad("truncated" if "Premature" in str(error) else "unreadable", f"damaged: {error}") from None
    if _COLOURS.get(colours) != planes:
        expected = "greyscale" if planes == 1 else f"{planes} planes"
        raise bad("wrong_mode", f"{colours} JPEG, expected {expected}")
    return [np.ascontiguousarray(pixels[..., plane]) for plane in range(planes)]


def _check_frame(data: bytes, bad: Bad) -> None:
    """Checks the first frame header before anything is allocated for it."""
    position = 2
    while position + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, position)
        if marker & 0xFF00 != 0xFF00 or marker == 0xFFDA:
            break
        if marker == 0xFFFF:
            position += 1  # padding
            continue
        if marker & 0xFF in _STARTS_OF_FRAME and position + 9 <= len(data):
            bits, height, width = struct.unpack_from(">BHH", data, position + 4)
            if bits != 8:
                raise bad("wrong_mode", f"{bits}-bit JPEG, expected 8 bits")
            check_side(width, height, bad)
            return
        position += 2 + length
    raise bad("unreadable", "damaged: no frame header in the JPEG")
