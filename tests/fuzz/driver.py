"""Runs targets in worker processes, and blames the case at which one died."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.fuzz import registry, worker

ROOT = Path(__file__).parents[2]
BATCH = 20_000
"""Cases of one process: few enough that a leak shows, enough that its start does not count."""

STALLED = 4 * worker.HANG
"""Seconds without progress after which a process is killed: its decoder hangs and no signal reaches Python."""


@dataclasses.dataclass
class Result:
    """The outcome of one target."""

    cases: int = 0
    outcomes: Counter[str] = dataclasses.field(default_factory=Counter)
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    peak_kib: tuple[int, int] = (0, -1)

    def add(self, report: dict[str, Any]) -> None:
        self.outcomes.update(report["outcomes"])
        self.counts.update(report["counts"])
        self.failures += report["failures"]
        self.slowest = max(self.slowest, tuple(report["slowest"]))
        self.peak_kib = max(self.peak_kib, tuple(report["peak_kib"]))


def shares(names: list[str], cases: int) -> dict[str, int]:
    """Returns how many of the cases each target gets, by the weights of the targets."""
    total = sum(registry.find(name).weight for name in names)
    return {name: max(1, round(cases * registry.find(name).weight / total)) for name in names}


def run(names: list[str], cases: int, seed: int, jobs: int, log: Callable[[str], None] = print) -> dict[str, Result]:
    """Runs so many cases in all and returns the results by target."""
    results = {name: Result() for name in names}
    batches = [
        (name, start, min(start + BATCH, count))
        for name, count in shares(names, cases).items()
        for start in range(0, count, BATCH)
    ]

    def one_batch(batch: tuple[str, int, int]) -> None:
        name, start, end = batch
        for report in _reports(name, seed, start, end):
            results[name].add(report)
        results[name].cases += end - start
        failed = len(results[name].failures)
        log(f"{name}: cases {start:,} to {end:,} done, {failed} failures so far")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one_batch, batches))
    return results


def _reports(name: str, seed: int, start: int, end: int) -> list[dict[str, Any]]:
    """Runs cases in one process, or in several where they die; returns the report of each."""
    reports = []
    while start < end:
        with tempfile.TemporaryDirectory(prefix="fuzz-driver-") as folder:
            code = _run_worker(name, seed, start, end, Path(folder))
            if code == 0:
                return [*reports, _read(Path(folder))]
            position = _position(Path(folder))
            if position is None:
                raise RuntimeError(
                    f"the worker of target {name} does not start; run it: python -m tests.fuzz.worker {name} {seed} {start} {end} /tmp"
                )
            reports += _reports(name, seed, start, position)  # again: a report is written only at the end
            kind = "hang" if code == -signal.SIGKILL else "crash"
            reports.append(_failure(position, kind, f"the process ended with {code}"))
            start = position + 1
    return reports


def _run_worker(name: str, seed: int, start: int, end: int, folder: Path) -> int:
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(seed), str(start), str(end), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", "OPENCV_LOG_LEVEL": "OFF"}
    with open(folder / "stderr", "wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
        before, since = None, time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            if (now := _position(folder)) != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > STALLED:
                process.kill()
        return process.wait()


def _position(folder: Path) -> int | None:
    try:
        data = (folder / "position").read_bytes()
    except FileNotFoundError:
        return None
    return worker.POSITION.unpack(data)[0] if len(data) == worker.POSITION.size else None


def _read(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def _failure(case: int, kind: str, detail: str) -> dict[str, Any]:
    failure = {"case": case, "kind": kind, "detail": detail, "data": ""}
    return {"outcomes": {kind: 1}, "counts": {}, "failures": [failure], "slowest": (0.0, -1), "peak_kib": (0, -1)}
