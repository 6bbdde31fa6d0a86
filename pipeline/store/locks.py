"""Locks: one build at a time in one place.

On a disk the kernel's lock ends with the process that holds it. An object store has no such locks, so there a lock is
an object that its holder rewrites three times in `LEASE_SECONDS`. It is taken, renewed and taken over only by
conditional writes, so only one of two builds that find a dead holder's lock wins. Age is measured by the store's clock.
"""

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import InputError, JobError
from pipeline.store.objects import ChangedError, ObjectPath
from pipeline.threads import calling_every

LEASE_SECONDS = 90.0
"""How long a build that died blocks its place in an object store, in seconds."""

CheckHeld = Callable[[], None]
"""Raises `JobError` if the lock was lost: to be called before anything that two builds must not do at once."""


class NotWritableError(InputError):
    """The place cannot be written; a dataset that is there already can still be read."""


@contextlib.contextmanager
def disk_lock(path: Path) -> Iterator[CheckHeld]:
    """Holds the lock file at `path`.

    Raises:
      InputError: another process holds it, it cannot be written (`NotWritableError`) or locked, or it is a link.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Through a link, this could open or create any file that the user may write.
        file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "rb")  # noqa: SIM115
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path}: is a link, expected a file or nothing there; remove the link") from None
        raise NotWritableError(
            f"{path.parent}: cannot be written ({error.strerror}); choose another data directory"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{path.parent}: another build is running there; wait for it to finish, or stop it"
            ) from None
        except OSError as error:
            raise InputError(
                f"{path}: cannot be locked ({error.strerror}); choose a data directory on a file system with locks"
            ) from None
        yield lambda: None


@contextlib.contextmanager
def store_lock(path: ObjectPath) -> Iterator[CheckHeld]:
    """Holds the lock object at `path` and renews it.

    Raises:
      InputError: another build holds it.
      StorageError: the store does not answer.
    """
    lease = _Lease(path)
    lease.take()
    try:
        with calling_every(LEASE_SECONDS / 3, lease.renew, name="lock"):
            yield lease.check_held
    except KeyboardInterrupt:
        lease.check_held()  # the message about a lost lock is the better one
        raise
    finally:
        lease.release()


class _Lease:
    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self._lost = False
        self._id = uuid.uuid4().hex
        self._thread = threading.current_thread()

    def take(self) -> None:
        """Writes the lock object, or takes it over from a dead holder."""
        try:
            self._write(None)
        except ChangedError:
            try:
                version = self._path.version()
                self._refuse_if_alive(_holder(self._path.read_bytes()))
                self._write(version)
            except (ChangedError, FileNotFoundError):
                raise self._busy("it took the lock just now") from None

    def renew(self) -> None:
        """Rewrites the lock object; a store that fails is tried again at the next call.

        A build that lost its lock is stopped as by Ctrl-C: in a store, shards are written where they will be
        published, and another build may be writing there by now.
        """
        if self._lost:
            return
        try:
            self._write(self._version)
        except ChangedError:
            self._lost = True
        except JobError:
            self._lost = _now() - self._renewed > LEASE_SECONDS
        if self._lost and self._thread is threading.main_thread() and self._thread.ident:
            signal.pthread_kill(self._thread.ident, signal.SIGINT)

    def check_held(self) -> None:
        """Raises `JobError` if another build may hold the lock by now."""
        if self._lost or _now() - self._renewed > LEASE_SECONDS:
            raise JobError(
                f"{self._path.parent}: this build lost its lock there, so nothing was published; "
                "run the same command again to continue"
            )

    def release(self) -> None:
        """Removes the lock object, unless another build holds it by now."""
        with contextlib.suppress(JobError):
            self.check_held()
            self._path.unlink(missing_ok=True)

    def _write(self, version: str | None) -> None:
        began = _now()
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "lease": self._id, "renewal": uuid.uuid4().hex}
        try:
            self._version = self._path.write_if(json.dumps(holder).encode(), version)
        except ChangedError:
            # A library repeats a request whose answer was lost: the first succeeded, and the second was refused.
            own = self._own_version()
            if own is None:
                raise
            self._version = own
        self._renewed = began

    def _own_version(self) -> str | None:
        """Returns the version of the lock object if this lease wrote it."""
        with contextlib.suppress(FileNotFoundError):
            version = self._path.version()
            if f'"lease": "{self._id}"'.encode() in self._path.read_bytes():
                return version
        return None

    def _refuse_if_alive(self, holder: tuple[str, int]) -> None:
        host, pid = holder
        here = host == socket.gethostname()
        age = self._age()
        # A live process with this number may be a different one, as after a restart: then the lock's age decides.
        if age < LEASE_SECONDS and (not here or _is_alive(pid)):
            who = f"process {pid} on {host}, last active {age:.0f} s ago"
            raise self._busy(who, f"; its lock expires {LEASE_SECONDS:.0f} s after its last renewal")

    def _busy(self, who: str, more: str = "") -> InputError:
        return InputError(
            f"{self._path.parent}: another build is running there ({who}); wait for it to finish, or stop it{more}"
        )

    def _age(self) -> float:
        """Returns seconds since the lock was renewed, both times by the store's clock."""
        probe = self._path.with_name(f"{self._path.name}-{uuid.uuid4().hex}")
        probe.write_bytes(b"")
        try:
            return max(0.0, probe.modified() - self._path.modified())
        finally:
            probe.unlink(missing_ok=True)


def _now() -> float:
    """Returns seconds of a clock that keeps running while the machine sleeps, as `time.monotonic` does not on Linux."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _holder(data: bytes) -> tuple[str, int]:
    """Returns (host, process id) of a lock object; ("", 0) for a damaged object, of which only the age counts."""
    try:
        holder = json.loads(data)
        return str(holder["host"]), int(holder["pid"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return "", 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
