"""Pixels must be those that other decoders find, however a PNG was packed, and damage must never pass for pixels."""

import io
import struct
import subprocess
import sys
import zlib

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from pipeline.images import png

RNG = np.random.default_rng(0)
SIDE = 300  # more than one stored block, whose 65,535 bytes end inside a row

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def assemble(pixels, *streams: bytes, interlaced=0, before=b"") -> bytes:
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, 0, 0, 0, interlaced)
    data = b"".join(chunk(b"IDAT", stream) for stream in streams)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + chunk(b"IEND")


def filtered(pixels, kinds) -> bytes:
    """Rows as the PNG specification filters them (section 9), row k by `kinds[k % len(kinds)]`."""
    step = pixels.itemsize
    out, above = b"", np.zeros(pixels.shape[1] * step, int)
    for k, row in enumerate(pixels.astype(pixels.dtype.newbyteorder(">"))):
        here = np.frombuffer(row.tobytes(), np.uint8).astype(int)
        left, corner = (np.concatenate([np.zeros(step, int), one[:-step]]) for one in (here, above))
        guess = left + above - corner
        off = [abs(guess - one) for one in (left, above, corner)]
        paeth = np.where((off[0] <= off[1]) & (off[0] <= off[2]), left, np.where(off[1] <= off[2], above, corner))
        kind = kinds[k % len(kinds)]
        predicted = [0, left, above, (left + above) // 2, paeth][kind]
        out += bytes([kind]) + ((here - predicted) % 256).astype(np.uint8).tobytes()
        above = here
    return out


def decode(data: bytes):
    png.check(data, lambda code, detail: AssertionError(f"{code}: {detail}"))
    with iio.imopen(data, "r", plugin=png.Plugin) as file:
        return file.read()


def image(dtype=np.uint8, side=SIDE):
    return RNG.integers(0, np.iinfo(dtype).max + 1, (side, side), dtype=dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kinds", [[0], [1], [2], [3], [4], [4, 0, 3, 2, 1]])
def test_every_filter_gives_the_pixels_back(kinds, dtype):
    pixels = image(dtype)
    data = assemble(pixels, zlib.compress(filtered(pixels, kinds)))
    assert png._unpacked(data) is not data
    found = decode(data)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_every_way_to_compress_gives_the_pixels_of_another_decoder(level):
    pixels = np.cumsum(image() // 32, axis=1, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", compress_level=level)
    np.testing.assert_array_equal(decode(file.getvalue()), np.asarray(Image.open(file)))


def test_data_may_come_in_many_chunks():
    pixels = image()
    stream = zlib.compress(filtered(pixels, [1]))
    parts = [stream[:1], b"", stream[1:5000], stream[5000:]]
    np.testing.assert_array_equal(decode(assemble(pixels, *parts)), pixels)


def test_other_chunks_change_no_pixel():
    pixels = image()
    before = chunk(b"gAMA", struct.pack(">I", 45_455)) + chunk(b"tRNS", b"\0\7") + chunk(b"tEXt", b"Comment\0x")
    data = assemble(pixels, zlib.compress(filtered(pixels, [2])), before=before)
    np.testing.assert_array_equal(decode(data), pixels)


def test_interlaced_images_are_left_to_the_decoder():
    pixels = image(side=32)
    rows = b"".join(filtered(pixels[y::dy, x::dx], [0]) for y, x, dy, dx in ADAM7)
    data = assemble(pixels, zlib.compress(rows), interlaced=1)
    assert png._unpacked(data) is data
    np.testing.assert_array_equal(decode(data), pixels)


def test_a_chunk_that_must_be_understood_and_is_not_is_left_to_the_decoder():
    pixels = image(side=32)
    stream = zlib.compress(filtered(pixels, [0]))
    data = assemble(pixels, stream, before=chunk(b"ABCD", b"?"))
    assert png._unpacked(data) is data
    with pytest.raises(ValueError, match=r"^its data cannot be decoded$"):
        decode(data)


@pytest.mark.parametrize("beyond", ["rows", "stream"])
def test_bytes_after_the_image_are_ignored_as_other_decoders_do(beyond):
    pixels = image()
    rows = filtered(pixels, [0])
    stream = zlib.compress(rows + b"more") if beyond == "rows" else zlib.compress(rows) + b"more"
    np.testing.assert_array_equal(decode(assemble(pixels, stream)), pixels)


PIXELS = image()
ROWS = filtered(PIXELS, [1, 2])
STREAM = zlib.compress(ROWS)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"not zlib",
        STREAM[:-200],
        STREAM[:-4],
        STREAM[:-1] + bytes([STREAM[-1] ^ 1]),
        STREAM[:5000] + bytes([STREAM[5000] ^ 255]) + STREAM[5001:],
        zlib.compress(ROWS[:-1]),
        zlib.compress(b"\5" + ROWS[1:]),
    ],
    ids=["none", "no zlib", "cut off", "no checksum", "wrong checksum", "damaged", "a byte short", "no such filter"],
)
def test_damaged_data_in_whole_chunks_is_refused(stream):
    with pytest.raises(ValueError, match=r"^its data cannot be decoded$"):
        decode(assemble(PIXELS, stream))


# In a process of its own: the peak of this one may be higher already.
PEAK = """
import pathlib, resource, sys
import imageio.v3 as iio
from pipeline.images import png
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read = lambda path: iio.imopen(pathlib.Path(path).read_bytes(), "r", plugin=png.Plugin).read()
read(sys.argv[1])
before = peak()
read(sys.argv[2])
print(peak() - before)
"""


def test_data_beyond_what_the_header_says_takes_no_memory(tmp_path):
    pixels = image(side=8)
    packer = zlib.compressobj(9)
    stream = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()  # 512 MiB in 0.5
    small, bomb = tmp_path / "small.png", tmp_path / "bomb.png"
    small.write_bytes(assemble(pixels, zlib.compress(filtered(pixels, [0]))))
    bomb.write_bytes(assemble(pixels, stream))
    done = subprocess.run([sys.executable, "-c", PEAK, small, bomb], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * 1024  # KiB


@pytest.mark.parametrize("num_bytes", [1, 0xFFFF, 0x10000, 2 * 0xFFFF, 200_000])
def test_wrapped_rows_are_a_zlib_stream(num_bytes):
    rows = RNG.bytes(num_bytes)
    assert zlib.decompress(b"".join(png._wrapped(rows))) == rows


def test_the_shape_is_height_and_width():
    assert png.shape(assemble(np.zeros((2, 5), np.uint8), STREAM)) == (2, 5)
