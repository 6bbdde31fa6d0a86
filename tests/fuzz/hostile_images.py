"""Hostile image files: each is what `red` of a source of one example holds."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from tests.fuzz.png_files import Chunks, to_file

SIDE = 32
NOISE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)

Make = Callable[[Path], None]
"""Writes the image to a path without an ending; may choose its own."""


def images() -> Iterator[tuple[str, str, Make]]:
    """Yields what an image is, its ending, and what writes it."""
    for title, data in (*_pngs(), *_animations(), *_bombs()):
        yield f"PNG: {title}", ".png", _bytes(data)
    for title, data in _jpegs():
        yield f"JPEG: {title}", ".jpg", _bytes(data)
    for title, data in _tiffs():
        yield f"TIFF: {title}", ".tif", _bytes(data)
    yield "a sparse file of 4 GB", ".png", lambda path: os.truncate(_touched(path), 4 << 30)
    yield "a named pipe, which blocks on opening", ".png", os.mkfifo
    yield "a link to a device that never ends", ".png", lambda path: path.symlink_to("/dev/zero")
    yield "a link to nothing", ".png", lambda path: path.symlink_to("/nowhere")
    yield "a folder with the name of an image", ".png", lambda path: path.mkdir()


def _bytes(data: bytes) -> Make:
    return lambda path: path.write_bytes(data) and None


def _touched(path: Path) -> Path:
    path.touch()
    return path


def png_chunks(header: bytes | None = None, pixels: np.ndarray = NOISE) -> Chunks:
    """Returns the chunks of a greyscale PNG of 8 bits, with another header if given."""
    height, width = pixels.shape
    header = header or struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]


def _header(width: int = SIDE, height: int = SIDE, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)


def _pngs() -> Iterator[tuple[str, bytes]]:
    intact, parts = to_file(png_chunks()), png_chunks()
    stream = parts[1][1]
    yield "no bytes", b""
    yield "text", b"not an image\n"
    yield "cut inside the header", intact[:20]
    yield "cut inside the pixels", intact[:500]
    yield "without its end", intact[:-12]
    yield "a flipped byte", intact[:300] + bytes([intact[300] ^ 1]) + intact[301:]
    damaged = bytes([*stream[:200], stream[200] ^ 1, *stream[201:]])
    yield (
        "a flipped byte inside the data, with the right checksum of its chunk",
        to_file([parts[0], (b"IDAT", damaged), parts[2]]),
    )
    yield (
        "the checksum at the end of its data is wrong",
        to_file([parts[0], (b"IDAT", stream[:-4] + b"\0\0\0\0"), parts[2]]),
    )
    yield "data for half of the rows", to_file([parts[0], png_chunks(pixels=NOISE[:16])[1], parts[2]])
    yield "claims 65,500 x 65,500 pixels", to_file(png_chunks(_header(65500, 65500)))
    yield "claims no pixels", to_file(png_chunks(_header(0, 0)))
    yield "claims 8192 x 8192 pixels and has 1,024", to_file(png_chunks(_header(8192, 8192)))
    yield "of 2 bits", to_file(png_chunks(_header(depth=2)))
    yield "with a palette", to_file(png_chunks(_header(colour=3)))
    yield "with four channels where one is expected", to_file(png_chunks(_header(colour=6)))
    yield "an unknown critical chunk", to_file([parts[0], (b"EVIL", b""), *parts[1:]])
    yield "two headers", to_file([parts[0], *parts])
    yield "no pixels at all", to_file([parts[0], parts[2]])
    yield "a chunk that claims 2 GB", intact[:33] + struct.pack(">I4s", 0x7FFFFFFF, b"IDAT") + intact[41:]


def _animations() -> Iterator[tuple[str, bytes]]:
    parts = png_chunks()
    control = (b"acTL", struct.pack(">II", 0xFFFFFFFF, 0))
    frame = (b"fcTL", struct.pack(">IIIIIHHBB", 0, 65535, 65535, 9, 9, 0, 0, 2, 1))
    yield (
        "an animation whose frames lie outside of the image",
        to_file([parts[0], control, frame, parts[1], (b"fdAT", b"\0\0\0\1x"), parts[2]]),
    )
    yield "an animation with two bytes of pixels", to_file([parts[0], control, (b"IDAT", b"\x78\x9c"), parts[2]])
    even = np.zeros((SIDE, SIDE), np.uint8)
    small = [(b"IHDR", _header(interlace=1)), (b"IDAT", zlib.compress(bytes(SIDE * SIDE + 60))), (b"IEND", b"")]
    assert even.size < len(zlib.decompress(small[1][1]))
    yield "an interlaced animation", to_file([small[0], control, *small[1:]])


def _bombs() -> Iterator[tuple[str, bytes]]:
    parts = png_chunks()
    packer = zlib.compressobj(9)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(256)), packer.flush()])
    yield "32 x 32 pixels, and 256 MB of zeros after them", to_file([parts[0], (b"IDAT", bomb), parts[2]])
    text = (b"zTXt", b"Comment\0\0" + bomb)
    yield "a comment that unpacks to 256 MB", to_file([parts[0], text, *parts[1:]])


def _jpegs() -> Iterator[tuple[str, bytes]]:
    data = _jpeg(NOISE)
    start = data.index(b"\xff\xc0")
    claims = data[: start + 5] + struct.pack(">HH", 65500, 65500) + data[start + 9 :]
    twelve = data[: start + 4] + b"\x0c" + data[start + 5 :]
    yield "cut inside the pixels", data[:400]
    yield "claims 65,500 x 65,500 pixels", claims
    yield "of 12 bits", twelve
    yield "without a frame", data[:start] + data[start + 2 + struct.unpack_from(">H", data, start + 2)[0] :]
    yield "colour where grey is expected", _jpeg(np.dstack([NOISE] * 3))
    file = io.BytesIO()
    Image.fromarray(np.dstack([NOISE] * 4), "CMYK").save(file, "jpeg")
    yield "inks (CMYK)", file.getvalue()
    progressive = _jpeg(NOISE, progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    yield "10,000 scans", progressive[:-2] + 10_000 * scan + progressive[-2:]
    yield (
        "a restart is due after every block, and none is there",
        data[:2] + struct.pack(">HHH", 0xFFDD, 4, 1) + data[2:],
    )
    yield "a PNG", to_file(png_chunks())


def _jpeg(pixels: np.ndarray, **options: bool) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=90, **options)
    return file.getvalue()


def _tiffs() -> Iterator[tuple[str, bytes]]:
    data = _tiff(NOISE)
    yield "cut inside the pixels", data[:-100]
    yield "a directory that names itself as the next", _set_next(data, 8)
    yield "1,000 pages", _tiff(np.zeros((1000, 4, 4), np.uint8))
    yield "claims 65,500 pixels a side", _set(data, 256, 65500)
    yield "claims twice as many rows as it has strips for", _set(_tiff(NOISE, rowsperstrip=8), 257, 64)
    yield "a strip outside of the file", _set(data, 273, 1 << 30)
    yield "a strip of 2 GB", _set(data, 279, (1 << 31) - 1)
    yield "two billion strips", _set(data, 273, (1 << 31) - 1, count=True)
    tiled = _tiff(NOISE, tile=(16, 16), compression="deflate")
    yield "tiles of 65,536 x 65,536 pixels", _set(_set(tiled, 322, 65536), 323, 65536)
    yield "a predictor that cannot be read", _set_type(_tiff(NOISE, compression="deflate", predictor=True), 317, 99)
    yield "floating point", _tiff(NOISE.astype(np.float32))
    yield "a compression whose decoder is not fuzzed (JPEG 2000)", _set(data, 259, 34712)
    yield "values of 4 bits", _set(data, 258, 4)
    yield "black and white exchanged", _set(data, 262, 0)
    big = bytearray(_tiff(NOISE, bigtiff=True))
    big[8:16] = struct.pack("<Q", 1 << 63)
    yield "BigTIFF whose first directory is at byte 2^63", bytes(big)
    bomb = zlib.compress(bytes(1 << 28), 9)
    header = data[:8]
    fields = [
        (256, 32),
        (257, 32),
        (258, 8),
        (259, 8),
        (262, 1),
        (273, 8 + 2 + 10 * 12 + 4),
        (277, 1),
        (278, 32),
        (279, len(bomb)),
        (284, 1),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    yield "a strip of 1 kB that unpacks to 256 MB", header + struct.pack("<H", 10) + entries + bytes(4) + bomb


def _tiff(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="minisblack", metadata=None, byteorder="<", **options)
    return file.getvalue()


def _entry(data: bytes, tag: int) -> int:
    """Returns the position of the entry of a tag in the first directory."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    places = range(start + 2, start + 2 + 12 * count, 12)
    return next(place for place in places if struct.unpack_from("<H", data, place)[0] == tag)


def _set(data: bytes, tag: int, value: int, *, count: bool = False) -> bytes:
    out, place = bytearray(data), _entry(data, tag)
    (kind,) = struct.unpack_from("<H", out, place + 2)
    if count:
        struct.pack_into("<I", out, place + 4, value)
    else:
        struct.pack_into("<H" if kind == 3 else "<I", out, place + 8, value)
        if kind == 3 and value > 65535:
            struct.pack_into("<HII", out, place + 2, 4, 1, value)
    return bytes(out)


def _set_type(data: bytes, tag: int, kind: int) -> bytes:
    out = bytearray(data)
    struct.pack_into("<H", out, _entry(data, tag) + 2, kind)
    return bytes(out)


def _set_next(data: bytes, position: int) -> bytes:
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    out = bytearray(data)
    struct.pack_into("<I", out, start + 2 + 12 * count, start if position else 0)
    return bytes(out)
