"""Checked decoding of TIFF files of one or more pages.

A TIFF has no checksum: a changed byte inside uncompressed data changes pixels without an error. Its structure is
checked before any pixel is decoded, because its counts and offsets decide how much memory a decoder takes.
"""

import io
import itertools
import logging
import struct
from typing import Any

import numpy as np

from pipeline.images.limits import Bad, BadImage, check_bytes, check_side

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF 6.0, section 2; BigTIFF
_MINISBLACK, _RGB = 1, 2  # PhotometricInterpretation
_COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 50000: "Zstandard"}
"""Compressions whose decoders stop at the size in the header; others take the size from the data."""
_STRUCTURE = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339}
"""Tags that decide the pixels, by their codes."""
_STRIPS, _TILES = {273, 278, 279}, {322, 323, 324, 325}
_WHOLE = (3, 4, 16)  # types of whole numbers: SHORT, LONG and LONG8

# tifffile logs what it repairs; what it cannot read is an error here.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def decode(data: bytes, bad: Bad, planes: int = 1) -> list[np.ndarray]:
    """Returns the planes of a TIFF file, uint8 or uint16 `[height, width]` each.

    They are the pages in order, or the samples of a single page.

    Raises:
      Exception: made by `bad(code, detail)`: the file is not a TIFF of unsigned 8-bit or 16-bit values with that many
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
    except Exception as error:  # tifffile and the decoders raise all kinds of errors for damaged files
        raise bad("unreadable", f"damaged: {str(error)[:120] or type(error).__name__}") from None


def _check_pages(pages: list[Any], planes: int, num_bytes: int, bad: Bad) -> None:
    for number, page in enumerate(pages):
        _check_page(page, f"page {number}: " if len(pages) > 1 else "", num_bytes, bad)
    found = sum(page.samplesperpixel for page in pages)
    if found != planes:
        count = f"more than {planes}" if len(pages) > planes else str(found)
        raise bad("wrong_mode", f"{count} planes in {len(pages)} pages, expected {planes}")


def _check_page(page: Any, where: str, num_bytes: int, bad: Bad) -> None:
    _check_tags(page, where, bad)
    check_side(page.imagewidth, page.imagelength, bad)
    if page.dtype not in (np.dtype("uint8"), np.dtype("uint16")):
        raise bad("wrong_mode", f"{where}values are {page.dtype}, expected 8 or 16 bits without a sign")
    if page.bitspersample != 8 * page.dtype.itemsize:
        raise bad("wrong_mode", f"{where}values of {page.bitspersample} bits, expected 8 or 16 without a sign")
    if page.photometric not in (_MINISBLACK, _RGB):
        raise bad("wrong_mode", f"{where}photometric {page.photometric}, expected MINISBLACK or RGB")
    bits = page.tags.get(258)
    if (bits and bits.count not in (1, page.samplesperpixel)) or (
        page.photometric == _RGB and page.samplesperpixel < 3
    ):
        raise bad(
            "unreadable", f"{where}damaged: samples of {bits and bits.count} sizes, expected {page.samplesperpixel}"
        )
    if page.samplesperpixel > 1 and page.planarconfig not in (1, 2):
        raise bad("unreadable", f"{where}damaged: planar configuration {int(page.planarconfig)}, expected 1 or 2")
    if page.imagedepth != 1 or page.samplesperpixel > 64:
        raise bad(
            "wrong_mode", f"{where}{page.imagedepth} slices of {page.samplesperpixel} samples, expected one slice"
        )
    if page.compression not in _COMPRESSIONS:
        expected = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise bad("wrong_mode", f"{where}compression {int(page.compression)}, expected one of {expected}")
    _check_segments(page, where, num_bytes, bad)


def _check_tags(page: Any, where: str, bad: Bad) -> None:
    """Checks that no tag that decides the pixels is repeated or skipped: tifffile skips tags that it cannot read."""
    form, file = page.parent.tiff, page.parent.filehandle
    file.seek(page.offset)
    (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    entries = file.read(count * form.tagsize)
    stored = [struct.unpack_from(form.byteorder + "H", entries, at)[0] for at in range(0, len(entries), form.tagsize)]
    stored = [code for code in stored if code in _STRUCTURE]
    read = [tag.code for tag in page.tags if tag.code in _STRUCTURE and tag.dtype in _WHOLE]
    if sorted(stored) != sorted(read) or len(set(stored)) < len(stored):
        codes = sorted({code for code in stored if stored.count(code) > 1 or code not in read})
        raise bad("unreadable", f"{where}damaged: tags {codes} cannot be read, or are there twice")
    if _STRIPS.intersection(stored) and _TILES.intersection(stored):
        raise bad("unreadable", f"{where}damaged: it has both strips and tiles")


def _check_segments(page: Any, where: str, num_bytes: int, bad: Bad) -> None:
    """Checks that all strips or tiles exist, and that they are inside the file; missing ones would be black."""
    if page.is_tiled:
        check_side(page.tilewidth, page.tilelength, bad)
        expected = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    else:
        expected = -(-page.imagelength // max(page.rowsperstrip, 1))
    expected *= page.samplesperpixel if page.planarconfig == 2 else 1
    starts, lengths = page.dataoffsets, page.databytecounts
    if not len(starts) == len(lengths) == expected:
        found = f"{len(starts)} strips or tiles of {len(lengths)} sizes"
        raise bad("unreadable", f"{where}damaged: {found}, expected {expected}")
    for start, length in zip(starts, lengths, strict=True):
        if start <= 0 or length <= 0 or start + length > num_bytes:
            raise bad(
                "truncated", f"{where}bytes {start} to {start + length} hold pixels, but the file has {num_bytes}"
            )
    whole = expected * page.tilewidth * page.tilelength * page.dtype.itemsize if page.is_tiled else page.nbytes
    whole *= page.samplesperpixel if page.is_tiled and page.planarconfig == 1 else 1
    if page.compression == 1 and sum(lengths) != whole:
        raise bad("unreadable", f"{where}damaged: {sum(lengths)} bytes of pixels, but the header claims {whole}")


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
