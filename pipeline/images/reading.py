"""Reads image files, with retries if a disk fails, and digests of what was read."""

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Iterator, Sequence

from pipeline.errors import StorageError
from pipeline.images import limits
from pipeline.images.limits import Unusable
from pipeline.images.sources import Entry, Images

WAITS = (0.1, 0.4, 1.6)
"""Seconds before each further try to read a file that could not be read."""


def read(images: Images, name: str, max_bytes: int = limits.MAX_BYTES) -> bytes:
    """Returns the bytes of a file; if a disk fails, tries again.

    Raises:
      FileNotFoundError: there is no such file.
      Unusable: it is larger than `max_bytes`, not a regular file, or in a damaged zip.
      StorageError: it could not be read; that says nothing about its content.
    """
    for wait in (*WAITS, None):
        try:
            return images.read(name, max_bytes)
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


@dataclasses.dataclass(frozen=True)
class Digested:
    """Images whose content is added to a digest as it is read.

    `found` is `{name: SHA-256 (hex)}` of the files read so far.
    """

    images: Images
    found: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def threads(self) -> int:
        return self.images.threads

    def entries(self, *, deep: bool = False) -> Iterator[Entry]:
        return self.images.entries(deep=deep)

    def fresh(self) -> "Digested":
        return Digested(self.images.fresh())

    def read(self, name: str, max_bytes: int = limits.MAX_BYTES) -> bytes:
        data = read(self.images, name, max_bytes)
        self.found[name] = hashlib.sha256(data).hexdigest()
        return data

    def together(self, names: Sequence[str], max_bytes: int = limits.MAX_BYTES) -> "Digested":
        return Digested(self.images.together(names, max_bytes), self.found)

    def digest(self) -> str:
        """Returns a digest (128 bits, hex) of the names and contents of all files read, in any order."""
        rows = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.found.items()))
        return hashlib.sha256(rows.encode()).hexdigest()[:32]


def digest_of(images: Images, names: Sequence[str], max_bytes: int = limits.MAX_BYTES) -> str:
    """Returns the same as `Digested.digest` did, if these files have not changed since they were read.

    Raises:
      StorageError: a file cannot be read after every try.
    """
    digested = Digested(images).together(names, max_bytes)
    for name in names:
        with contextlib.suppress(FileNotFoundError, Unusable):  # such a file is not part of the digest
            digested.read(name, max_bytes)
    return digested.digest()
