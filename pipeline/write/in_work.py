"""Which examples a process is decoding, in a file that outlives the process.

A decoder that crashes, or a killed process, cannot report what it was decoding. Each thread therefore has a slot in a
memory-mapped file, and writes the id of an example there before it decodes it. This takes no system call and much less
than a microsecond, and the kernel keeps the page when the process dies. The next run reads the slots that were not
cleared.
"""

import contextlib
import itertools
import mmap
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

SLOT_BYTES = 256
"""An id (200 bytes at most) after its length in one byte."""

_ENDING = ".slots"

Mark = Callable[[str], AbstractContextManager[None]]
"""Marks an example as being decoded while the block runs."""


@contextlib.contextmanager
def unmarked(example_id: str) -> Iterator[None]:
    """Marks nothing."""
    yield


class Slots:
    """The file of one process, with a slot for each of `num` threads."""

    def __init__(self, folder: Path, num: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{uuid.uuid4().hex}{_ENDING}"
        with open(self._path, "xb+") as file:
            # Not left sparse: on a full disk, the first write to a mapped hole would end the process (SIGBUS).
            file.write(bytes(num * SLOT_BYTES))
            file.flush()
            self._map = mmap.mmap(file.fileno(), num * SLOT_BYTES)
        self._mine = threading.local()
        self._next = itertools.cycle(range(num))

    @contextlib.contextmanager
    def mark(self, example_id: str) -> Iterator[None]:
        """Marks an example as being decoded by this thread while the block runs."""
        try:
            start = self._mine.start
        except AttributeError:
            start = self._mine.start = next(self._next) * SLOT_BYTES
        data = example_id.encode()[: SLOT_BYTES - 1]
        self._map[start + 1 : start + 1 + len(data)] = data
        self._map[start] = len(data)  # last: a slot with a length is complete
        try:
            yield
        finally:
            self._map[start] = 0

    def close(self) -> None:
        """Removes the file."""
        self._map.close()
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def marking(folder: Path | None, num: int) -> Iterator[Mark]:
    """Yields a function that marks examples in a new file in `folder`, for `num` threads; marks nothing if `None`."""
    if folder is None:
        yield unmarked
        return
    slots = Slots(folder, num)
    try:
        yield slots.mark
    finally:
        slots.close()


def left(folder: Path) -> set[str]:
    """Returns the ids that dead processes were decoding. Call only while no process is running."""
    return {example_id for path in folder.glob(f"*{_ENDING}") for example_id in _marked(path.read_bytes())}


def _marked(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), SLOT_BYTES):
        if length := data[start]:
            yield data[start + 1 : start + 1 + length].decode(errors="replace")


def clear(folder: Path) -> None:
    """Removes the files of dead processes."""
    for path in folder.glob(f"*{_ENDING}"):
        path.unlink(missing_ok=True)
