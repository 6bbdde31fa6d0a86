"""Target `zip`: members stored and deflated, zip64, comments, odd names; compared with `zipfile`."""

import io
import random
import struct
import zipfile
from pathlib import Path

from pipeline.errors import InputError
from pipeline.images import sources, zips
from pipeline.images.limits import Unusable
from tests.fuzz import mutations
from tests.fuzz.target import Case, Wrong, expect

_NAMES = (
    "a_red.png",
    "train/a_red.png",
    "train/b.png",
    "x/y/z.tif",
    "ü.png",
    "a\\b.png",
    "../a.png",
    "/a.png",
    ".",
    "train/",
    "a",
    "=1.png",
)
_SIGNATURES = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\x01\0\x10\0", b"\xff\xff\xff\xff")
_LIMIT = 1 << 22


class Zip:
    """Archives of one to five small members."""

    def __init__(self, folder: Path):
        self.path = folder / "train.zip"
        self.counts = {"zipfile refused": 0}

    def draw(self, rng: random.Random) -> Case:
        data, content = _archive(rng)
        match rng.randrange(10):
            case 0:
                return Case(data, content)
            case 1 | 2 | 3:
                return Case(mutations.damage(rng, data, _SIGNATURES))
            case 4:
                return Case(mutations.splice(rng, data, _archive(rng)[0]))
            case _:
                return Case(_damaged_fields(rng, data))

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        zips.members.cache_clear()
        images = sources.Zip(self.path, "")
        try:
            entries = list(images.entries(deep=True))
            sources.open_images(self.path)
        except InputError as error:
            expect(case.intact is None or "equally many" in str(error) or "no files" in str(error), "refused:", error)
            return "refused"
        outcomes = {self._check_member(images, entry, case) for entry in entries}
        if case.intact is not None:
            safe = {name for name in case.intact if _is_safe(name)}
            expect(safe == {entry.name for entry in entries} and outcomes <= {"accepted"}, "an intact zip was refused")
        return "accepted" if "accepted" in outcomes else "refused all members"

    def _check_member(self, images: sources.Zip, entry: sources.Entry, case: Case) -> str:
        expect(_is_safe(entry.name), "a name that leads out of the folder:", entry.name)
        try:
            data = images.read(entry.name, _LIMIT)
        except Unusable as error:
            return error.code
        if case.intact is not None:
            expect(data == case.intact[entry.name], "other content than stored")
        expect(len(data) == entry.num_bytes <= _LIMIT, "another size than listed")
        try:
            with zipfile.ZipFile(self.path) as archive:
                expected = archive.read(entry.name)
        except Wrong:
            raise
        except Exception:
            # It compares the names and flags of the two headers, which say nothing about the content.
            self.counts["zipfile refused"] += 1
        else:
            expect(data == expected, "other content than zipfile")
        return "accepted"


def _is_safe(name: str) -> bool:
    return bool(name) and name[0] != "/" and name[-1] != "/" and "\\" not in name and ".." not in name.split("/")


def _archive(rng: random.Random) -> tuple[bytes, dict[str, bytes]]:
    file, content = io.BytesIO(), {}
    with zipfile.ZipFile(
        file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)), strict_timestamps=False
    ) as archive:
        for name in rng.sample(_NAMES, rng.randint(1, 5)):
            content[name] = rng.choice((rng.randbytes(rng.randrange(200)), bytes(rng.randrange(3000)), b""))
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=rng.random() < 0.3) as member:
                member.write(content[name])
        if rng.random() < 0.2:
            archive.comment = rng.randbytes(rng.randrange(30))
    prefix = rng.randbytes(rng.randrange(20)) if rng.random() < 0.1 else b""  # as of a self-extracting archive
    return prefix + file.getvalue(), content


_FIELDS = {
    b"PK\1\2": [
        (4, 2),
        (6, 2),
        (8, 2),
        (10, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 2),
        (30, 2),
        (32, 2),
        (34, 2),
        (38, 4),
        (42, 4),
    ],
    b"PK\3\4": [(4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)],
    b"PK\5\6": [(4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)],
}
"""Position and width of the numbers in each kind of header (APPNOTE, 4.3)."""


def _damaged_fields(rng: random.Random, data: bytes) -> bytes:
    """Returns the archive with one to three numbers of its headers changed."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        signature = rng.choice(list(_FIELDS))
        places = [at for at in range(len(out) - 46) if out[at : at + 4] == signature] or [max(out.rfind(signature), 0)]
        at, (field, width) = rng.choice(places), rng.choice(_FIELDS[signature])
        number = rng.choice(
            (*mutations.NUMBERS, 8, 9, 12, 14, 93, len(out), len(out) - 22, rng.randrange(len(out) + 1))
        )
        if at + field + width <= len(out):
            out[at + field : at + field + width] = struct.pack("<Q", number)[:width]
    return bytes(out)
