"""Sources of images: a folder on disk, a folder in an object store, a zip on either.

A source is a small immutable value. It is sent to the workers, and each process opens what it needs.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pipeline.images import zips
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.threads import num_cores

LAYOUT = "train.csv next to train/<Id>_{red,green,blue,yellow}.png, or next to a train.zip of them"

REMOTE_THREADS = 32
"""Threads that read from an object store, where a read takes 30 to 100 ms. Each reads the four filters of an example
at once: about 100 concurrent reads, as many as the connections that the stores' libraries open."""


class Images(Protocol):
    """A flat set of image files with names such as `<Id>_<filter>.png`."""

    @property
    def threads(self) -> int:
        """The number of threads that keeps a machine busy reading and decoding them."""

    def entries(self) -> Iterator[tuple[str, int]]:
        """Yields (name, size in bytes) of every file."""

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file.

        Raises:
          FileNotFoundError: there is no such file.
          OSError: it cannot be read.
        """

    def together(self, names: Sequence[str]) -> "Images":
        """Returns images from which these files can be read; a remote source fetches them concurrently."""


@dataclasses.dataclass(frozen=True)
class Folder:
    """Images in one folder on a disk."""

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
    """Images in a zip, read in place; `prefix` is their folder in the zip, such as "train/", or ""."""

    path: Place
    prefix: str

    @property
    def threads(self) -> int:
        return REMOTE_THREADS if files.is_remote(self.path) else num_cores()

    def entries(self) -> Iterator[tuple[str, int]]:
        for member, info in zips.members(self.path).items():
            name = member.removeprefix(self.prefix)
            if member.startswith(self.prefix) and "/" not in name and name:
                yield name, info.num_bytes

    def read(self, name: str) -> bytes:
        member = self._member(name)
        return zips.unpack(member, files.read_range(self.path, member.start, member.end))

    def together(self, names: Sequence[str]) -> "Images":
        if not files.is_remote(self.path):
            return self
        found: dict[str, bytes | Exception] = {}
        members: dict[str, zips.Member] = {}
        for name in names:
            try:
                members[name] = self._member(name)
            except FileNotFoundError as error:
                found[name] = error
        parts = [(self.path, member.start, member.end) for member in members.values()]
        for (name, member), data in zip(members.items(), files.read_ranges(parts), strict=True):
            try:
                found[name] = data if isinstance(data, Exception) else zips.unpack(member, data)
            except OSError as error:
                found[name] = error
        return _Fetched(found)

    def _member(self, name: str) -> zips.Member:
        try:
            return zips.members(self.path)[self.prefix + name]
        except KeyError:
            raise FileNotFoundError(f"{self.path}: no member '{self.prefix}{name}'") from None


@dataclasses.dataclass(frozen=True)
class _Fetched:
    """Images already read, or the errors met while reading them."""

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


def open_images(path: Place) -> Images:
    """Returns the images in a folder or a `.zip`.

    Raises:
      FileNotFoundError: there is nothing at `path`.
      InputError: `path` is a file but not a zip.
    """
    if path.is_dir():
        return ObjectFolder(path) if files.is_remote(path) else Folder(str(path.absolute()))
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or zip, expected the images <Id>_<filter>.png")
    first = next((name for name in zips.members(path.absolute()) if name.endswith("_green.png")), "")
    return Zip(path.absolute(), first[: first.rfind("/") + 1])


def find(source_dir: Place) -> tuple[Place, Place]:
    """Returns the paths of (label table, images) in a folder with Kaggle's layout.

    Raises:
      FileNotFoundError: naming every path that is missing.
    """
    labels, folder, archive = (source_dir / name for name in ("train.csv", "train", "train.zip"))
    images = archive if archive.exists() and not folder.exists() else folder
    missing = [str(path) for path in (labels, images) if not path.exists()]
    if missing:
        if str(folder) in missing:
            missing[missing.index(str(folder))] = f"{folder}/ or {archive}"
        raise FileNotFoundError(f"{source_dir}: missing {' and '.join(missing)}; expected {LAYOUT}")
    return labels, images
