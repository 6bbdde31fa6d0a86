"""Damaged files are refused, or give the pixels that were stored: never others.

Two kinds of damage: to the bytes of a file, where checksums of chunks no longer match; and to the compressed image
data, with the checksum of its chunk corrected, so that only the checksum inside the data is left to find it.
"""

import os
import struct
import zlib

import imageio.v3 as iio
import numpy as np
import pytest

from pipeline.images import png

PER_IMAGE = int(os.environ.get("MUTATIONS_PER_IMAGE", "16"))


class Refused(Exception):
    pass


def decoded(data: bytes) -> np.ndarray | None:
    try:
        return png.decode(data, Refused)[0]
    except Refused:
        return None


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns data with some bytes flipped, replaced, removed, inserted or repeated."""
    out, position = bytearray(data), int(rng.integers(len(data)))
    length = int(rng.integers(1, 9))
    match rng.integers(6):
        case 0:
            out[position] ^= 1 << rng.integers(8)
        case 1:
            out[position : position + length] = rng.bytes(length)
        case 2:
            del out[position : position + length]
        case 3:
            out[position:position] = rng.bytes(length)
        case 4:
            out[position:position] = out[position : position + length]
        case 5:
            del out[position:]
    return bytes(out)


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Returns signature and header, and the image data."""
    position, stream = 8, b""
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] == b"IDAT":
            stream += data[position + 8 : position + 8 + length]
        position += 12 + length
    return data[:33], stream


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def is_whole(stream: bytes) -> bool:
    """Returns whether zlib finds the end and the checksum of the data right."""
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(stream)
    except zlib.error:
        return False
    return unpacker.eof


def check(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    """Returns how many damaged files were tried and how many of them accepted; none with other pixels."""
    pixels, accepted = decoded(data), 0
    assert pixels is not None
    head, stream = parts(data)
    for k in range(PER_IMAGE):
        if k % 2:
            mutant, whole = damaged(data, rng), False
        else:
            inner = damaged(stream, rng)
            mutant, whole = head + chunk(b"IDAT", inner) + chunk(b"IEND"), is_whole(inner)
        found = decoded(mutant)
        if found is not None:
            accepted += 1
            assert whole or np.array_equal(found, pixels), f"mutation {k} gives other pixels"
    return PER_IMAGE, accepted


def test_damaged_drawn_images_never_give_other_pixels():
    rng = np.random.default_rng(0)
    for k in range(40):
        noise = rng.integers(0, 256 if k % 2 else 4, (64, 64), dtype=np.uint8)
        data = iio.imwrite("<bytes>", noise, extension=".png", plugin="pillow")
        assert check(data, rng)[1] < PER_IMAGE


@pytest.mark.parametrize("start", range(4))
def test_damaged_real_images_never_give_other_pixels(real_sample, start):
    rng, tried, accepted = np.random.default_rng(start), 0, 0
    for path in sorted((real_sample / "train").glob("*.png"))[start::4]:
        counts = check(path.read_bytes(), rng)
        tried, accepted = tried + counts[0], accepted + counts[1]
    print(f"{tried:,} damaged files, {accepted:,} accepted, all with the pixels stored")
    assert tried >= PER_IMAGE
    assert accepted < tried / 10
