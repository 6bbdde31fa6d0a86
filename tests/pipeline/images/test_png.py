"""A PNG gives the pixels that were stored, however it is packed; damaged files are refused."""

import io
import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from pipeline.images import limits, png

RNG = np.random.default_rng(0)
SIDE = 300

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


class Refused(Exception):
    """Code and detail of a refused file."""


def decode(data: bytes):
    return png.decode(data, Refused)[0]


def refused(data: bytes) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        decode(data)
    return caught.value.args


DAMAGED = ("unreadable", "damaged: the image data cannot be decoded")


def image(dtype=np.uint8, side=SIDE):
    return RNG.integers(0, np.iinfo(dtype).max + 1, (side, side), dtype=dtype)


PIXELS = image()
ROWS = filtered(PIXELS, [1, 2])
STREAM = zlib.compress(ROWS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kinds", [[0], [1], [2], [3], [4], [4, 0, 3, 2, 1]])
def test_every_filter_gives_the_pixels_back(kinds, dtype):
    pixels = image(dtype)
    data = assemble(pixels, zlib.compress(filtered(pixels, kinds)))
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


ANCILLARY = {
    "gAMA": struct.pack(">I", 45_455),
    "tRNS": b"\0\7",
    "tEXt": b"Comment\0x",
    "sBIT": b"\3",
    "bKGD": b"\0\7",
    "iCCP": b"x\0\0" + zlib.compress(b"no profile"),
    "PLTE": b"abc",
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ANCILLARY)
def test_other_chunks_change_no_pixel(kind, dtype):
    pixels = image(dtype, side=32)
    before = chunk(kind.encode(), ANCILLARY[kind])
    data = assemble(pixels, zlib.compress(filtered(pixels, [2])), before=before)
    found = decode(data)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)


def interlaced(pixels) -> bytes:
    return zlib.compress(b"".join(filtered(pixels[y::dy, x::dx], [0, 4]) for y, x, dy, dx in ADAM7))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_interlaced_images_give_the_pixels_back(dtype):
    pixels = image(dtype, side=33)
    np.testing.assert_array_equal(decode(assemble(pixels, interlaced(pixels), interlaced=1)), pixels)


def test_a_critical_chunk_that_is_not_known_is_refused():
    stream = zlib.compress(filtered(PIXELS, [0]))
    data = assemble(PIXELS, stream, before=chunk(b"ABCD", b"?"))
    assert refused(data) == ("unreadable", "unexpected critical chunk b'ABCD' at byte 33")
    data = assemble(PIXELS, stream, before=data[8:33])
    assert refused(data) == ("unreadable", "unexpected critical chunk b'IHDR' at byte 33")


def test_the_header_must_come_first():
    data = assemble(PIXELS, STREAM)
    code, detail = refused(data[:8] + chunk(b"CgBI", b"\x50\0\x20\6") + data[8:])
    assert code == "unreadable"
    assert detail.startswith("damaged: the first chunk starts with b'\\x00\\x00\\x00\\x04CgBI', expected b")


@pytest.mark.parametrize("beyond", ["rows", "stream"])
def test_bytes_after_the_image_are_ignored_as_other_decoders_do(beyond):
    pixels = image()
    rows = filtered(pixels, [0])
    stream = zlib.compress(rows + b"more") if beyond == "rows" else zlib.compress(rows) + b"more"
    np.testing.assert_array_equal(decode(assemble(pixels, stream)), pixels)


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
    assert refused(assemble(PIXELS, stream)) == DAMAGED


def test_a_file_without_image_data_is_refused():
    assert refused(assemble(PIXELS)) == DAMAGED


def wrong_checksum(stream: bytes) -> bytes:
    return stream[:-1] + bytes([stream[-1] ^ 1])


@pytest.mark.parametrize("num_bytes", [1, 2, 3, 4, 5])
def test_a_wrong_checksum_in_a_chunk_of_its_own_is_refused(num_bytes):
    stream = wrong_checksum(STREAM)
    assert refused(assemble(PIXELS, stream[:-num_bytes], stream[-num_bytes:])) == DAMAGED


@pytest.mark.parametrize("beyond", [0, 1, 2, 3, 4, 5])
def test_a_wrong_checksum_between_two_reads_of_libpng_is_refused(beyond):
    # Stored, the stream has 11 bytes more than the row, of which one says how it is filtered.
    pixels = image()[:1, :1].repeat(8192 + beyond - 12, axis=1)
    stream = wrong_checksum(zlib.compress(filtered(pixels, [0]), 0))
    assert len(stream) == 8192 + beyond
    assert refused(assemble(pixels, stream)) == DAMAGED


def test_a_wrong_checksum_of_an_interlaced_image_is_refused():
    assert refused(assemble(PIXELS, wrong_checksum(interlaced(PIXELS)), interlaced=1)) == DAMAGED


