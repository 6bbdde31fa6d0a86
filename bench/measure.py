"""Wall time and memory of commands, measured in alternating rounds."""

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
    """Figures of one command.

    `seconds` is wall time, -1 if the command did not finish in time. `peak_mb` is the peak of the resident memory of
    all its processes together. `own_mb` leaves out pages of files: most belong to libraries, and the kernel keeps more
    of them right after an installation. Memory shared by processes counts in each of them.
    """

    seconds: float
    peak_mb: float
    own_mb: float
    output: str

    @property
    def memory(self) -> dict[str, float]:
        """The figures of memory alone."""
        return {"peak_mb": self.peak_mb, "own_mb": self.own_mb}


def run(
    command: Sequence[str],
    *,
    timeout: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Runs the command to its end, in the folder `cwd`, with `env` added to the environment.

    Raises:
        RuntimeError: it failed; the message ends with the last lines of its output.
    """
    with tempfile.TemporaryFile("w+") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            list(command), stdout=output, stderr=subprocess.STDOUT, cwd=cwd, env=environment(env or {})
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
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}, expected 0:\n{text[-1500:]}")
    return Run(seconds, peak_mb, own_mb, text)


def environment(added: Mapping[str, str]) -> dict[str, str]:
    """Returns this process's environment variables, with `added`."""
    return {**os.environ, **added}


class _Peak(threading.Thread):
    """Samples the resident memory of a process and its descendants every 50 ms."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._done = pid, threading.Event()
        self._peak, self._own = 0.0, 0.0
        self.start()

    def run(self) -> None:
        while not self._done.wait(0.05):
            processes = [_memory(pid) for pid in _descendants(self._pid)]
            self._peak = max(self._peak, sum(resident for resident, _ in processes))
            self._own = max(self._own, sum(resident - of_files for resident, of_files in processes))

    def stop(self) -> tuple[float, float]:
        """Stops; returns the peaks of resident memory with and without pages of files, in MB."""
        self._done.set()
        self.join()
        return self._peak, self._own


def _descendants(pid: int) -> list[int]:
    """Returns the ids of a process and all its descendants."""
    pids = [pid]
    for parent in pids:  # grows meanwhile
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                pids += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
        except OSError:  # it has ended
            continue
    return pids


def _memory(pid: int) -> tuple[float, float]:
    """Returns a process's resident memory, and the part of it that holds pages of files, in MB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 0.0
    kib = dict(re.findall(r"^(VmRSS|RssFile):\s+(\d+) kB", status, re.MULTILINE))
    return int(kib.get("VmRSS", 0)) * 1024 / 1e6, int(kib.get("RssFile", 0)) * 1024 / 1e6


def alternate(
    contenders: Mapping[str, Callable[[int], dict[str, float]]], rounds: int, echo: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Runs all contenders in alternation, `rounds` times: A B C, A B C, ...

    Each contender is called with the number of the round and returns named figures. Returns, by contender and figure,
    the values of all rounds with five digits. A contender that raises `RuntimeError` is not run again; in place of
    figures it gets `failed`, the last line of the message.
    """
    values: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for name, contender in contenders.items():
            if name in failed:
                continue
            try:
                values[name].append(contender(number))
            except RuntimeError as error:
                failed[name] = str(error).rstrip().splitlines()[-1]
                echo(f"{name}: failed: {error}")
                continue
            echo(f"round {number + 1} of {rounds}: {name}: {_line(values[name][-1])}")
    return {
        name: {"failed": failed[name]}
        if name in failed
        else {key: [float(f"{figures[key]:.5g}") for figures in all_rounds] for key in all_rounds[0]}
        for name, all_rounds in values.items()
    }


def _line(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:,.4g}" for key, value in figures.items())


def last_json(text: str) -> Any:
    """Returns the value of the last line that is JSON, in which a contender reports its figures.

    Raises:
        RuntimeError: no line is JSON.
    """
    for line in reversed(text.splitlines()):
        try:
            return json.loads(line)
        except ValueError:
            continue
    raise RuntimeError(f"no figures in the output: {text[-500:]}")


def python(*arguments: object) -> list[str]:
    """Returns a command for this interpreter."""
    return [sys.executable, *map(str, arguments)]
