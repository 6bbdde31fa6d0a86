"""Files on a disk or in an object store, written atomically.

On a disk, a file is written under a temporary name and renamed. An object store cannot rename, but an object appears
only when its upload has ended: a file is written locally first and uploaded in one piece.
"""

import contextlib
import dataclasses
import errno
import glob
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.errors import InputError
from pipeline.store.objects import STORES, ObjectPath, read_together, stamp_of, store_errors

TEMPORARY = ".tmp-"
"""Start of the names of files that are being written."""

_URL = re.compile(r"([a-z0-9+]+)://(.+)")

Place = Path | ObjectPath
"""Where something is kept: on a disk or in an object store."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A file in a listing.

    `stamp` is the store's own checksum of an object, empty on a disk; `times` are the modification and change times
    (mtime and ctime) on a disk, empty in a store.
    """

    num_bytes: int
    stamp: str
    times: str = ""


def at(place: str | os.PathLike[str] | ObjectPath) -> Place:
    """Returns the place that a path or a URL names; `~` means the home directory.

    Raises:
      InputError: a URL of an unknown kind of store.
    """
    if isinstance(place, ObjectPath):
        return place
    text = os.fspath(place)
    url = _URL.fullmatch(text)
    if url is None:
        return Path(text).expanduser()
    if url[1] not in STORES:
        raise InputError(f"{text}: expected a path, or a URL that starts with {' or '.join(f'{s}://' for s in STORES)}")
    return ObjectPath(text.rstrip("/"))


def is_remote(place: Place) -> bool:
    """Returns whether a place is in an object store, where each read takes tens of milliseconds."""
    return isinstance(place, ObjectPath)


def listing(folder: Place) -> dict[str, Stored]:
    """Returns `{name: Stored}` of the files directly in `folder`; empty if it does not exist."""
    return dict(entries(folder))


def entries(folder: Place) -> Iterator[tuple[str, Stored]]:
    """Yields what `listing` returns, without holding a large folder in memory."""
    if isinstance(folder, ObjectPath):
        for info in folder.children():
            if info["type"] == "file" and not info["name"].endswith("/"):
                yield info["name"].rpartition("/")[2], Stored(info["size"], stamp_of(info))
    elif folder.is_dir():
        with os.scandir(folder) as scanned:
            for entry in scanned:
                with contextlib.suppress(FileNotFoundError):  # a dangling link counts as no file
                    if entry.is_file():
                        found = entry.stat()
                        # A copy may keep the first time; the second cannot be set.
                        yield entry.name, Stored(found.st_size, "", f"{found.st_mtime_ns}-{found.st_ctime_ns}")


def entries_below(folder: Place, prefix: str = "") -> Iterator[tuple[str, Stored]]:
    """Yields (path below `folder` with slashes, Stored) of every file in it and in its folders, at any depth.

    Links to folders are not followed, so that a loop of links cannot go on forever.
    """
    if isinstance(folder, ObjectPath):
        for info in folder.descendants():
            if not info["name"].endswith("/"):
                yield info["name"], Stored(info["size"], stamp_of(info))
        return
    for name, stored in entries(folder):
        yield prefix + name, stored
    for below in folders(folder):
        if not cast(Path, below).is_symlink():
            yield from entries_below(below, f"{prefix}{below.name}/")


def folders(place: Place) -> list[Place]:
    """Returns the folders directly in `place`, sorted by name; empty if it does not exist."""
    if isinstance(place, ObjectPath):
        infos = (info for info in place.children() if info["type"] == "directory")
        return [place / name for name in sorted(info["name"].rstrip("/").rpartition("/")[2] for info in infos)]
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def read_range(path: Place, start: int, end: int) -> bytes:
    """Returns the bytes of a file from `start` to `end`, or to the end of the file."""
    if isinstance(path, ObjectPath):
        return path.read_range(start, end)
    with open(path, "rb") as file:  # buffered, because one call to the system may return less
        file.seek(start)
        return file.read(end - start)


