"""Where do the images lie, and how are their bytes read?

A source is a small immutable value: it travels to the workers, and each process opens what it needs itself.
"""

import dataclasses
import functools
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pipeline.errors import InputError
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.threads import num_cores

LAYOUT = "train.csv beside train/<Id>_{red,green,blue,yellow}.png, or beside an unopened train.zip of them"

REMOTE_THREADS = 32
"""Threads that read from an object store, where a read takes 30 to 100 ms: each waits for the four filters of an
example at once, so that about 100 reads are under way, as many as the stores' libraries open connections."""


class Images(Protocol):
    """A flat set of image files, known by name (`<Id>_<filter>.png`)."""

    @property
    def threads(self) -> int:
        """How many threads keep a machine busy that reads and decodes them."""

    def entries(self) -> Iterator[tuple[str, int]]:
        """Yields (name, size in bytes) of every file."""

    def read(self, name: str) -> bytes:
        """Returns a file's bytes; raises `FileNotFoundError` or another `OSError`."""

    def together(self, names: Sequence[str]) -> "Images":
        """Returns images to read these from: read already, all at once, where that saves time."""


@dataclasses.dataclass(frozen=True)
class Folder:
    """Images in one folder of a disk."""

    path: str

    @property
    def threads(self) -> int:
        return num_cores()

    def entries(self) -> Iterator[tuple[str, int]]:
        for name, stored in files.entries(Path(self.path)):
            yield name, stored.num_bytes

    def read(self, name: str) -> bytes:
        with open(os.path.join(self.path, name), "rb", buffering=0) as file:
            return file.read()

    def together(self, names: Sequence[str]) -> "Folder":
        return self


@dataclasses.dataclass(frozen=True)
class ObjectFolder:
    """Images in one folder of an object store."""

    path: Place
    threads: int = REMOTE_THREADS

    def entries(self) -> Iterator[tuple[str, int]]:
        for name, stored in files.entries(self.path):
            yield name, stored.num_bytes

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def together(self, names: Sequence[str]) -> "Images":
        # A start of 0 keeps s3fs from asking for the size first.
        found = files.read_ranges([(self.path / name, 0, None) for name in names])
        return _Fetched(dict(zip(names, found, strict=True)))


@dataclasses.dataclass(frozen=True)
class Zip:
    """Images in a zip, read in place; `prefix` is their folder inside it ("" or "train/").

    Each member is one read of a range of bytes, so that threads do not queue for one open file.
    """

    path: Place
    prefix: str

    @property
    def threads(self) -> int:
        return REMOTE_THREADS if files.is_remote(self.path) else num_cores()

    def entries(self) -> Iterator[tuple[str, int]]:
        for member, info in _members(self.path).items():
            name = member.removeprefix(self.prefix)
            if member.startswith(self.prefix) and "/" not in name and name:
                yield name, info.num_bytes

    def read(self, name: str) -> bytes:
        member = self._member(name)
        return _unpack(member, files.read_range(self.path, member.start, member.end))

    def together(self, names: Sequence[str]) -> "Images":
        if not files.is_remote(self.path):
            return self
        found: dict[str, bytes | Exception] = {}
        members: dict[str, _Member] = {}
        for name in names:
            try:
                members[name] = self._member(name)
            except FileNotFoundError as error:
                found[name] = error
        parts = [(self.path, member.start, member.end) for member in members.values()]
        for (name, member), data in zip(members.items(), files.read_ranges(parts), strict=True):
            try:
                found[name] = data if isinstance(data, Exception) else _unpack(member, data)
            except OSError as error:
                found[name] = error
        return _Fetched(found)

    def _member(self, name: str) -> "_Member":
        try:
            return _members(self.path)[self.prefix + name]
        except KeyError:
            raise FileNotFoundError(f"{self.path}: no member '{self.prefix}{name}'") from None


@dataclasses.dataclass(frozen=True)
class _Fetched:
    """Images that were read already, or the errors met."""

    found: Mapping[str, bytes | Exception]
    threads: int = 1

    def entries(self) -> Iterator[tuple[str, int]]:
        for name, data in self.found.items():
            if isinstance(data, bytes):
                yield name, len(data)

    def read(self, name: str) -> bytes:
        data = self.found[name]
        if isinstance(data, Exception):
            raise data
        return data

    def together(self, names: Sequence[str]) -> "_Fetched":
        return self


class _Member(NamedTuple):
    """A file in a zip: its bytes, with their header, lie from `start` to `end` at most."""

    start: int
    end: int
    num_bytes: int
    num_packed: int
    method: int
    crc: int
    encrypted: bool


_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., bytes of the name, bytes of the extra field


@functools.lru_cache(maxsize=4)
def _members(path: Place) -> dict[str, _Member]:
    # Kept for the life of the process: reading the central directory of 124,288 files takes about a second.
    with files.open_seekable(path) as file, zipfile.ZipFile(file) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        ends = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    return {
        info.filename: _Member(
            info.header_offset,
            # The name and the extra field of the local header have lengths of their own, 2**16 at most each.
            min(end, info.header_offset + _LOCAL_HEADER.size + 2 * 0xFFFF + info.compress_size),
            info.file_size,
            info.compress_size,
            info.compress_type,
            info.CRC,
            bool(info.flag_bits & 1),
        )
        for info, end in zip(infos, ends, strict=True)
    }


def _unpack(member: _Member, data: bytes) -> bytes:
    """Returns the content of a member from the bytes of its range; raises `OSError` on damage."""
    try:
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data)
        if signature != b"PK\3\4":
            raise OSError("damaged zip: no file header where the directory says there is one")
        if member.encrypted:
            raise OSError("the zip is encrypted")
        start = _LOCAL_HEADER.size + name_bytes + extra_bytes
        packed = data[start : start + member.num_packed]
        if member.method == zipfile.ZIP_STORED:
            content = packed
        elif member.method == zipfile.ZIP_DEFLATED:
            content = zlib.decompress(packed, -zlib.MAX_WBITS, member.num_bytes)
        else:
            raise OSError(f"zip compression method {member.method}, expected stored or deflated")
    except (struct.error, zlib.error) as error:
        raise OSError(f"damaged zip: {error}") from None
    if len(content) != member.num_bytes or zlib.crc32(content) != member.crc:
        raise OSError("damaged zip: the file does not match its checksum")
    return content


def open_images(path: Place) -> Images:
    """Returns the images in a folder or a `.zip`.

    Raises:
      FileNotFoundError: nothing there.
      InputError: something else there.
    """
    if path.is_dir():
        return ObjectFolder(path) if files.is_remote(path) else Folder(str(path.absolute()))
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or zip, expected the images <Id>_<filter>.png")
    try:
        names = _members(path.absolute())
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: expected a folder or a zip of images, but {error}") from None
    prefix = next((name.rpartition("/") for name in names if name.endswith("_green.png")), ("", "", ""))
    return Zip(path.absolute(), prefix[0] + prefix[1])


def find(source_dir: Place) -> tuple[Place, Place]:
    """Returns (label table, images) of a folder in Kaggle's layout.

    Raises:
      FileNotFoundError: naming every path that was expected.
    """
    labels, folder, archive = (source_dir / name for name in ("train.csv", "train", "train.zip"))
    images = archive if archive.exists() and not folder.exists() else folder
    missing = [str(path) for path in (labels, images) if not path.exists()]
    if missing:
        if str(folder) in missing:
            missing[missing.index(str(folder))] = f"{folder}/ or {archive}"
        raise FileNotFoundError(f"{source_dir}: missing {' and '.join(missing)}; expected {LAYOUT}")
    return labels, images
