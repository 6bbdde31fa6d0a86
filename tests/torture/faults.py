"""Faults at the level of the operating system: the n-th file operation of a process fails, or ends the process.

SQLite's method: n counts up from 0 until a build ends without reaching the fault, so every moment of a build is met.
`Injector.install` replaces the functions of this process for good: only for processes forked for one build.
"""

import builtins
import dataclasses
import errno
import fcntl
import io
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

CHANGES = ("open", "write", "close", "mkdir", "rename", "unlink", "rmdir", "fsync", "lock")
"""Operations that change something."""

READS = ("read", "list", "stat")

KILLS = {"before": "SIGKILL before", "half": "SIGKILL half-way through", "after": "SIGKILL after"}

ERRORS = {"ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT, "EIO": errno.EIO, "EROFS": errno.EROFS}


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens at operation `at` of those in `operations`.

    `action` is a key of `KILLS` or of `ERRORS`, "short" (writes take half of the bytes), or "slow" (waits of up to 20
    ms). With `lasting`, all later operations fail too.
    """

    action: str
    at: int = 0
    lasting: bool = False
    operations: tuple[str, ...] = CHANGES
    seed: int = 0


NONE = Fault("none", at=-1)


class Injector:
    """Counts the operations below `roots` and injects a fault; `hit(label)` is called just before it happens."""

    def __init__(self, fault: Fault, roots: list[Path], hit: Callable[[str], None]) -> None:
        self._fault, self._hit = fault, hit
        self._roots = tuple(f"{root}{end}" for root in roots for end in ("/", ""))
        self._lock = threading.Lock()
        self._random = random.Random(fault.seed)
        self.count = 0

    def covers(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._roots)

    def step(self, operation: str, path: object, call: Callable, half: Callable | None = None):
        """Runs one operation, or the fault in its place."""
        fault = self._fault
        if operation not in fault.operations:
            return call()
        with self._lock:
            number = self.count
            self.count += 1
            delay = self._random.random() * 0.02
        if fault.action == "slow" and number >= fault.at:
            time.sleep(delay)
        if fault.action == "short" and operation == "write" and number >= fault.at:
            self._hit("write")
            return (half or call)()
        if not (number == fault.at or (fault.lasting and number > fault.at)) or fault.action in ("slow", "short"):
            return call()
        self._hit(f"{operation} {path}")
        if fault.action == "after":
            call()
        if half is not None and fault.action in ("half", "ENOSPC", "EDQUOT"):
            half()  # a disk fills up in the middle of a write
        if fault.action in KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        number = ERRORS[fault.action]
        raise OSError(number, os.strerror(number), path if isinstance(path, str) else os.fspath(path))

    def install(self) -> None:
        """Replaces the functions of this process through which files are read and written."""
        for name, operation in {
            "replace": "rename", "rename": "rename", "unlink": "unlink", "remove": "unlink", "mkdir": "mkdir",
            "rmdir": "rmdir", "scandir": "list", "stat": "stat",
        }.items():  # fmt: skip
            setattr(os, name, self._patched(getattr(os, name), operation))
        real_fsync, real_flock, real_os_open = os.fsync, fcntl.flock, os.open

        def os_open(path, flags, *args, **kwargs):
            call = lambda: real_os_open(path, flags, *args, **kwargs)  # noqa: E731
            if self.covers(path) and flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                return self.step("open", path, call)
            return call()

        os.open = os_open
        os.fsync = lambda descriptor: self.step("fsync", _name(descriptor), lambda: real_fsync(descriptor))
        fcntl.flock = lambda file, how: self.step("lock", _name(file.fileno()), lambda: real_flock(file, how))
        builtins.open = io.open = self._open

    def _patched(self, real: Callable, operation: str) -> Callable:
        def patched(path=".", *args, **kwargs):
            if self.covers(path) or kwargs.get("dir_fd") is not None:
                return self.step(operation, path, lambda: real(path, *args, **kwargs))
            return real(path, *args, **kwargs)

        return patched

    def _open(self, file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        if not self.covers(file):
            return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        writing = any(letter in mode for letter in "wxa+")
        plain = mode.replace("b", "").replace("t", "")

        def call():
            return _Raw(file, plain, closefd, opener)

        raw = self.step("open" if writing else "read", file, call)
        raw.injector, raw.writing = self, writing
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedWriter if writing else io.BufferedReader
        buffered = kind(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)


class _Raw(io.FileIO):
    """A file whose reads and writes are operations."""

    injector: Injector
    writing = False

    def write(self, data):
        view = memoryview(data).cast("B")

        def half():
            return super(_Raw, self).write(view[: max(1, len(view) // 2)])

        return self.injector.step("write", self.name, lambda: super(_Raw, self).write(view), half)

    def readinto(self, buffer):
        return self.injector.step("read", self.name, lambda: super(_Raw, self).readinto(buffer))

    def readall(self):
        return self.injector.step("read", self.name, lambda: super(_Raw, self).readall())

    def read(self, size=-1):
        return self.injector.step("read", self.name, lambda: super(_Raw, self).read(size))

    def close(self):
        was_open, descriptor_is_ours = not self.closed, hasattr(self, "injector")
        super().close()
        if was_open and descriptor_is_ours and self.writing:
            self.injector.step("close", self.name, lambda: None)


_real_open = builtins.open


def _name(descriptor: object) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return str(descriptor)


def phase(label: str) -> str:
    """Returns which part of a build an operation belongs to, in words for a table."""
    operation, _, text = label.partition(" ")
    path = Path(text)
    folder, name = path.parent.name, path.name
    if name.endswith(".lock"):
        return "lock"
    if operation == "rename" and (folder == "16" or name in ("shards",)):
        return "publication"
    if folder in ("tasks", "reports", "work"):
        return {"tasks": "tasks", "reports": "report", "work": "marks"}[folder]
    if folder == "shards":
        return "shard" if ".tfrecord-" in name else "metadata"
    if ".replaced" in text or not path.is_absolute() or operation == "rmdir":
        return "clean-up"
    if ".listing" in name or folder == ".config":
        return "after publication"
    if folder == "train" or name == "train.csv":
        return "source"
    return "folders"
