"""Sources of images: a folder on disk, a folder in an object store, a zip on either.

A source is a small immutable value. It is sent to the workers, and each process opens what it needs.
"""

import contextlib
import dataclasses
import os
import shlex
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pipeline.errors import InputError
from pipeline.images import limits, zips
from pipeline.images.limits import Unusable
from pipeline.schema import HPA_KAGGLE_2018, Schema
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.threads import num_cores

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Endings of the names of images."""

REMOTE_THREADS = 32
"""Threads that read from an object store, where a read takes 30 to 100 ms. Each reads the four filters of an example
at once: about 100 concurrent reads, as many as the connections that the stores' libraries open."""


class Entry(NamedTuple):
    """A file in a listing. `stamp` changes with its content: times on a disk, a checksum in a store or a zip."""

    name: str
    num_bytes: int
    stamp: str


class Images(Protocol):
    """A set of image files with names such as `<Id>_<filter>.png` or `plate/well.tif`."""

    @property
    def threads(self) -> int:
        """The number of threads that keeps a machine busy reading and decoding them."""

    def entries(self, *, deep: bool = False) -> Iterator[Entry]:
        """Yields every file; with `deep`, also those in folders, as `folder/name`."""

    def fresh(self) -> "Images":
        """Returns the same images without anything remembered of an earlier listing."""

    def read(self, name: str, max_bytes: int = limits.MAX_BYTES) -> bytes:
        """Returns the bytes of a file.

        Raises:
          FileNotFoundError: there is no such file.
          Unusable: it is larger than `max_bytes`, not a regular file, or in a damaged zip.
          OSError: it cannot be read now, which says nothing about the file.
          StorageError: the same, after every try.
        """

    def together(self, names: Sequence[str], max_bytes: int = limits.MAX_BYTES) -> "Images":
        """Returns images from which these files can be read; a remote source fetches them concurrently."""


@dataclasses.dataclass(frozen=True)
class Folder:
    """Images in one folder on a disk."""

    path: str

    @property
    def threads(self) -> int:
        return num_cores()

    def entries(self, *, deep: bool = False) -> Iterator[Entry]:
        found = files.entries_below if deep else files.entries
        for name, stored in found(Path(self.path)):
            yield Entry(name, stored.num_bytes, stored.times)

    def fresh(self) -> "Folder":
        return self

    def read(self, name: str, max_bytes: int = limits.MAX_BYTES) -> bytes:
        try:
            with open(os.path.join(self.path, name), "rb", buffering=0, opener=_open_without_waiting) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise Unusable("unreadable", "a device or a pipe, expected a file")
                limits.check_size(found.st_size, max_bytes)
                return file.read()
        except IsADirectoryError:
            raise Unusable("unreadable", "a folder, expected a file") from None

    def together(self, names: Sequence[str], max_bytes: int = limits.MAX_BYTES) -> "Folder":
        return self


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for a writer


@dataclasses.dataclass(frozen=True)
class ObjectFolder:
    """Images in one folder of an object store."""

    path: Place
    threads: int = REMOTE_THREADS

    def entries(self, *, deep: bool = False) -> Iterator[Entry]:
        found = files.entries_below if deep else files.entries
        for name, stored in found(self.path):
            yield Entry(name, stored.num_bytes, stored.stamp)

    def fresh(self) -> "ObjectFolder":
        return self

    def read(self, name: str, max_bytes: int = limits.MAX_BYTES) -> bytes:
        return self.together([name], max_bytes).read(name, max_bytes)

    def together(self, names: Sequence[str], max_bytes: int = limits.MAX_BYTES) -> "Images":
        # The end keeps an object that is too large out of memory; with a start of 0, s3fs does not ask for the size.
        found = files.read_ranges([(self.path / name, 0, max_bytes + 1) for name in names])
        return _Fetched(dict(zip(names, found, strict=True)))


@dataclasses.dataclass(frozen=True)
class Zip:
    """Images in a zip, read in place; `prefix` is their folder in the zip, such as "train/", or ""."""

    path: Place
    prefix: str

    @property
    def threads(self) -> int:
        return REMOTE_THREADS if files.is_remote(self.path) else num_cores()

    def entries(self, *, deep: bool = False) -> Iterator[Entry]:
        for member, info in zips.members(self.path).items():
            name = member.removeprefix(self.prefix)
            if member.startswith(self.prefix) and name and (deep or "/" not in name):
                yield Entry(name, info.num_bytes, f"{info.crc:08x}")

    def fresh(self) -> "Zip":
        zips.members.cache_clear()
        return self

    def read(self, name: str, max_bytes: int = limits.MAX_BYTES) -> bytes:
        member = self._member(name)
        zips.check(member, max_bytes)
        return zips.unpack(member, files.read_range(self.path, member.start, member.end))

    def together(self, names: Sequence[str], max_bytes: int = limits.MAX_BYTES) -> "Images":
        if not files.is_remote(self.path):
            return self
        found: dict[str, bytes | Exception] = {}
        members: dict[str, zips.Member] = {}
        for name in names:
            try:
                member = self._member(name)
                zips.check(member, max_bytes)
                members[name] = member
            except (FileNotFoundError, Unusable) as error:
                found[name] = error
        parts = [(self.path, member.start, member.end) for member in members.values()]
        for (name, member), data in zip(members.items(), files.read_ranges(parts), strict=True):
            try:
                found[name] = data if isinstance(data, Exception) else zips.unpack(member, data)
            except Unusable as error:
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

    def entries(self, *, deep: bool = False) -> Iterator[Entry]:
        for name, data in self.found.items():
            if isinstance(data, bytes):
                yield Entry(name, len(data), "")

    def fresh(self) -> "_Fetched":
        return self

    def read(self, name: str, max_bytes: int = limits.MAX_BYTES) -> bytes:
        data = self.found[name]
        if isinstance(data, Exception):
            raise data
        limits.check_size(len(data), max_bytes)
        return data

    def together(self, names: Sequence[str], max_bytes: int = limits.MAX_BYTES) -> "_Fetched":
        return self


