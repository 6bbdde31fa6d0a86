"""Ctrl-C while the main thread is in a library's code."""

import signal
import subprocess
import sys
import threading

import pytest

from model.training import stopping

STEP = """
import hashlib, sys
from model.training import stopping
def say(line):
    print(line, file=sys.stderr, flush=True)
with stopping.requested_by_signals(lambda: None, say):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # releases the lock of the interpreter, as a step does
"""


@pytest.mark.timeout(60)
def test_the_first_ctrl_c_is_answered_at_once_and_the_second_ends_the_process():
    process = subprocess.Popen(
        [sys.executable, "-c", STEP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == (
        "stopping after this step; Ctrl-C again stops at once and loses what came after the last checkpoint\n"
    )
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.stderr.read() == "Error: stopped at once; --resume continues from the last checkpoint\n"
    assert process.wait() == 130


def test_handlers_are_as_before_after_the_block():
    before = signal.getsignal(signal.SIGINT)
    said, requests = [], []
    with stopping.requested_by_signals(lambda: requests.append(1), said.append):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert (said, requests) == ([stopping.FIRST], [1, 1])
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_other_threads_have_no_signals():
    done = []

    def work():
        with stopping.requested_by_signals(lambda: None, print):
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