def read_ranges(parts: Sequence[tuple[Place, int | None, int | None]]) -> list[bytes | Exception]:
    """Returns the bytes of each (object, start, end) of one object store, requested at once, or the error of each."""
    return read_together(cast("Sequence[tuple[ObjectPath, int | None, int | None]]", parts)) if parts else []


@contextlib.contextmanager
def reading(path: Place) -> Iterator[BinaryIO]:
    """Yields an open file; an object is downloaded first."""
    if isinstance(path, Path):
        with open(path, "rb", buffering=0) as file:
            yield file
        return
    with tempfile.NamedTemporaryFile(prefix="hpa_stacked-") as copy:
        with named_errors(path):
            path.download(Path(copy.name))
        with open(copy.name, "rb", buffering=0) as file:
            yield file


def open_seekable(path: Place) -> BinaryIO:
    """Returns an open file; only the parts that are read are fetched."""
    if isinstance(path, Path):
        return open(path, "rb")
    with store_errors(path):
        return cast(BinaryIO, path.filesystem.open(path.url, "rb", cache_type="readahead", block_size=1 << 16))


@contextlib.contextmanager
def replacing(path: Place) -> Iterator[BinaryIO]:
    """Yields a binary file that appears at `path` when the block succeeds, and leaves nothing otherwise.

    Raises:
      OSError: the file cannot be written; the message names it.
    """
    if isinstance(path, ObjectPath):
        with named_errors(path), tempfile.NamedTemporaryFile(prefix="hpa_stacked-") as file:
            yield cast(BinaryIO, file)
            file.flush()
            path.upload(Path(file.name))
        return
    with staged(path) as temporary, open(temporary, "wb") as output:
        yield output


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yields a temporary path, with the same ending, for a file that is renamed to `path` when the block succeeds.

    Folders are created. If the block fails, the temporary file is removed and `path` stays as it was.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}-{path.name}")
    try:
        with named_errors(path, temporary):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OSError(error.errno, f"{path}: cannot be written ({error.strerror})") from error
            yield temporary
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def named_errors(place: Place, temporary: Place | None = None) -> Iterator[None]:
    """Adds the place to system errors that name no file, such as "No space left on device", or the temporary one.

    Raises:
      OSError: with a message that names a place.
    """
    try:
        yield
    except OSError as error:
        ours = error.errno is None or error.strerror != os.strerror(error.errno)  # has a message of ours
        if ours or error.filename not in (None, temporary and str(temporary)):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno,
                f"{place}: the disk is full; free some space and run the same command again to continue with the rest",
            ) from error
        raise OSError(error.errno, f"{place}: cannot be written ({error.strerror})") from error


def remove(paths: Iterable[Place]) -> None:
    """Removes files, several at once; missing ones are ignored."""
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(lambda path: path.unlink(missing_ok=True), paths):
            pass


def remove_temporaries_of(path: Place) -> None:
    """Removes what killed writers of this file left beside it. Call only while no writer is running."""
    if isinstance(path, Path):
        for temporary in path.parent.glob(f"{TEMPORARY}*-{glob.escape(path.name)}"):
            temporary.unlink(missing_ok=True)


def remove_temporaries(directory: Path) -> None:
    """Removes what killed writers left in the folders below `directory`. Call only while no writer is running."""
    for path in directory.glob(f"*/{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def remove_tree(directory: Place) -> None:
    """Removes a folder with everything in it, if it exists."""
    if isinstance(directory, Path):
        shutil.rmtree(directory, ignore_errors=True)
        return
    for folder in folders(directory):
        remove_tree(folder)
    remove(directory / name for name in listing(directory))


def sha256_of(path: Place) -> str:
    """Returns the SHA-256 (hex) of a file."""
    digest = hashlib.sha256()
    with reading(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