def open_images(path: Place, schema: Schema = HPA_KAGGLE_2018) -> Images:
    """Returns the images in a folder or a `.zip`.

    Raises:
      FileNotFoundError: there is nothing at `path`.
      InputError: `path` is a file but not a zip, or an empty one.
    """
    if path.is_dir():
        return ObjectFolder(path) if files.is_remote(path) else Folder(str(path.absolute()))
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or zip, expected the images {schema.patterns[0]}")
    return Zip(path.absolute(), _prefix(path.absolute(), schema))


def _prefix(path: Place, schema: Schema) -> str:
    """Returns the folder of the images in a zip: the one that the schema names, or the one with most files.

    Raises:
      InputError: the zip is empty, or two folders hold equally many images.
    """
    members = zips.members(path)
    if not members:
        raise InputError(f"{path}: the zip holds no files, expected the images {schema.patterns[0]}")
    # Mac's Finder adds a hidden file for every file.
    images = [name for name in members if name.lower().endswith(ENDINGS) and "/." not in f"/{name}"]
    own = f"{schema.folder}/"
    if schema.folder and any(name.startswith(own) for name in images):
        return own
    if any("/" in pattern for pattern in schema.patterns):
        return ""
    folders = Counter(name[: name.rfind("/") + 1] for name in images).most_common(2)
    if len(folders) == 2 and folders[0][1] == folders[1][1]:
        both = "' and '".join(sorted(folder for folder, _ in folders))
        raise InputError(f"{path}: '{both}' in the zip hold equally many images, expected them in one folder")
    return folders[0][0] if folders else ""


def layout(schema: Schema) -> str:
    """Returns one line on the files that the schema expects in a source folder."""
    images = f"{schema.folder}/" if schema.folder else ""
    examples = " or ".join(f"{images}{pattern}" for pattern in schema.patterns[:2])
    zipped = f", or next to a {schema.folder}.zip of them" if schema.folder else ""
    return f"{schema.table.file} next to {examples}{zipped}"


def check_exists(source: Place) -> None:
    """Raises `FileNotFoundError` if there is nothing at `source`."""
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such folder or zip file")


def find(source: Place, schema: Schema = HPA_KAGGLE_2018) -> tuple[Place, Place]:
    """Returns the paths of (label table, images) in a folder with the layout of the schema, or in a zip of it.

    Raises:
      FileNotFoundError: naming every missing path, and a zip in the folder that contains it.
      InputError: a zip in which the zip of the images is itself compressed or damaged.
    """
    if source.name.endswith(".zip") and not source.is_dir():
        return _in_zip(source, schema)
    check_exists(source)
    labels, folder = source / schema.table.file, source / schema.folder if schema.folder else source
    archive = source / f"{schema.folder}.zip" if schema.folder else folder
    images = archive if archive.exists() and not folder.exists() else folder
    missing = []
    if not labels.exists():
        missing.append(f"{labels}{_other_tables(source)}")
    if not images.exists():
        missing.append(f"{folder}/ or {archive}")
    if missing:
        if holder := _zip_of(source, {schema.table.file, archive.name}):
            raise FileNotFoundError(
                f"{source}: missing {' and '.join(missing)}: unzip {holder.name} in it ({_unzip(holder, source)}) "
                "and run the same command again"
            )
        raise FileNotFoundError(f"{source}: missing {' and '.join(missing)}; expected {layout(schema)}")
    return labels, images


def _zip_of(folder: Place, names: set[str]) -> Place | None:
    """Returns the first zip in a folder that holds one of these files, as Kaggle's download of everything does."""
    for name in sorted(files.listing(folder)):
        if name.lower().endswith(".zip") and name not in names:
            with contextlib.suppress(InputError):  # damaged
                if names & set(zips.members((folder / name).absolute())):
                    return folder / name
    return None


def _unzip(path: Place, folder: Place) -> str:
    return shlex.join(["unzip", str(path), "-d", str(folder)])


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
    if inner in names and not any(name.startswith(f"{schema.folder}/") for name in names):
        raise InputError(
            f"{source}: {inner} in it is compressed once more, or damaged; unzip it ({_unzip(source, source.parent / 'kaggle')}) "
            "and name that folder"
        )
    if schema.table.file not in names:
        raise FileNotFoundError(f"{source}: no {schema.table.file} in it; expected {layout(schema)}")
    return source, source
