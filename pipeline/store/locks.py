"""Locks: one build at a time in one place.

On a disk the kernel's lock ends with the process that holds it. An object store has no such locks, so there a lock is
an object that its holder rewrites three times in `LEASE_SECONDS`. It is taken, renewed and taken over only by
conditional writes, so of two builds that find a dead holder's lock one wins. Age is measured by the store's clock.
"""

import contextlib
import fcntl
import json
import os
import socket
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


@contextlib.contextmanager
def disk_lock(path: Path) -> Iterator[CheckHeld]:
    """Holds the lock file at `path`.

    Raises:
      InputError: another process holds it, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "w")  # noqa: SIM115
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be written ({error.strerror}); choose another data directory"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{path.parent}: another build is running there; wait for it to finish, or stop it"
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
    finally:
        lease.release()


class _Lease:
    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self._lost = False

    def take(self) -> None:
        """Writes the lock object, or takes it over from a holder that is dead."""
        try:
            self._write(None)
        except ChangedError:
            try:
                version = self._path.version()
                self._refuse_if_alive(json.loads(self._path.read_text()))
                self._write(version)
            except (ChangedError, FileNotFoundError):
                raise self._busy("it took the lock just now") from None

    def renew(self) -> None:
        """Rewrites the lock object; a store that fails is tried again at the next call."""
        try:
            self._write(self._version)
        except ChangedError:
            self._lost = True
        except JobError:
            pass

    def check_held(self) -> None:
        """Raises `JobError` if another build may hold the lock by now."""
        if self._lost or time.monotonic() - self._renewed > LEASE_SECONDS:
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
        began = time.monotonic()
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "renewal": uuid.uuid4().hex}
        self._version = self._path.write_if(json.dumps(holder).encode(), version)
        self._renewed = began

    def _refuse_if_alive(self, holder: dict[str, str | int]) -> None:
        here = holder["host"] == socket.gethostname()
        age = self._age()
        if _is_alive(int(holder["pid"])) if here else age < LEASE_SECONDS:
            who = f"process {holder['pid']} on {holder['host']}, last active {age:.0f} s ago"
            raise self._busy(who, "" if here else f"; its lock expires {LEASE_SECONDS:.0f} s after its last renewal")

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


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