@pytest.mark.parametrize(
    ("decoded", "found"), [(PIXELS[1:], "uint8 (299, 300)"), (PIXELS.astype(np.uint16), "uint16 (300, 300)")]
)
def test_pixels_that_do_not_match_the_header_are_refused(monkeypatch, decoded, found):
    monkeypatch.setattr(imagecodecs, "png_decode", lambda data: decoded)
    detail = f"decoded to {found}, expected 8 bits and (300, 300) as the header says"
    assert refused(assemble(PIXELS, STREAM)) == ("unreadable", detail)


def frame_control(number: int, width: int, height: int, x: int = 0, y: int = 0) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, x, y, 1, 10, 0, 0))


def frame_data(number: int, stream: bytes) -> bytes:
    return chunk(b"fdAT", struct.pack(">I", number) + stream)


SMALL = image(side=32)
SMALL_STREAM = zlib.compress(filtered(SMALL, [0, 4]), 0)


def animated(*frames: bytes, stream: bytes = SMALL_STREAM, interlaced: int = 0, num_frames: int = 2) -> bytes:
    """An APNG whose default image is `SMALL`, or `stream`."""
    animation = chunk(b"acTL", struct.pack(">II", num_frames, 0))
    data = assemble(SMALL, stream, before=animation, interlaced=interlaced)
    return data[:-12] + b"".join(frames) + chunk(b"IEND")


ANIMATED = {
    "two frames": animated(frame_control(0, 32, 32), frame_data(1, SMALL_STREAM)),
    "interlaced": animated(
        frame_control(0, 32, 32), frame_data(1, interlaced(SMALL)), stream=interlaced(SMALL), interlaced=1
    ),
    "a frame with more pixels than it has room for": animated(frame_control(0, 1, 16), frame_data(1, SMALL_STREAM)),
    "frames beside the image": animated(
        frame_control(0, 1, 32), frame_data(1, SMALL_STREAM), frame_control(2, 2**31 - 1, 1, 2**31 - 1, 16)
    ),
    "a number of frames that takes all memory": animated(num_frames=2**31 - 1),
    "a frame without data": animated(frame_control(0, 32, 32), chunk(b"fdAT", b"\0")),
}
ANIMATED_AND_DAMAGED = {
    "two bytes of image data": animated(frame_control(0, 32, 32), frame_data(1, SMALL_STREAM), stream=b"\x78\x01"),
    "two bytes of image data, interlaced": animated(
        frame_control(0, 1, 32), frame_data(1, SMALL_STREAM), stream=b"\x78\x01", interlaced=1
    ),
}

DECODE = """
import pathlib, sys
from pipeline.images import limits, png
for path in sys.argv[1:]:
    try:
        print(png.decode(pathlib.Path(path).read_bytes(), ValueError)[0].tobytes().hex())
    except ValueError as error:
        print(error.args)
"""


def run(code: str, *args) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)


def test_animations_give_their_default_image_or_are_refused(tmp_path):
    # In another process: decoders that follow the animation crash on some of these.
    files = {**ANIMATED, **ANIMATED_AND_DAMAGED}
    paths = [tmp_path / f"{k}.png" for k in range(len(files))]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    done = run(DECODE, *paths)
    assert done.returncode == 0
    expected = [SMALL.tobytes().hex()] * len(ANIMATED) + [str(DAMAGED)] * len(ANIMATED_AND_DAMAGED)
    assert dict(zip(files, done.stdout.splitlines(), strict=True)) == dict(zip(files, expected, strict=True))
    assert done.stderr == ""


def test_the_decoder_prints_nothing(tmp_path):
    path = tmp_path / "a.png"
    for data in (
        assemble(SMALL, interlaced(SMALL), interlaced=1),
        assemble(SMALL, SMALL_STREAM + b"more"),
        assemble(SMALL, SMALL_STREAM[:-200]),
        assemble(SMALL, b"not zlib"),
    ):
        path.write_bytes(data)
        assert run(DECODE, path).stderr == ""


# In another process: the peak of this one may be higher already.
PEAK = """
import pathlib, resource, sys
from pipeline.images import limits, png
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode = lambda path: png.decode(pathlib.Path(path).read_bytes(), ValueError)
decode(sys.argv[1])
before = peak()
try:
    decode(sys.argv[2])
except ValueError:
    pass
print(peak() - before)
"""


def test_data_beyond_what_the_header_says_takes_no_memory(tmp_path):
    pixels = image(side=8)
    packer = zlib.compressobj(9)
    stream = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()  # 512 MiB in 0.5
    small, bomb = tmp_path / "small.png", tmp_path / "bomb.png"
    small.write_bytes(assemble(pixels, zlib.compress(filtered(pixels, [0]))))
    bomb.write_bytes(assemble(pixels, stream))
    assert refused(bomb.read_bytes()) == DAMAGED
    done = run(PEAK, small, bomb)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024  # KiB


def test_a_file_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "max_bytes", lambda planes: 1000)
    assert refused(bytes(1234)) == ("too_large", "the file has 1,234 bytes, expected at most 1,000")
