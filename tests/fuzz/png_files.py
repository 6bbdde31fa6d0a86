"""Target `png`: one to four planes of 8 or 16 bits, interlaced or not, damaged as bytes, as chunks or inside the data."""

import io
import random
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.images import png
from pipeline.images.limits import BadImage
from tests.fuzz import mutations, png_reference
from tests.fuzz.target import Case, Wrong, choice, expect

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = (b"IDAT", b"IHDR", b"IEND", b"PLTE", b"tRNS", b"gAMA", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"eXIf", b"zTXt")
_COLOUR = {1: 0, 3: 2, 2: 4, 4: 6}
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")

Chunks = list[tuple[bytes, bytes]]


def bad(code: str, detail: str) -> BadImage:
    return BadImage("", code, detail)


def to_file(parts: Chunks) -> bytes:
    """Returns a PNG of these chunks, with right lengths and checksums."""
    joined = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return SIGNATURE + b"".join(joined)


class Png:
    """Files of up to 24 x 24 pixels."""

    def __init__(self, folder: Path):
        self.counts = {"pillow refused": 0, "opencv refused": 0}

    def draw(self, rng: random.Random) -> Case:
        image = _pixels(rng)
        parts = _chunks(rng, image)
        match rng.randrange(10):
            case 0:
                return Case(to_file(_harmless(rng, parts)), image)
            case 1 | 2 | 3:
                return Case(mutations.damage(rng, to_file(parts), _KINDS))
            case 4 | 5 | 6:
                return Case(to_file(_damaged_data(rng, parts)))
            case 7:
                return Case(mutations.splice(rng, to_file(parts), to_file(_chunks(rng, _pixels(rng)))))
            case _:
                return Case(to_file(_damaged_chunks(rng, parts)))

    def check(self, case: Case) -> str:
        planes = png_reference.PLANES.get(case.data[25] if len(case.data) > 25 else 0, 1)
        try:
            found = np.stack(png.decode(case.data, bad, planes), axis=-1)
        except BadImage as error:
            expect(case.intact is None, "an intact image was refused:", error)
            return error.code
        if case.intact is not None:
            expect(found.dtype == case.intact.dtype and np.array_equal(found, case.intact), "other pixels than stored")
        self._compare(case.data, found)
        return "accepted"

    def _compare(self, data: bytes, found: np.ndarray) -> None:
        if found.size <= 64 * 64 * 4:
            try:
                expected = png_reference.decode(data)
            except ValueError as error:
                raise Wrong(f"accepted, but the reference refuses it: {error}") from None
            expect(np.array_equal(found, expected), "other pixels than the reference")
        kinds = {kind for kind, _ in png_reference.chunks(data)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._compare_pillow(data, found)
            # OpenCV's reader of animations crashes, and it applies what a tRNS chunk says.
            if not kinds.intersection((*_ANIMATION, b"tRNS", b"eXIf")):
                self._compare_opencv(data, found)

    def _compare_pillow(self, data: bytes, found: np.ndarray) -> None:
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                pixels = np.asarray(image)
        except Exception:
            # It reads metadata, which we skip: a wrong gAMA, a PLTE or a second header between the data, long texts.
            self.counts["pillow refused"] += 1
            return
        expected = found
        if found.itemsize == 2 and found.shape[2] > 1:  # Pillow keeps 16 bits of greyscale alone
            expected = (found >> 8).astype(np.uint8)[..., [0, 0, 0, 1] if found.shape[2] == 2 else slice(None)]
        expect(np.array_equal(np.atleast_3d(pixels), expected), "other pixels than Pillow")

    def _compare_opencv(self, data: bytes, found: np.ndarray) -> None:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            self.counts["opencv refused"] += 1
            return
        order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[found.shape[2]]
        expect(np.array_equal(np.atleast_3d(pixels), found[..., order]), "other pixels than OpenCV")


def _pixels(rng: random.Random) -> np.ndarray:
    height, width, planes = rng.randint(1, 24), rng.randint(1, 24), rng.choice((1, 1, 1, 2, 3, 4))
    dtype = rng.choice(("u1", "u1", ">u2"))
    count = height * width * planes
    values = rng.choice((rng.randbytes(2 * count), bytes(2 * count), bytes(range(256)) * (count // 128 + 1)))
    image = np.frombuffer(values, dtype, count).reshape(height, width, planes)
    return image.astype(image.dtype.newbyteorder("="))


def _chunks(rng: random.Random, image: np.ndarray) -> Chunks:
    """Returns the chunks of an image: rows with random filters, interlaced or not, one to three IDAT."""
    height, width, planes = image.shape
    depth, interlaced = image.itemsize, rng.random() < 0.3
    header = struct.pack(">IIBBBBB", width, height, 8 * depth, _COLOUR[planes], 0, 0, interlaced)
    rows = png_reference.adam7(image) if interlaced else [image]
    stream = zlib.compress(b"".join(_filtered(rng, part) for part in rows), rng.choice((0, 1, 9)))
    cuts = png_reference.pairs(len(stream)) if rng.random() < 0.3 else [(0, len(stream))]
    return [(b"IHDR", header), *((b"IDAT", stream[start:end]) for start, end in cuts), (b"IEND", b"")]


def _filtered(rng: random.Random, image: np.ndarray) -> bytes:
    """Returns the rows of an image, each with one of the filters 0, 1 and 2."""
    raw = image.astype(image.dtype.newbyteorder(">")).view(np.uint8).reshape(len(image), -1)
    step = image.shape[2] * image.itemsize
    left, above = np.zeros_like(raw), np.zeros_like(raw)
    left[:, step:], above[1:] = raw[:, :-step], raw[:-1]
    lines = []
    for line, a, b in zip(raw, left, above, strict=True):
        kind = rng.randrange(5)
        lines.append(bytes([kind]) + (line - _prediction(kind, a, b, line, step, above)).astype(np.uint8).tobytes())
    return b"".join(lines)


def _prediction(kind: int, a: np.ndarray, b: np.ndarray, line: np.ndarray, step: int, above: np.ndarray) -> np.ndarray:
    if kind == 3:
        return ((a.astype(np.int32) + b) // 2).astype(np.uint8)
    if kind == 4:
        c = np.zeros_like(b)
        c[step:] = b[:-step]
        estimate = a.astype(np.int32) + b - c
        distances = np.abs(np.stack([estimate - a, estimate - b, estimate - c]))
        return np.choose(distances.argmin(axis=0), [a, b, c]).astype(np.uint8)
    return (np.zeros_like(a), a, b)[kind]


def _harmless(rng: random.Random, parts: Chunks) -> Chunks:
    """Adds chunks that say nothing about the pixels of the default image."""
    extra = rng.choice(
        (
            [],
            [(b"gAMA", struct.pack(">I", 45455))],
            [(b"tEXt", b"Comment\0" + rng.randbytes(20))],
            [(b"acTL", struct.pack(">II", 1, 0)), (b"fcTL", rng.randbytes(26))],
            [(b"tRNS", rng.randbytes(6))],
            [(b"vpAg", rng.randbytes(9))],
        )
    )
    return [parts[0], *extra, *parts[1:]]


def _damaged_data(rng: random.Random, parts: Chunks) -> Chunks:
    """Returns the chunks with damage inside the compressed data, or to what is compressed."""
    stream = b"".join(body for kind, body in parts if kind == b"IDAT")
    match rng.randrange(4):
        case 0:
            stream = zlib.compress(mutations.damage(rng, zlib.decompress(stream)))
        case 1:
            stream = mutations.damage(rng, stream[:-4]) + stream[-4:]
        case 2:
            stream = stream + rng.randbytes(rng.randrange(9))
        case _:
            stream = mutations.damage(rng, stream)
    return [parts[0], (b"IDAT", stream), parts[-1]]


def _damaged_chunks(rng: random.Random, parts: Chunks) -> Chunks:
    """Returns the chunks with fields of the header changed, or chunks added, repeated, removed or exchanged."""
    parts = list(parts)
    place = rng.randrange(len(parts))
    match rng.randrange(6):
        case 0:
            header = bytearray(parts[0][1])
            field, value = choice(rng, [(3, (8 + rng.randrange(5), rng.randrange(18))), (1, (rng.randrange(8), 0))])
            header[field] = value
            parts[0] = b"IHDR", bytes(header)
        case 1:
            parts[0] = b"IHDR", mutations.damage(rng, parts[0][1], times=1)
        case 2:
            parts.insert(place, (rng.choice(_KINDS), rng.randbytes(rng.choice((0, 1, 2, 4, 8, 26, 30)))))
        case 3:
            parts.insert(place, rng.choice(parts))
        case 4:
            del parts[place]
        case _:
            rng.shuffle(parts)
    return parts
