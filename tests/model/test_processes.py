"""Commands in separate processes, which end together."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from model import processes as processes_module
from model.processes import Processes
from pipeline.errors import InputError


def test_a_command_that_fails_is_named_with_its_last_line_and_its_log(tmp_path):
    processes, log = Processes({}), tmp_path / "logs/fold.log"
    with pytest.raises(InputError, match=r"grouped-0: training failed: Error: no such thing; .*fold.log has all of it"):
        processes.run(
            "grouped-0: training", ["-c", "import sys; print('first'); sys.exit('Error: no such thing')"], log
        )
    assert log.read_text().endswith("\nfirst\nError: no such thing\n")
    assert not processes.running


SLOW = ["-c", "import time; time.sleep(60)"]


def test_a_process_that_is_just_starting_ends_too(tmp_path, monkeypatch):
    processes, started, start = Processes({}), threading.Event(), subprocess.Popen

    def started_slowly(*arguments, **options):
        process = start(*arguments, **options)
        started.set()
        time.sleep(0.2)
        return process

    monkeypatch.setattr(processes_module.subprocess, "Popen", started_slowly)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(processes.run, "slow", SLOW, tmp_path / "slow.log")
        started.wait()
        processes.terminate()
        assert isinstance(slow.exception(timeout=30), InputError)


def test_nothing_is_started_after_the_end(tmp_path):
    processes = Processes({})
    processes.terminate()
    with pytest.raises(CancelledError):
        processes.run("late", ["-c", "print('started')"], tmp_path / "late.log")
    assert "started\n" not in (tmp_path / "late.log").read_text()


def test_a_command_ends_with_the_process_that_runs_it(tmp_path):
    """A signal to this process alone, as from a scheduler, leaves nothing running."""
    note = tmp_path / "process"
    child = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        "from model.processes import Processes; from pipeline.console import stopping\n"
        f"with stopping.stopping(): Processes({{}}).call(['-c', {child!r}])"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not (note.exists() and note.read_text()):
        assert parent.poll() is None
        time.sleep(0.01)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
