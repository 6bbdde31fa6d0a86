"""Sources of images: a folder on disk, a folder in an object store, a zip on either.

A source is a small immutable value. It is sent to the workers, and each process opens what it needs.
"""

import contextlib
import dataclasses
import hashlib
import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pipeline.errors import InputError, StorageError
from pipeline.images import limits, zips
from pipeline.images.limits import Unusable
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.threads import num_cores

LAYOUT = "train.csv next to train/<Id>_{red,green,blue,yellow}.png, or next to a train.zip of them"

REMOTE_THREADS = 32
"""Threads that read from an object store, where a read takes 30 to 100 ms. Each reads the four filters of an example
at once: about 100 concurrent reads, as many as the connections that the stores' libraries open."""


WAITS = (0.1, 0.4, 1.6)
"""Seconds before each further try to read a file that could not be read."""


class Entry(NamedTuple):
    """A file in a listing. `stamp` changes with its content: times on a disk, a checksum in a store or a zip."""

    name: str
    num_bytes: int
    stamp: str


class Images(Protocol):
    """A flat set of image files with names such as `<Id>_<filter>.png`."""

    @property
    def threads(self) -> int:
        """The number of threads that keeps a machine busy reading and decoding them."""

    def entries(self) -> Iterator[Entry]:
        """Yields every file."""

    def fresh(self) -> "Images":
        """Returns the same images without anything remembered of an earlier listing."""

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file, `limits.MAX_FILE_BYTES` at most.

        Raises:
          FileNotFoundError: there is no such file.
          Unusable: it is too large, no file, or in a damaged zip.
          OSError: it cannot be read now, which says nothing about the file.
          StorageError: the same, after every try.
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

    def entries(self) -> Iterator[Entry]:
        for name, stored in files.entries(Path(self.path)):
            yield Entry(name, stored.num_bytes, stored.times)

    def fresh(self) -> "Folder":
        return self

    def read(self, name: str) -> bytes:
        try:
            with open(os.path.join(self.path, name), "rb", buffering=0, opener=_open_without_waiting) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise Unusable("unreadable", "a device or a pipe, expected a file")
                limits.check_bytes(found.st_size)
                return file.read()
        except IsADirectoryError:
            raise Unusable("unreadable", "a folder, expected a file") from None

    def together(self, names: Sequence[str]) -> "Folder":
        return self


@dataclasses.dataclass(frozen=True)
class ObjectFolder:
    """Images in one folder of an object store."""

    path: Place
    threads: int = REMOTE_THREADS

    def entries(self) -> Iterator[Entry]:
        for name, stored in files.entries(self.path):
            yield Entry(name, stored.num_bytes, stored.stamp)

    def fresh(self) -> "ObjectFolder":
        return self

    def read(self, name: str) -> bytes:
        return self.together([name]).read(name)

    def together(self, names: Sequence[str]) -> "Images":
        # Ranges keep an object that is too large out of memory; a start of 0 keeps s3fs from asking for the size first.
        found = files.read_ranges([(self.path / name, 0, limits.MAX_FILE_BYTES + 1) for name in names])
        return _Fetched(dict(zip(names, found, strict=True)))


