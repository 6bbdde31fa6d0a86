"""Ctrl-C and SIGTERM while a network trains."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from pipeline.console.stopping import SIGNALS
from pipeline.errors import EXIT_STOPPED

FIRST = "stopping after this step; Ctrl-C again stops at once and loses what came after the last checkpoint"
AGAIN = "Error: stopped at once; --resume continues from the last checkpoint"


@contextlib.contextmanager
def requested_by_signals(request: Callable[[], None], say: Callable[[str], None]) -> Iterator[None]:
    """Calls `request` at the first Ctrl-C or SIGTERM in the block and says so; the same signal again ends the process.

    A thread prints and ends the process: Python calls signal handlers in the main thread, which is in TensorFlow's
    code until the step ends, or for minutes while it compiles. Outside the main thread, nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    previous = {number: signal.signal(number, lambda *_: request()) for number in SIGNALS}
    thread = threading.Thread(target=_answer, args=(reader, say), name="stopping training", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_writer)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(writer)
        thread.join()
        os.close(reader)


def _answer(reader: int, say: Callable[[str], None]) -> None:
    """Reads the numbers of signals until the pipe is closed."""
    seen: set[int] = set()
    while number := os.read(reader, 1):
        if number[0] in seen:
            say(AGAIN)
            sys.stdout.flush()
            os._exit(EXIT_STOPPED)
        if number[0] in SIGNALS:
            if not seen:
                say(FIRST)
            seen.add(number[0])
