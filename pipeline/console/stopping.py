"""Ctrl-C and SIGTERM, which end a command even if they arrive deep inside a library."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from pipeline.errors import EXIT_STOPPED

REMINDER_SECONDS = 1.0

DEFERRED_SECONDS = 0.05

LONGEST_SECONDS = 20.0
"""Time to clean up: a thread that waits forever for a lock must not keep a command alive. Work can be resumed."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stopping:
    """Raises `KeyboardInterrupt` at a signal, and again each second until it is being handled.

    C code that clears all errors swallows the exception: of 36 raised while this project was imported, two were lost
    in NumPy, and the command continued. Python's own import machinery is never interrupted: it could keep a lock that
    other threads wait for.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self._reminding = self._deferred = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._remind, name="stopping", daemon=True)
        self._main = threading.get_ident()

    def handle(self, number: int, frame: FrameType | None) -> None:
        reminding, self._reminding = self._reminding, False
        if reminding and _is_being_handled():
            return
        self.signals.append(number)
        self._deferred = frame is not None and (
            frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code is _report_unraisable.__code__
        )
        if len(self.signals) == 1:
            self._thread.start()
        if not self._deferred:
            raise KeyboardInterrupt

    def close(self) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _remind(self) -> None:
        began = time.monotonic()
        while not self._done.wait(DEFERRED_SECONDS if self._deferred else REMINDER_SECONDS):
            if time.monotonic() - began > LONGEST_SECONDS:
                sys.stderr.write("Error: stopped\n")
                sys.stderr.flush()
                os._exit(EXIT_STOPPED)
            self._reminding = True
            signal.pthread_kill(self._main, signal.SIGINT)


def _is_being_handled() -> bool:
    """Returns whether the main thread is handling a `KeyboardInterrupt`, or an exception that followed from it."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _report_unraisable(unraisable: Any) -> None:
    """Reports an exception that Python cannot raise, as in a callback; `KeyboardInterrupt` is raised again later."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


_active: _Stopping | None = None


@contextlib.contextmanager
def stopping() -> Iterator[list[int]]:
    """Makes Ctrl-C and SIGTERM raise `KeyboardInterrupt` in the block, so that temporary files are removed and locks
    released; yields the list to which signals that arrive are added.

    A block inside another shares the outer one's list. Outside the main thread, a block does nothing.
    """
    global _active
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    if _active is not None:
        yield _active.signals
        return
    _active = _Stopping()
    before = {number: signal.signal(number, _active.handle) for number in SIGNALS}
    hook, sys.unraisablehook = sys.unraisablehook, _report_unraisable
    try:
        yield _active.signals
    finally:
        _active.close()
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        _active = None
