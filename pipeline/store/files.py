"""Where are files kept, and how does one appear whole?

On a disk, a file is written under a temporary name and renamed. In an object store (`gs://`, `s3://`) there is
no renaming, but an object appears only when its upload has ended: a file is written to this machine first and
uploaded in one piece.
"""

import asyncio
import contextlib
import dataclasses
import errno
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import InputError, JobError

_TEMPORARY = ".tmp-"

_URL = re.compile(r"([a-z0-9+]+)://(.+)")

_STORES: dict[str, tuple[str, dict[str, Any]]] = {
    # Objects are compared with what was uploaded (`consistency`).
    "gs": ("gcp", {"consistency": "md5"}),
    # One request an object, not a question for its size first; as many connections as there are reads under
    # way; waits that grow by chance between 8 tries.
    "s3": (
        "aws",
        {
            "max_concurrency": 1,
            "config_kwargs": {"max_pool_connections": 128, "retries": {"mode": "standard", "max_attempts": 8}},
        },
    ),
}
"""Scheme -> (the extra that brings its library, what we ask of it beyond its defaults).

Both libraries try again, with growing waits, on 429, 500, 503 and dropped connections. Endpoints and keys come
from the environment, as their documentation says.
"""


class StorageError(JobError):
    """An object store that did not answer, or not well, after every try."""


@dataclasses.dataclass(frozen=True, order=True)
class ObjectPath:
    """The place of an object, or of a folder of objects, in an object store; as much of `pathlib` as we need."""

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> "ObjectPath":
        return ObjectPath(self.url.rpartition("/")[0])

    def with_name(self, name: str) -> "ObjectPath":
        return self.parent / name

    def absolute(self) -> "ObjectPath":
        return self

    def exists(self) -> bool:
        return self._call("exists")

    def is_dir(self) -> bool:
        return self._call("isdir")

    def read_bytes(self) -> bytes:
        return self._call("cat_file")

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes) -> None:
        self._call("pipe_file", data)

    def create(self, data: bytes) -> None:
        """Writes an object that must not be there yet; raises `FileExistsError`."""
        self._call("pipe_file", data, mode="create")

    def unlink(self, missing_ok: bool = False) -> None:
        with contextlib.suppress(FileNotFoundError) if missing_ok else contextlib.nullcontext():
            self._call("rm_file")

    @property
    def filesystem(self) -> Any:
        """The `fsspec` file system, made once in each process."""
        scheme = self.url.partition("://")[0]
        extra, settings = _STORES[scheme]
        try:
            return _filesystem_class(scheme)(use_listings_cache=False, **settings)
        except ImportError as error:
            raise InputError(f"{self}: needs more libraries ({error}): pip install 'hpa-stacked[{extra}]'") from None

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with one_line_errors(self):
            return getattr(self.filesystem, method)(self.url, *args, **kwargs)


def _filesystem_class(scheme: str) -> Any:
    if scheme == "gs":
        # The plain one: what `fsspec` takes for "gs" asks a second service about every bucket.
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem
    import fsspec

    return fsspec.get_filesystem_class(scheme)


Place = Path | ObjectPath
"""Where something is kept: on a disk or in an object store."""


@contextlib.contextmanager
def one_line_errors(place: object) -> Iterator[None]:
    """Turns whatever a store's library raises after its last try into one line.

    Not an `OSError`: a store that does not answer says nothing about the image that was asked for.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, InputError, JobError):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # of this machine
            raise
        raise store_error(place, error) from error
    except Exception as error:
        raise store_error(place, error) from error


def store_error(place: object, error: BaseException) -> StorageError:
    """Returns what to tell of a request that failed for good."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return StorageError(f"{place}: the store failed after every try ({text}); run the same command again: it continues")


def at(place: str | os.PathLike | ObjectPath) -> Place:
    """Returns the place that a path or a URL names.

    Raises:
      InputError: a URL of a store that is not known.
    """
    if isinstance(place, ObjectPath):
        return place
    text = os.fspath(place)
    found = _URL.fullmatch(text)
    if found is None:
        return Path(text)
    if found[1] not in _STORES:
        raise InputError(
            f"{text}: expected a path, or a URL that starts with {' or '.join(f'{s}://' for s in _STORES)}"
        )
    return ObjectPath(text.rstrip("/"))


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """What a listing says of a file. `stamp` is the store's own checksum of an object ("" on a disk)."""

    num_bytes: int
    stamp: str


def listing(folder: Place) -> dict[str, Stored]:
    """Returns `{name: Stored}` of the files directly in `folder`, in one pass; empty if it is not there."""
    return dict(entries(folder))


