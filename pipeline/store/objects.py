"""Objects in an object store (`gs://`, `s3://`), through `fsspec`."""

import asyncio
import contextlib
import dataclasses
import errno
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.console import extras
from pipeline.errors import InputError, JobError, StorageError

STORES: dict[str, tuple[str, dict[str, Any]]] = {
    # Uploads are compared with the store's MD5.
    "gs": ("gcp", {"consistency": "md5"}),
    # One request per object without asking for its size first, as many connections as parallel reads, and up to 8
    # tries with random growing waits.
    "s3": (
        "aws",
        {
            "max_concurrency": 1,
            "config_kwargs": {"max_pool_connections": 128, "retries": {"mode": "standard", "max_attempts": 8}},
        },
    ),
}
"""Scheme -> (the extra that installs its library, our settings beyond its defaults).

Both libraries retry 429, 500, 503 and dropped connections with growing waits. Endpoints and keys come from the
environment, as their documentation says.
"""


class ChangedError(Exception):
    """A conditional write failed: the object is not, or no longer, at the expected version."""


@dataclasses.dataclass(frozen=True, order=True)
class ObjectPath:
    """The URL of an object, or of a folder of objects; the part of `pathlib.Path` that this package uses."""

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

    def unlink(self, missing_ok: bool = False) -> None:
        with contextlib.suppress(FileNotFoundError) if missing_ok else contextlib.nullcontext():
            self._call("rm_file")

    def read_range(self, start: int, end: int) -> bytes:
        """Returns the bytes from `start` to `end`, or to the end of the object."""
        return self._call("cat_file", start=start, end=end)

    def upload(self, file: Path) -> None:
        """Puts a local file into the store in one piece."""
        with store_errors(self):
            self.filesystem.put_file(str(file), self.url)

    def download(self, file: Path) -> None:
        """Copies the object to a local file."""
        with store_errors(self):
            self.filesystem.get_file(self.url, str(file))

    def children(self) -> list[dict[str, Any]]:
        """Returns what `fsspec` lists directly below this folder; empty if it does not exist."""
        with store_errors(self):
            try:
                return self.filesystem.ls(self.url, detail=True, refresh=True)
            except FileNotFoundError:
                return []

    def descendants(self) -> list[dict[str, Any]]:
        """Returns what `fsspec` finds below this folder at any depth; `name` is relative to it."""
        with store_errors(self):
            found = self.filesystem.find(self.url, detail=True)
        start = len(self.url.partition("://")[2]) + 1
        return [{**info, "name": name[start:]} for name, info in found.items()]

    def stamp(self) -> str:
        """Returns the store's own checksum of the object, as a listing gives it."""
        return stamp_of(self._call("info"))

    def modified(self) -> float:
        """Returns when the object was last written by the store's clock, in seconds since 1970."""
        return self._call("modified").timestamp()

    def version(self) -> str:
        """Returns what identifies this state of the object: generation (GCS) or ETag (S3)."""
        info = self._call("info", refresh=True) if self._scheme == "s3" else self._call("info")
        return str(info.get("generation") or info["ETag"])

    def write_if(self, data: bytes, version: str | None) -> str:
        """Writes the object if it is at `version` (`None`: does not exist yet), in one atomic step.

        Returns:
          The new version.

        Raises:
          ChangedError: the object is at another version.
        """
        write = {"gs": _write_gcs_if, "s3": _write_s3_if}[self._scheme]
        with store_errors(self):
            return write(self, data, version)

    @property
    def filesystem(self) -> Any:
        """The `fsspec` file system; one per process."""
        extra, settings = STORES[self._scheme]
        try:
            return _filesystem_class(self._scheme)(use_listings_cache=False, **settings)
        except ImportError as error:
            raise InputError(f"{self}: needs more libraries ({error}): {extras.install(extra)}") from None

    @property
    def _scheme(self) -> str:
        return self.url.partition("://")[0]

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with store_errors(self):
            return getattr(self.filesystem, method)(self.url, *args, **kwargs)


