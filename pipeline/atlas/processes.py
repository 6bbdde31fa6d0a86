"""A pool of drawing processes."""

import concurrent.futures.process
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence

from pipeline.errors import JobError


def map_unordered(
    function: Callable[[Sequence[int]], int], chunks: Sequence[Sequence[int]], workers: int
) -> Generator[int, None, None]:
    """Yields the results of `function` for every chunk, in any order, computed in `workers` processes.

    Raises:
      JobError: a process was killed.
    """
    # Spawned, not forked: a fork of a process with threads, such as a notebook, can deadlock.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start, (os.getpid(),))
    try:
        with _without_interrupts():  # processes started in the block inherit this
            submitted = [pool.submit(function, chunk) for chunk in chunks]
        for task in concurrent.futures.as_completed(submitted):
            yield task.result()
    except concurrent.futures.process.BrokenProcessPool:
        raise JobError(
            "a drawing process was killed, perhaps for lack of memory; run the same command with fewer than "
            f"{workers} workers: finished images are kept"
        ) from None
    except (KeyboardInterrupt, GeneratorExit):  # raised here, or where the results are used
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()  # the next run draws what is not finished
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(parent: int) -> None:
    """Prepares a worker: one OpenCV thread, Ctrl-C left to the parent, exit when the parent is gone."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def exit_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
