"""How are commands compared fairly on a noisy machine? Each in a process of its own, in turn, round after round."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of one command: wall seconds, memory of all its processes together at their peak, what it printed.

    `peak_mb` is all resident memory. `own_mb` leaves out pages of files (of libraries above all), of which the kernel
    keeps as many as it likes: on one machine, for the same library, twice as many after a fresh installation. Memory
    that processes share is counted in each of them. `seconds` is -1 if the command did not finish in time.
    """

    seconds: float
    peak_mb: float
    own_mb: float
    output: str

    @property
    def memory(self) -> dict[str, float]:
        """The figures of memory alone."""
        return {"peak_mb": self.peak_mb, "own_mb": self.own_mb}


def run(command: Sequence[str], *, timeout: float | None = None, env: Mapping[str, str] | None = None) -> Run:
    """Runs the command to its end.

    Raises:
        RuntimeError: it failed; the message ends with the last lines that it printed.
    """
    with tempfile.TemporaryFile("w+") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            list(command), stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
        peak = _Peak(process.pid)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return Run(-1.0, *peak.stop(), "")
        seconds = time.monotonic() - began
        peak_mb, own_mb = peak.stop()
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}: {text[-1500:]}")
    return Run(seconds, peak_mb, own_mb, text)


class _Peak(threading.Thread):
    """Watches the resident memory of a process and all that it started."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._done = pid, threading.Event()
        self._peak, self._own = 0.0, 0.0
        self.start()

    def run(self) -> None:
        while not self._done.wait(0.05):
            processes = [_memory(pid) for pid in _family(self._pid)]
            self._peak = max(self._peak, sum(resident for resident, _ in processes))
            self._own = max(self._own, sum(resident - of_files for resident, of_files in processes))

    def stop(self) -> tuple[float, float]:
        """Returns the peaks of resident memory, and of that which holds no pages of files, in MB."""
        self._done.set()
        self.join()
        return self._peak, self._own


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                found += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def _memory(pid: int) -> tuple[float, float]:
    """Returns a process's resident memory, and how much of it holds pages of files, in MB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 0.0
    found = dict(re.findall(r"^(VmRSS|RssFile):\s+(\d+) kB", status, re.MULTILINE))
    return int(found.get("VmRSS", 0)) * 1024 / 1e6, int(found.get("RssFile", 0)) * 1024 / 1e6


def interleaved(
    contenders: Mapping[str, Callable[[int], dict[str, float]]], rounds: int, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Measures all contenders in turn, `rounds` times over: A B C, A B C, ...

    Each gets the number of the round and returns named figures; returned are, for each contender and figure, the
    values of all rounds. One that fails is named, and told with its reason instead of figures.
    """
    values: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for name, measure in contenders.items():
            if name in failed:
                continue
            try:
                values[name].append(measure(number))
            except RuntimeError as error:
                failed[name] = str(error)
                say(f"{name}: failed: {error}")
                continue
            say(f"round {number + 1} of {rounds}: {name}: {figures(values[name][-1])}")
    return {
        name: {"failed": failed[name]}
        if name in failed
        else {key: [round(one[key], 4) for one in found] for key in found[0]}
        for name, found in values.items()
    }


def figures(found: Mapping[str, float]) -> str:
    """Returns the figures in one line."""
    return ", ".join(f"{key} {value:,.4g}" for key, value in found.items())


def last_json(text: str) -> Any:
    """Returns the value of the last line that is JSON: how a contender reports."""
    for line in reversed(text.splitlines()):
        try:
            return json.loads(line)
        except ValueError:
            continue
    raise RuntimeError(f"no figures in the output: {text[-500:]}")


def python(*arguments: object) -> list[str]:
    """Returns a command for this interpreter."""
    return [sys.executable, *map(str, arguments)]
