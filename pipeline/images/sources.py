"""Sources of images: a folder on disk, a folder in an object store, a zip on either.

A source is a small immutable value. It is sent to the workers, and each process opens what it needs.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pipeline.errors import InputError
from pipeline.images import zips
from pipeline.schema import HPA_KAGGLE_2018, Schema
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.threads import num_cores

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Endings of the names of images."""

REMOTE_THREADS = 32
"""Threads that read from an object store, where a read takes 30 to 100 ms. Each reads the four filters of an example
at once: about 100 concurrent reads, as many as the connections that the stores' libraries open."""


class Images(Protocol):
    """A set of image files with names such as `<Id>_<filter>.png` or `plate/well.tif`."""

    @property
    def threads(self) -> int:
        """The number of threads that keeps a machine busy reading and decoding them."""

    def entries(self, *, deep: bool = False) -> Iterator[tuple[str, int]]:
        """Yields (name, size in bytes) of every file; with `deep`, also of those in folders, as `folder/name`."""

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

    def entries(self, *, deep: bool = False) -> Iterator[tuple[str, int]]:
        found = files.entries_below if deep else files.entries
        for name, stored in found(Path(self.path)):
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

    def entries(self, *, deep: bool = False) -> Iterator[tuple[str, int]]:
        found = files.entries_below if deep else files.entries
        for name, stored in found(self.path):
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

    def entries(self, *, deep: bool = False) -> Iterator[tuple[str, int]]:
        for member, info in zips.members(self.path).items():
            name = member.removeprefix(self.prefix)
            if member.startswith(self.prefix) and not name.endswith("/") and name and (deep or "/" not in name):
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

    def entries(self, *, deep: bool = False) -> Iterator[tuple[str, int]]:
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


def open_images(path: Place, schema: Schema = HPA_KAGGLE_2018) -> Images:
    """Returns the images in a folder or a `.zip`.

    Raises:
      FileNotFoundError: there is nothing at `path`.
      InputError: `path` is a file but not a zip.
    """
    if path.is_dir():
        return ObjectFolder(path) if files.is_remote(path) else Folder(str(path.absolute()))
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or zip, expected the images {schema.patterns[0]}")
    return Zip(path.absolute(), _prefix(path.absolute(), schema))


def _prefix(path: Place, schema: Schema) -> str:
    """Returns the folder of the images in a zip: the one that the schema names, or the one with most files."""
    names = [name for name in zips.members(path) if not name.endswith("/") and name.lower().endswith(ENDINGS)]
    own = f"{schema.folder}/"
    if schema.folder and any(name.startswith(own) for name in names):
        return own
    if any("/" in pattern for pattern in schema.patterns):
        return ""
    counts = Counter(name[: name.rfind("/") + 1] for name in names)
    return max(sorted(counts), key=counts.__getitem__, default="")


def layout(schema: Schema) -> str:
    """Returns one line on the files that the schema expects in a source folder."""
    images = f"{schema.folder}/" if schema.folder else ""
    examples = " or ".join(f"{images}{pattern}" for pattern in schema.patterns[:2])
    zipped = f", or next to a {schema.folder}.zip of them" if schema.folder else ""
    return f"{schema.table.file} next to {examples}{zipped}"


def find(source: Place, schema: Schema = HPA_KAGGLE_2018) -> tuple[Place, Place]:
    """Returns the paths of (label table, images) in a folder with the layout of the schema, or in a zip of it.

    Raises:
      FileNotFoundError: naming every path that is missing.
      InputError: a zip of zips.
    """
    if source.name.endswith(".zip") and not source.is_dir():
        return _in_zip(source, schema)
    labels, folder = source / schema.table.file, source / schema.folder if schema.folder else source
    archive = source / f"{schema.folder}.zip" if schema.folder else folder
    images = archive if archive.exists() and not folder.exists() else folder
    missing = []
    if not labels.exists():
        missing.append(f"{labels}{_other_tables(source)}")
    if not images.exists():
        missing.append(f"{folder}/ or {archive}")
    if missing:
        raise FileNotFoundError(f"{source}: missing {' and '.join(missing)}; expected {layout(schema)}")
    return labels, images


def _other_tables(folder: Place) -> str:
    """Returns a remark on the tables that are in the folder instead, if any."""
    tables = sorted(name for name in files.listing(folder) if name.lower().endswith(".csv"))
    if not tables:
        return ""
    more = ", ..." if len(tables) > 3 else ""
    return f" (there is {', '.join(tables[:3])}{more}: name the label table with --labels and the images with --images)"


def _in_zip(source: Place, schema: Schema) -> tuple[Place, Place]:
    """Returns the zip twice, if it holds both the label table and the images, as Kaggle's download does."""
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such zip, expected {layout(schema)} in it")
    names = zips.members(source.absolute())
    inner = f"{schema.folder}.zip"
    if inner in names:
        raise InputError(f"{source}: {inner} in it is zipped once more; unzip {source.name} and name its folder")
    if schema.table.file not in names:
        raise FileNotFoundError(f"{source}: no {schema.table.file} in it; expected {layout(schema)}")
    return source, source