def _filesystem_class(scheme: str) -> Any:
    if scheme == "gs":
        # Not the class that `fsspec` returns for "gs", which asks a second service about every bucket.
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem
    import fsspec

    return fsspec.get_filesystem_class(scheme)


def _write_gcs_if(path: ObjectPath, data: bytes, version: str | None) -> str:
    # `pipe_file` knows only "must not exist"; this is the request below it. `_location` is private to gcsfs:
    # the endpoint of the emulator or of Google.
    filesystem = path.filesystem
    bucket, _, key = path.url.partition("://")[2].partition("/")
    url = f"{filesystem._location}/upload/storage/v1/b/{urllib.parse.quote(bucket)}/o"
    condition = {"ifGenerationMatch": version or "0"}
    try:
        answer = filesystem.call("POST", url, uploadType="media", name=key, data=data, json_out=True, **condition)
    except FileExistsError:  # gcsfs raises this for status 412
        raise ChangedError(str(path)) from None
    return str(answer["generation"])


def _write_s3_if(path: ObjectPath, data: bytes, version: str | None) -> str:
    condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
    try:
        return str(path.filesystem.pipe_file(path.url, data, **condition)["ETag"])
    except (FileExistsError, FileNotFoundError):
        raise ChangedError(str(path)) from None
    except OSError as error:
        # PreconditionFailed (412) is EINVAL in s3fs; ConditionalRequestConflict (409) is another writer at work.
        if error.errno == errno.EINVAL or "ConditionalRequestConflict" in str(error.__cause__):
            raise ChangedError(str(path)) from None
        raise


def stamp_of(info: dict[str, Any]) -> str:
    """Returns the store's own checksum in an entry of a listing.

    Google's is the MD5 of the content; Amazon's is that only for objects of one part in plain storage. Either changes
    with the content, and that is all that callers rely on.
    """
    return str(info.get("md5Hash") or info.get("ETag") or "").strip('"')


def read_together(parts: Sequence[tuple[ObjectPath, int | None, int | None]]) -> list[bytes | Exception]:
    """Returns the bytes of each (object, start, end), all requested at once, or the error of each.

    In sequence, every read would wait for the store; together they wait once.
    """
    from fsspec.asyn import sync

    filesystem = parts[0][0].filesystem
    found = sync(filesystem.loop, _cat_files, filesystem, parts)
    return [
        b""
        if start == 0 and _is_past_the_end(result)  # of an empty object
        else result
        if isinstance(result, bytes | FileNotFoundError)
        else store_error(path, result)
        for (path, start, _), result in zip(parts, found, strict=True)
    ]


def _is_past_the_end(result: Any) -> bool:
    """Returns whether a store refused a range because the object has no such bytes (HTTP status 416)."""
    return isinstance(result, Exception) and (
        getattr(result, "code", None) == 416 or "range is not satisfiable" in str(result).lower()
    )


async def _cat_files(filesystem: Any, parts: Sequence[tuple[ObjectPath, int | None, int | None]]) -> list[Any]:
    # `fsspec`'s public `cat_ranges` refuses open ends; `_cat_file` is the coroutine below it.
    reads = (filesystem._cat_file(filesystem._strip_protocol(p.url), start=start, end=end) for p, start, end in parts)
    return await asyncio.gather(*reads, return_exceptions=True)


@contextlib.contextmanager
def store_errors(place: object) -> Iterator[None]:
    """Turns whatever a store's library raises after its last try into a `StorageError` of one line.

    Not an `OSError`: a store that does not answer says nothing about the image that was requested.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, ChangedError, InputError, JobError):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # on this machine
            raise
        raise store_error(place, error) from error
    except Exception as error:
        raise store_error(place, error) from error


def store_error(place: object, error: BaseException) -> StorageError:
    """Returns the error for a request that failed for good."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return StorageError(f"{place}: the store failed after every try ({text}); run the same command again to continue")
