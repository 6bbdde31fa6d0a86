"""Memory and time of one image are bounded by the size that its header declares, whatever its data would unpack to."""

import io
import os
import struct
import subprocess
import sys
import zlib

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

SIDE = 8192

CODE = """
import resource, sys, time
from pipeline.images import formats
from pipeline.images.limits import BadImage
def bad(code, detail): return BadImage("blue", code, detail)
small = open(sys.argv[2], "rb").read()
formats.decode(sys.argv[2], small, bad)  # what the decoders load on first use
data = open(sys.argv[1], "rb").read()
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
try:
    outcome = f"decoded {formats.decode(sys.argv[1], data, bad)[0].shape}"
except BadImage as error:
    outcome = f"{error.code}: {error.detail}"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print(time.perf_counter() - start)
print(outcome)
"""


def encoded(ending, side=16, **settings):
    pixels = np.zeros((side, side), np.uint8)
    if ending == "tif":
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, **settings)
        return file.getvalue()
    return iio.imwrite("<bytes>", pixels, extension=f".{ending}", plugin="pillow", **settings)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, data, kind=0, depth=8):
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(num_bytes):
    """Returns a zlib stream of so many zeros, a thousandth of their size."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join([*(packer.compress(block) for _ in range(num_bytes >> 20)), packer.flush()])


def jpeg(width, height):
    data = encoded("jpg")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def tiff_with(tags, **settings):
    """Returns a TIFF of 16 x 16 pixels with other values of some tags."""
    data = bytearray(encoded("tif", **settings))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for name, value in tags.items():
            tag = file.pages[0].tags[name]
            struct.pack_into("<" + {3: "H", 4: "I"}[int(tag.dtype)], data, tag.valueoffset, value)
    return bytes(data)


def tiff_bomb(compression, claimed=16, side=16384):
    """Returns a TIFF of one strip that unpacks to `side` x `side` zeros, and claims fewer pixels."""
    data = bytearray(encoded("tif", side, compression=compression, rowsperstrip=side))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tag = file.pages[0].tags[name]
            struct.pack_into("<" + {3: "H", 4: "I"}[int(tag.dtype)], data, tag.valueoffset, claimed)
    return bytes(data)


def tiff_of_jpeg():
    """Returns a TIFF of 64 x 64 pixels, whose strip is a JPEG that claims 65500 x 65500."""
    data = bytearray(encoded("tif", 64, compression="jpeg"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def decode(tmp_path, name, data):
    """Returns (growth of the peak of resident memory in MB, seconds, outcome) of a process that decodes a file."""
    path, small = tmp_path / name, tmp_path / f"small.{name.rpartition('.')[2]}"
    path.write_bytes(data)
    small.write_bytes(encoded(small.suffix[1:]))
    done = subprocess.run(
        [sys.executable, "-c", CODE, path, small], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kilobytes, seconds, outcome = done.stdout.splitlines()
    return int(kilobytes) / 1000, float(seconds), outcome


HOSTILE = {
    "claims.png": (lambda: png(2**31 - 1, 2**31 - 1, zlib.compress(b"")), "too_large"),
    "claims-little.png": (lambda: png(SIDE, SIDE, zlib.compress(bytes(100))), "unreadable"),
    "bomb.png": (lambda: png(16, 16, zeros(1 << 30)), "unreadable"),
    "bomb-16.png": (lambda: png(16, 16, zeros(1 << 29), depth=16), "unreadable"),
    "claims.jpg": (lambda: jpeg(65535, 65535), "too_large"),
    "claims-little.jpg": (lambda: jpeg(SIDE, SIDE), "unreadable"),
    "claims.tif": (lambda: tiff_with({"ImageWidth": 65535, "ImageLength": 65535}), "too_large"),
    "claims-little.tif": (lambda: tiff_with({"ImageWidth": SIDE, "ImageLength": SIDE}), "unreadable"),
    "claims-bytes.tif": (lambda: tiff_with({"StripByteCounts": 2**32 - 1}), "truncated"),
    "rows.tif": (lambda: tiff_with({"RowsPerStrip": 2**31 - 1}), "decoded"),
    "samples.tif": (lambda: tiff_with({"SamplesPerPixel": 65535}), "wrong_mode"),
    "bomb-deflate.tif": (lambda: tiff_bomb("zlib"), "unreadable"),
    "bomb-large.tif": (lambda: tiff_bomb("zlib", SIDE), "unreadable"),
    "bomb-packbits.tif": (lambda: tiff_bomb("packbits"), "unreadable"),
    "bomb-zstd.tif": (lambda: tiff_bomb("zstd"), "unreadable"),
    "bomb-lzw.tif": (lambda: tiff_bomb("lzw"), "decoded"),
    "bomb-lzma.tif": (lambda: tiff_bomb("lzma"), "wrong_mode"),
    "jpeg-in-it.tif": (tiff_of_jpeg, "wrong_mode"),
}
"""Name -> file, and how its outcome starts. Those with `little` or `large` declare as many pixels as are allowed."""

DECLARED_MB = 2 * SIDE * SIDE / 1e6


@pytest.mark.parametrize("name", HOSTILE)
def test_memory_and_time_are_bounded_by_the_declared_size(tmp_path, name):
    file, expected = HOSTILE[name]
    megabytes, seconds, outcome = decode(tmp_path, name, file())
    assert outcome.startswith(expected)
    assert megabytes < (4 * DECLARED_MB if "little" in name or "large" in name else 40), outcome
    assert seconds < 20, outcome


def test_a_compression_with_headers_of_its_own_is_named(tmp_path):
    _, _, outcome = decode(tmp_path, "a.tif", tiff_of_jpeg())
    assert outcome == "wrong_mode: compression 7, expected one of none, LZW, deflate, PackBits, Zstandard"
