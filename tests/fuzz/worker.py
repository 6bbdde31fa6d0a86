"""Runs a range of cases of one target in a process that may die; the driver reads how far it got from a file."""

import json
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz import registry
from tests.fuzz.target import Case, Entry, Target, Wrong, draw

SLOW = 2.0
"""Seconds of processor time that a case may take."""

HANG = 20.0
"""Seconds after which a case counts as a hang; the processor may be busy with other work."""

POSITION = struct.Struct("<q")
MAX_KEPT = 20  # failures with their data in one report


class Hang(BaseException):
    """A case took too long; no handler of `Exception` swallows it."""


class Runner:
    """Judges cases one by one and keeps counts, extremes and failures."""

    def __init__(self, target: Target, entry: Entry):
        self.target, self.entry = target, entry
        self.outcomes: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []
        self.slowest, self.peak = (0.0, -1), (0, -1)  # (seconds or KiB, case)
        signal.signal(signal.SIGALRM, _raise_hang)

    def run(self, index: int, case: Case) -> str:
        """Judges one case by its answer, its time and its memory; returns the outcome or the kind of failure."""
        _reset_peak()
        before = _status("VmRSS")
        start = time.process_time()
        kind, detail = self._judge(case)
        seconds, kib = time.process_time() - start, _status("VmHWM") - before
        self.slowest, self.peak = max(self.slowest, (seconds, index)), max(self.peak, (kib, index))
        if not kind and seconds > SLOW:
            kind, detail = "slow", f"{seconds:.1f} s"
        if not kind and kib > self.entry.mib * 1024:
            kind, detail = "memory", f"{kib / 1024:.0f} MiB"
        self.outcomes[kind or detail] += 1
        if kind and len(self.failures) < MAX_KEPT:
            self.failures.append({"case": index, "kind": kind, "detail": detail, "data": case.data.hex()})
        return kind or detail

    def _judge(self, case: Case) -> tuple[str, str]:
        """Returns ("", outcome), or the kind of failure and its detail."""
        signal.setitimer(signal.ITIMER_REAL, HANG)
        try:
            return "", self.target.check(case)
        except Wrong as error:
            return "wrong", str(error)
        except Hang:
            return "hang", f"more than {HANG:.0f} s"
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return (
                "exception",
                f"{type(error).__name__}: {str(error)[:200]} ({Path(frame.filename).name}:{frame.lineno})",
            )
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def report(self) -> dict[str, Any]:
        return {
            "outcomes": dict(self.outcomes),
            "failures": self.failures,
            "slowest": self.slowest,
            "peak_kib": self.peak,
            "counts": getattr(self.target, "counts", {}),
        }


def main(name: str, seed: int, start: int, end: int, folder: Path) -> None:
    """Runs cases `start` to `end`; writes the index of the case at hand, and a report at the end."""
    entry = registry.find(name)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a disk is slower and wears
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as own:
        runner = Runner(entry.open(Path(own)), entry)
        _silence()
        _limit_memory(entry.mib)
        with open(folder / "position", "wb", buffering=0) as position:
            for index in range(start, end):
                os.pwrite(position.fileno(), POSITION.pack(index), 0)
                runner.run(index, draw(runner.target, name, seed, index))
            (folder / "report.json").write_text(json.dumps(runner.report()))


def _raise_hang(number: int, frame: FrameType | None) -> None:
    raise Hang


def _silence() -> None:
    """Sends what decoders print to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _limit_memory(mib: int) -> None:
    """Lets the process map four times what a case may take beyond what it has: an allocation that is larger fails."""
    limit = (_status("VmSize") + 4 * mib * 1024) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _status(name: str) -> int:
    """Returns a size of this process, in KiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
