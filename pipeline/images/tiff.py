"""Checked decoding of TIFF files of one or more pages.

A TIFF has no checksum: a changed byte inside uncompressed data changes pixels without an error. Its structure is checked
before any pixel is decoded, because its counts and offsets decide how much memory a decoder takes.
"""

import io
import itertools
import logging
from typing import Any

import numpy as np

from pipeline.images.limits import MAX_SIDE, Bad, BadImage, check_bytes, check_side

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF 6.0, section 2; BigTIFF
_MINISBLACK, _RGB = 1, 2  # PhotometricInterpretation
# Those that unpack into a buffer of the declared size. Image formats inside of a TIFF, such as JPEG, have headers of
# their own, whose claims nobody has checked: one of 64 x 64 pixels took 4 GB.
_COMPRESSIONS = {
    1: "none",
    5: "LZW",
    8: "deflate",
    32946: "deflate",
    32773: "PackBits",
    34925: "LZMA",
    50000: "Zstandard",
}
_MAX_SEGMENTS = MAX_SIDE * 2

# tifffile logs what it repairs; what it cannot read is an error here.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def decode(data: bytes, bad: Bad, planes: int = 1) -> list[np.ndarray]:
    """Returns the planes of a TIFF file, uint8 or uint16 `[height, width]` each.

    They are the pages in order, or the samples of a single page.

    Raises:
      Exception: made by `bad(code, detail)`: the file is not a TIFF of unsigned 8-bit or 16-bit values with so many
        planes, too large, truncated or damaged.
    """
    import tifffile

    check_bytes(data, "TIFF", planes, bad)
    if data[:4] not in _SIGNATURES:
        raise bad("unreadable", f"not a TIFF image: the file starts with {bytes(data[:8])!r}")
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = list(itertools.islice(file.pages, planes + 1))
            _check_pages(pages, planes, len(data), bad)
            return [plane for page in pages for plane in _planes(page)]
    except BadImage:
        raise
    except Exception as error:  # tifffile and the decoders raise whatever a damaged file leads them to
        raise bad("unreadable", f"damaged: {str(error)[:120] or type(error).__name__}") from None


def _check_pages(pages: list[Any], planes: int, num_bytes: int, bad: Bad) -> None:
    for number, page in enumerate(pages):
        _check_page(page, f"page {number}: " if len(pages) > 1 else "", num_bytes, bad)
    found = sum(page.samplesperpixel for page in pages)
    if found != planes:
        count = f"more than {planes}" if len(pages) > planes else str(found)
        raise bad("wrong_mode", f"{count} planes in {len(pages)} pages, expected {planes}")


def _check_page(page: Any, where: str, num_bytes: int, bad: Bad) -> None:
    check_side(page.imagewidth, page.imagelength, bad)
    if page.dtype not in (np.dtype("uint8"), np.dtype("uint16")):
        raise bad("wrong_mode", f"{where}values are {page.dtype}, expected 8 or 16 bits without a sign")
    if page.photometric not in (_MINISBLACK, _RGB):
        raise bad("wrong_mode", f"{where}photometric {page.photometric}, expected MINISBLACK or RGB")
    if page.compression not in _COMPRESSIONS:
        expected = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise bad("wrong_mode", f"{where}compression {page.compression}, expected one of: {expected}")
    if page.imagedepth != 1 or page.samplesperpixel > 64:
        raise bad(
            "wrong_mode", f"{where}{page.imagedepth} slices of {page.samplesperpixel} samples, expected one slice"
        )
    starts, lengths = page.dataoffsets, page.databytecounts
    if not 0 < len(starts) == len(lengths) <= _MAX_SEGMENTS:
        raise bad("unreadable", f"{where}damaged: {len(starts)} strips or tiles of {len(lengths)} sizes")
    for start, length in zip(starts, lengths, strict=True):
        if start <= 0 or length <= 0 or start + length > num_bytes:
            raise bad(
                "truncated", f"{where}bytes {start} to {start + length} hold pixels, but the file has {num_bytes}"
            )


def _planes(page: Any) -> list[np.ndarray]:
    """Returns the samples of a page, which TIFF stores pixel by pixel or plane by plane."""
    pixels = page.asarray()
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    if samples == 1:
        return [np.ascontiguousarray(pixels.reshape(height, width))]
    if page.planarconfig == 1:
        by_plane = pixels.reshape(height, width, samples).transpose(2, 0, 1)
    else:
        by_plane = pixels.reshape(samples, height, width)
    return [np.ascontiguousarray(plane) for plane in by_plane]
