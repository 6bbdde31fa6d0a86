"""Commands of this project that run in separate processes and can be ended together."""

import contextlib
import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from pipeline.errors import InputError


@dataclasses.dataclass
class Processes:
    """Runs commands for several threads, until `terminate` ends all of them."""

    environment: Mapping[str, str]
    running: set[subprocess.Popen] = dataclasses.field(default_factory=set)
    ended: bool = False
    starting: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    """Held while a process starts: one that `terminate` did not see would run to its end."""

    @contextlib.contextmanager
    def pool(self, jobs: int) -> Iterator[ThreadPoolExecutor]:
        """Yields a pool of threads; if the block fails or is stopped, nothing more is started and all processes end."""
        pool = ThreadPoolExecutor(jobs)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            self.terminate()
            raise
        finally:
            pool.shutdown()

    def run(self, what: str, command: Sequence[object], log: Path) -> None:
        """Runs `python` with these arguments; its output goes to the end of the file `log`.

        Raises:
            InputError: it failed.
            CancelledError: `terminate` was called before it started.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a") as output:
            print(f"\n$ python {' '.join(map(str, command))}", file=output, flush=True)
            failed = self.call(command, output)
        if failed:
            last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
            raise InputError(f"{what} failed: {last}; {log} has all of it, and the same command continues")

    def call(self, command: Sequence[object], output: IO[str] | None = None) -> int:
        """Runs `python` with these arguments and returns its exit code; it prints to `output`, if given.

        Raises:
            CancelledError: `terminate` was called before it started.
        """
        # Unbuffered, so that an error on standard error comes after the lines printed before it.
        environment = {**self.environment, "PYTHONUNBUFFERED": "1"}
        with self.starting:
            if self.ended:
                raise CancelledError
            arguments = [sys.executable, *map(str, command)]
            process = subprocess.Popen(arguments, stdout=output, stderr=output, env=environment)
            self.running.add(process)
        try:
            return process.wait()
        except BaseException:  # Ctrl-C or SIGTERM, in the main thread
            process.terminate()
            process.wait()
            raise
        finally:
            self.running.discard(process)

    def terminate(self) -> None:
        """Asks running processes to stop (training saves its position); no more are started."""
        with self.starting:
            self.ended = True
            for process in list(self.running):
                process.terminate()