@dataclasses.dataclass(frozen=True)
class Zip:
    """Images in a zip, read in place; `prefix` is their folder in the zip, such as "train/", or ""."""

    path: Place
    prefix: str

    @property
    def threads(self) -> int:
        return REMOTE_THREADS if files.is_remote(self.path) else num_cores()

    def entries(self) -> Iterator[Entry]:
        for member, info in zips.members(self.path).items():
            name = member.removeprefix(self.prefix)
            if member.startswith(self.prefix) and "/" not in name and name:
                yield Entry(name, info.num_bytes, f"{info.crc:08x}")

    def fresh(self) -> "Zip":
        zips.members.cache_clear()
        return self

    def read(self, name: str) -> bytes:
        member = self._member(name)
        zips.check(member)
        return zips.unpack(member, files.read_range(self.path, member.start, member.end))

    def together(self, names: Sequence[str]) -> "Images":
        if not files.is_remote(self.path):
            return self
        found: dict[str, bytes | Exception] = {}
        members: dict[str, zips.Member] = {}
        for name in names:
            try:
                member = self._member(name)
                zips.check(member)
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

    def entries(self) -> Iterator[Entry]:
        for name, data in self.found.items():
            if isinstance(data, bytes):
                yield Entry(name, len(data), "")

    def fresh(self) -> "_Fetched":
        return self

    def read(self, name: str) -> bytes:
        data = self.found[name]
        if isinstance(data, Exception):
            raise data
        limits.check_bytes(len(data))
        return data

    def together(self, names: Sequence[str]) -> "_Fetched":
        return self


@dataclasses.dataclass(frozen=True)
class Digested:
    """Images whose content is added to a digest as it is read, with further tries where reading fails.

    `found` is `{name: SHA-256 (hex)}` of the files read so far.
    """

    images: Images
    found: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def threads(self) -> int:
        return self.images.threads

    def entries(self) -> Iterator[Entry]:
        return self.images.entries()

    def fresh(self) -> "Digested":
        return Digested(self.images.fresh())

    def read(self, name: str) -> bytes:
        data = read_with_retries(self.images, name)
        self.found[name] = hashlib.sha256(data).hexdigest()
        return data

    def together(self, names: Sequence[str]) -> "Digested":
        return Digested(self.images.together(names), self.found)

    def digest(self) -> str:
        """Returns 128 bits (hex) that stand for the names and contents of all files read; in any order."""
        rows = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.found.items()))
        return hashlib.sha256(rows.encode()).hexdigest()[:32]


def digest_of(images: Images, names: Sequence[str]) -> str:
    """Returns what `Digested.digest` returned if these files have not changed since they were read.

    Raises:
      StorageError: a file cannot be read after every try.
    """
    digested = Digested(images).together(names)
    for name in names:
        with contextlib.suppress(FileNotFoundError, Unusable):  # such a file had no part in the digest
            digested.read(name)
    return digested.digest()


def read_with_retries(images: Images, name: str) -> bytes:
    """Returns the bytes of a file; a disk that fails is asked again.

    Raises:
      FileNotFoundError: there is no such file.
      Unusable: it is too large, no file, or in a damaged zip.
      StorageError: it could not be read; that says nothing about its content.
    """
    for wait in (*WAITS, None):
        try:
            return images.read(name)
        except FileNotFoundError:
            raise
        except NotADirectoryError as error:
            raise FileNotFoundError(str(error)) from None
        except OSError as error:
            if wait is None:
                raise StorageError(
                    f"{error.filename or name}: cannot be read after {len(WAITS) + 1} tries "
                    f"({error.strerror or error}); this says nothing about the image: "
                    "run the same command again to continue"
                ) from error
            time.sleep(wait)
    raise AssertionError


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for a writer


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
    names = zips.members(path.absolute())
    if not names:
        raise InputError(f"{path}: the zip holds no files, expected the images <Id>_<filter>.png")
    return Zip(path.absolute(), _image_folder(path, names))


def _image_folder(path: Place, names: Iterable[str]) -> str:
    """Returns the folder of a zip that holds the most images, such as "train/".

    Raises:
      InputError: two folders hold as many.
    """
    images = (name.rpartition("/") for name in names if name.endswith("_green.png"))
    # Mac's Finder adds a hidden file for every file.
    folders = Counter(folder + slash for folder, slash, name in images if not name.startswith("."))
    ranked = folders.most_common(2)
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        both = "' and '".join(sorted(folder for folder, _ in ranked))
        raise InputError(f"{path}: '{both}' in the zip hold equally many images, expected them in one folder")
    return ranked[0][0] if ranked else ""


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
