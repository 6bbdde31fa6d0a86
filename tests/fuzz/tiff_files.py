"""Target `tiff`: strips and tiles, compressions, pages, both byte orders, BigTIFF."""

import io
import itertools
import logging
import random
import struct
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

from pipeline.images import tiff
from pipeline.images.limits import BadImage
from tests.fuzz import mutations
from tests.fuzz.png_files import bad
from tests.fuzz.target import Case, expect

_COMPRESSIONS = (None, "lzw", "deflate", "zstd", "packbits")
_TAGS = (254, 255, 256, 257, 258, 259, 262, 266, 269, 270, 273, 274, 277, 278, 279, 284, 292, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347, 700, 32997, 50838)  # fmt: skip
_COUNTS = (0, 1, 2, 3, 4, 255, 65535, 1 << 20, (1 << 31) - 1, (1 << 32) - 1)
_VALUES = (
    0,
    1,
    2,
    3,
    5,
    6,
    7,
    8,
    9,
    12,
    16,
    32,
    64,
    8191,
    8192,
    8193,
    32773,
    34712,
    50000,
    65535,
    (1 << 31) - 1,
    (1 << 32) - 1,
)


class Tiff:
    """Files of up to 40 x 40 pixels and four pages."""

    def __init__(self, folder: Path):
        rng = np.random.default_rng(0)
        self.seeds = [_seed(rng, k) for k in range(160)]
        self.counts = {
            "tifffile refused": 0,
            "pillow refused": 0,
            "opencv refused": 0,
            "both refused": 0,
            "not comparable": 0,
        }

    def draw(self, rng: random.Random) -> Case:
        data, planes = rng.choice(self.seeds)
        match rng.randrange(10):
            case 0:
                return Case(data, planes)
            case 1 | 2:
                return Case(mutations.damage(rng, data))
            case 3:
                return Case(mutations.splice(rng, data, rng.choice(self.seeds)[0]))
            case _:
                return Case(_damaged_fields(rng, data))

    def check(self, case: Case) -> str:
        for planes in (1, 3, 2, 4):
            try:
                decoded = tiff.decode(case.data, bad, planes)
            except BadImage as error:
                refused = error
                if "expected" in error.detail and "planes in" in error.detail:
                    continue
                break
            if len({(plane.shape, plane.dtype) for plane in decoded}) > 1:
                return "wrong_size"  # as `stack.read_file` says
            found = np.stack(decoded)
            if case.intact is not None:
                expect(np.array_equal(found, case.intact), "other pixels than stored")
            self._compare(case.data, found)
            return "accepted"
        expect(case.intact is None, "an intact image was refused:", refused)
        return refused.code

    def _compare(self, data: bytes, found: np.ndarray) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = self._attempt("tifffile", lambda: _plain(data))
            if plain is not None:
                expect(
                    plain.size == found.size and set(_as_planes(plain, found)) == {True}, "other pixels than tifffile"
                )
            if len(found) > 1 or not _is_plain(data):
                self.counts["not comparable"] += 1
                return
            warnings.simplefilter("error")  # Pillow warns of tags that it cannot read, and goes on with others
            pillow = self._attempt("pillow", lambda: _pillow(data))
            if pillow is not None:
                expect(np.array_equal(pillow, found[0]), "other pixels than Pillow")
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is None:
                self.counts["opencv refused"] += 1
                self.counts["both refused"] += pillow is None
            else:
                expect(np.array_equal(pixels, found[0]), "other pixels than OpenCV")

    def _attempt(self, name: str, decode: Any) -> np.ndarray | None:
        try:
            pixels: np.ndarray = decode()
            return pixels
        except Exception:
            self.counts[f"{name} refused"] += 1
            return None


def _plain(data: bytes) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return np.concatenate([page.asarray().ravel() for page in itertools.islice(file.pages, 64)])


