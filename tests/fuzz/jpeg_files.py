"""Target `jpeg`: grey and colour, baseline and progressive, subsampled, with restart markers."""

import io
import random
import struct
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.images import jpeg
from pipeline.images.limits import BadImage
from tests.fuzz import mutations
from tests.fuzz.png_files import bad
from tests.fuzz.target import Case, Wrong, expect

_MARKERS = [
    b"\xff" + bytes([code])
    for code in (0xC0, 0xC1, 0xC2, 0xC4, 0xD0, 0xD7, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xEE, 0xFF, 0)
]


class Jpeg:
    """Files of up to 40 x 40 pixels."""

    def __init__(self, folder: Path):
        rng = np.random.default_rng(0)
        self.seeds = [_seed(rng, k) for k in range(96)]
        self.counts = {"pillow refused": 0, "opencv refused": 0, "other colours": 0}

    def draw(self, rng: random.Random) -> Case:
        data = rng.choice(self.seeds)
        match rng.randrange(10):
            case 0:
                return Case(data, True)
            case 1 | 2 | 3:
                return Case(mutations.damage(rng, data, _MARKERS))
            case 4 | 5 | 6 | 7:
                return Case(_damaged_segment(rng, data))
            case 8:
                return Case(mutations.splice(rng, data, rng.choice(self.seeds)))
            case _:
                start = data.index(b"\xff\xda")
                return Case(data[:start] + mutations.damage(rng, data[start:]))

    def check(self, case: Case) -> str:
        for planes in (1, 3):
            try:
                found = np.stack(jpeg.decode(case.data, bad, planes), axis=-1)
            except BadImage as error:
                refused = error
                continue
            self._compare(case.data, found)
            return "accepted"
        expect(case.intact is None, "an intact image was refused:", refused)
        return refused.code

    def _compare(self, data: bytes, found: np.ndarray) -> None:
        """Compares with two other decoders of the same family, which refuse less than we do."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with Image.open(io.BytesIO(data)) as image:
                    image.load()
                    mode, pixels = image.mode, np.atleast_3d(np.asarray(image))
            except Exception:
                # It reads the first EXIF, ICC or MPF segment too, and refuses what it cannot parse there.
                self.counts["pillow refused"] += 1
                return
            expect(mode == {1: "L", 3: "RGB"}[found.shape[2]], f"{mode} in Pillow")
            expect(np.array_equal(pixels, found), "other pixels than Pillow")
        self._compare_opencv(data, found)

    def _compare_opencv(self, data: bytes, found: np.ndarray) -> None:
        flags = cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_GRAYSCALE if found.shape[2] == 1 else cv2.IMREAD_COLOR)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if pixels is None:
            self.counts["opencv refused"] += 1
            return
        order = [0] if found.shape[2] == 1 else [2, 1, 0]
        if not np.array_equal(np.atleast_3d(pixels), found[..., order]):
            raise Wrong("other pixels than OpenCV")


def _seed(rng: np.random.Generator, index: int) -> bytes:
    height, width = rng.integers(1, 41, 2).tolist()
    shape = (height, width) if index % 2 else (height, width, 3)
    noise = rng.integers(0, 256, shape, np.uint8) if index % 3 else np.full(shape, 90, np.uint8)
    options = [
        {},
        {"progressive": True},
        {"restart_marker_blocks": 2},
        {"subsampling": 2},
        {"subsampling": 0, "optimize": True},
        {"comment": b"a comment", "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"},
        {"keep_rgb": True} if index % 2 == 0 else {},
        {"progressive": True, "restart_marker_rows": 1},
    ][index // 2 % 8]
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "jpeg", quality=(30, 75, 95)[index % 3], **options)
    return file.getvalue()


def segments(data: bytes) -> list[tuple[int, int]]:
    """Returns the position and length of each segment up to the first scan."""
    found, position = [], 2
    while position + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, position)
        found.append((position, length + 2))
        if marker == 0xFFDA:
            break
        position += 2 + length
    return found


def _damaged_segment(rng: random.Random, data: bytes) -> bytes:
    """Returns the file with one segment changed inside, of another length, repeated, removed or moved."""
    position, length = rng.choice(segments(data))
    segment, out = data[position : position + length], bytearray(data)
    match rng.randrange(7):
        case 0 | 1 | 2:
            out[position + 4 : position + length] = mutations.damage(rng, segment[4:], times=1)[: length - 4].ljust(
                length - 4
            )
        case 3:
            struct.pack_into(">H", out, position + 2, rng.choice(mutations.NUMBERS) & 0xFFFF)
        case 4:
            out[position:position] = segment
        case 5:
            del out[position : position + length]
        case _:
            out[position:position] = struct.pack(">HHH", 0xFFDD, 4, rng.choice((0, 1, 2, 3, 65535)))
    return bytes(out)
