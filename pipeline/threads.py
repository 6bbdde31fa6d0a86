"""Threads: how many to use, a map with bounded look-ahead, and periodic calls in the background."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def num_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sharing_environment(num_processes: int) -> dict[str, str]:
    """Returns the environment variables that give each of several processes an equal part of this one's cores.

    TensorFlow divides each operation among its threads, which then wait for each other. Variables that are already
    set stay as they are.
    """
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    num = str(max(1, num_cores() // num_processes))
    return {name: os.environ.get(name, num) for name in names}


def map_ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], look_ahead: int) -> Iterator[R]:
    """Yields `function(item)` in order, computed in `pool`, with at most `look_ahead` results in memory.

    `ThreadPoolExecutor.map` submits all items at once and holds every result that is not consumed yet.
    """
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= look_ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


@contextlib.contextmanager
def calling_every(seconds: float, function: Callable[[], None], name: str) -> Iterator[None]:
    """Calls `function` every `seconds` in a background thread while the block runs."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(seconds):
            function()

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