def _as_planes(plain: np.ndarray, found: np.ndarray) -> list[bool]:
    """Returns whether the pixels agree, read page by page, sample by sample or plane by plane."""
    count, height, width = found.shape
    contiguous = plain.reshape(height, width, count).transpose(2, 0, 1)
    return [bool(np.array_equal(plain.reshape(found.shape), found) or np.array_equal(contiguous, found))]


def _is_plain(data: bytes) -> bool:
    """Returns whether other decoders read the first page as we do: they turn, invert or reverse what these tags say."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        return all(code not in tags for code in (266, 274, 320, 338, 339, 292, 293, 347, 255)) and len(tags) == len(
            {tag.code for tag in tags}
        )


def _pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if image.mode not in ("L", "I;16", "I;16B"):
            raise ValueError(image.mode)
        return np.asarray(image)


def _seed(rng: np.random.Generator, index: int) -> tuple[bytes, np.ndarray]:
    """Returns a file and its planes `[planes, height, width]`."""
    dtype, planes = rng.choice([np.uint8, np.uint16]), int(rng.choice([1, 1, 1, 2, 3, 4]))
    pixels = rng.integers(0, np.iinfo(dtype).max, (planes, *rng.integers(1, 41, 2)), dtype, endpoint=True)
    pixels[:, ::2] = pixels[:, :1, :1]  # so that compression finds something to repeat
    options: dict[str, Any] = {
        "compression": _COMPRESSIONS[index % 5],
        "byteorder": "<>"[index // 5 % 2],
        "bigtiff": index % 7 == 0,
        "photometric": "minisblack",
    }
    if index % 3 == 0:
        options["tile"] = (16, 16)
    elif index % 3 == 1:
        options["rowsperstrip"] = 8
    if options["compression"] in ("lzw", "deflate", "zstd") and index % 2:
        options["predictor"] = True
    stored = pixels if planes > 1 else pixels[0]
    if planes == 3 and index % 2:
        options["photometric"], stored = "rgb", pixels.transpose(1, 2, 0)
    file = io.BytesIO()
    tifffile.imwrite(file, stored, **options)
    return file.getvalue(), pixels


def directories(data: bytes) -> list[tuple[int, int]]:
    """Returns the position and number of entries of each directory of an intact file."""
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    (position,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    found: list[tuple[int, int]] = []
    while position:
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, position)
        found.append((position, count))
        end = position + (8 + 20 * count if big else 2 + 12 * count)
        (position,) = struct.unpack_from(order + ("Q" if big else "I"), data, end)
    return found


def _damaged_fields(rng: random.Random, data: bytes) -> bytes:
    """Returns the file with a tag, type, count or value of an entry changed, entries exchanged, or another next page."""
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    word, entry, head = ("Q", 20, 8) if big else ("I", 12, 2)
    out, position, count = bytearray(data), *rng.choice(directories(data))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = position + head + entry * rng.randrange(count)
        match rng.randrange(7):
            case 0:
                struct.pack_into(order + "H", out, at, rng.choice(_TAGS))
            case 1:
                struct.pack_into(order + "H", out, at + 2, rng.choice((*range(20), 65535)))
            case 2:
                struct.pack_into(order + word, out, at + 4, rng.choice(_COUNTS))
            case 3 | 4:
                _set_value(rng, out, order, at, big)
            case 5:
                other = position + head + entry * rng.randrange(count)
                out[at : at + entry], out[other : other + entry] = out[other : other + entry], out[at : at + entry]
            case _:
                struct.pack_into(
                    order + word, out, position + head + entry * count, rng.choice((0, 8, 16, position, len(data)))
                )
    return bytes(out)


def _set_value(rng: random.Random, out: bytearray, order: str, at: int, big: bool) -> None:
    (kind,) = struct.unpack_from(order + "H", out, at + 2)
    value = rng.choice((*_VALUES, len(out), len(out) - 1, rng.randrange(len(out))))
    start = at + (12 if big else 8)
    if kind == 3 and rng.random() < 0.8:
        struct.pack_into(order + "H", out, start, value & 0xFFFF)
    else:
        struct.pack_into(order + "I", out, start, value)


logging.getLogger("tifffile").setLevel(logging.CRITICAL)