def entries(folder: Place) -> Iterator[tuple[str, Stored]]:
    """Yields what `listing` returns, for folders of so many files that it should not all be held."""
    if isinstance(folder, ObjectPath):
        for info in _ls(folder):
            if info["type"] == "file" and not info["name"].endswith("/"):
                yield info["name"].rpartition("/")[2], Stored(info["size"], _stamp(info))
    elif folder.is_dir():
        with os.scandir(folder) as found:
            for entry in found:
                # A dangling link is as good as no file.
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file():
                        yield entry.name, Stored(entry.stat().st_size, "")


def folders(place: Place) -> list[Place]:
    """Returns the folders directly in `place`, sorted by name; none if it is not there."""
    if isinstance(place, ObjectPath):
        names = [info["name"].rstrip("/").rpartition("/")[2] for info in _ls(place) if info["type"] == "directory"]
        return [place / name for name in sorted(names)]
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _ls(folder: ObjectPath) -> list[dict[str, Any]]:
    with one_line_errors(folder):
        try:
            return folder.filesystem.ls(folder.url, detail=True, refresh=True)
        except FileNotFoundError:
            return []


def stamp(path: ObjectPath) -> str:
    """Returns the store's own checksum of an object, as a listing gives it."""
    with one_line_errors(path):
        return _stamp(path.filesystem.info(path.url))


def _stamp(info: dict[str, Any]) -> str:
    # Google's is the MD5 of the content; Amazon's is that only for objects of one part in plain storage. Either
    # changes with the content, which is all that is asked of it.
    return str(info.get("md5Hash") or info.get("ETag") or "").strip('"')


def read_range(path: Place, start: int, end: int) -> bytes:
    """Returns the bytes of a file from `start` to `end` (or to where the file ends)."""
    if isinstance(path, ObjectPath):
        with one_line_errors(path):
            return path.filesystem.cat_file(path.url, start=start, end=end)
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        return file.read(end - start)


def read_together(parts: Sequence[tuple[ObjectPath, int | None, int | None]]) -> list[bytes | Exception]:
    """Returns the bytes of each (object, start, end), all asked for at once, or the error that it ended with.

    One after the other they would each wait for the store; together they wait once.
    """
    from fsspec.asyn import sync

    filesystem = parts[0][0].filesystem

    async def read() -> list[Any]:
        reads = (
            filesystem._cat_file(filesystem._strip_protocol(p.url), start=start, end=end) for p, start, end in parts
        )
        return await asyncio.gather(*reads, return_exceptions=True)

    found = sync(filesystem.loop, read)
    return [
        result if isinstance(result, bytes | FileNotFoundError) else store_error(path, result)
        for (path, _, _), result in zip(parts, found, strict=True)
    ]


@contextlib.contextmanager
def reading(path: Place) -> Iterator[BinaryIO]:
    """Yields a file to be read; an object is brought to this machine first."""
    if isinstance(path, Path):
        with open(path, "rb", buffering=0) as file:
            yield file
        return
    with tempfile.NamedTemporaryFile(prefix="hpa_stacked-") as copy:
        with _full_disk(path), one_line_errors(path):
            path.filesystem.get_file(path.url, copy.name)
        with open(copy.name, "rb", buffering=0) as file:
            yield file


@contextlib.contextmanager
def replacing(path: Place) -> Iterator[BinaryIO]:
    """Yields a binary file that appears at `path` when the block ends well, and leaves nothing otherwise."""
    if isinstance(path, ObjectPath):
        with _full_disk(path), tempfile.NamedTemporaryFile(prefix="hpa_stacked-") as file:
            yield file  # type: ignore[misc]
            file.flush()
            upload(Path(file.name), path)
        return
    temporary = path.with_name(f"{_TEMPORARY}{path.name}-{uuid.uuid4().hex}")
    try:
        with _full_disk(path):
            with _named_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                output = open(temporary, "wb")  # noqa: SIM115
            with output:
                yield output
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yields a temporary path, with the ending of `path`, whose file becomes `path` when the block ends well.

    For libraries that write to a path and take the format from its ending. Nothing is left if the block raises.
    """
    temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def upload(file: Path, path: ObjectPath) -> None:
    """Puts a finished file of this machine into the store, in one piece."""
    with one_line_errors(path):
        path.filesystem.put_file(os.fspath(file), path.url)


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{path}: cannot be written ({error.strerror})") from error


@contextlib.contextmanager
def _full_disk(path: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"{path}: the disk is full; free some space and run the same command again: "
            "it continues with the shards that are missing",
        ) from error


def remove(paths: Iterable[Place]) -> None:
    """Removes files; those that are not there count as removed."""
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(lambda path: path.unlink(missing_ok=True), paths):
            pass


def remove_temporaries(directory: Place) -> None:
    """Removes what killed writers left behind. Only while no writer is at work."""
    if isinstance(directory, Path):
        for path in directory.glob(f"*/{_TEMPORARY}*"):
            path.unlink(missing_ok=True)


def remove_tree(directory: Place) -> None:
    """Removes a folder and all that is in it, if it is there."""
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
