"""Ctrl-C that a library swallows or makes something else of."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import types

import click
import pytest

from pipeline.console import stopping
from pipeline.errors import InputError, one_line_errors
from tests.support.installed import ROOT


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(stopping, "REMINDER_SECONDS", 0.02)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


def test_an_interrupt_that_a_library_swallows_is_raised_again():
    with pytest.raises(KeyboardInterrupt), stopping.stopping() as signals:
        with contextlib.suppress(KeyboardInterrupt):
            interrupt()
        assert signals
        time.sleep(10)


def test_python_s_import_machinery_is_interrupted_a_moment_later(monkeypatch):
    frame = types.SimpleNamespace(f_code=types.SimpleNamespace(co_filename="<frozen importlib._bootstrap>"))
    with pytest.raises(KeyboardInterrupt), stopping.stopping() as signals:
        signal.getsignal(signal.SIGINT)(signal.SIGINT, frame)
        assert signals
        time.sleep(10)


def test_an_interrupt_in_a_callback_is_not_reported_but_raised_again(capsys):
    class Callback:
        def __del__(self):
            interrupt()

    with pytest.raises(KeyboardInterrupt), stopping.stopping():
        Callback()
        time.sleep(10)
    assert capsys.readouterr().err == ""


def test_a_command_that_hangs_while_it_cleans_up_is_ended():
    code = (
        "import os, signal, time; from pipeline.console import stopping; stopping.LONGEST_SECONDS = 0.1\n"
        "with stopping.stopping():\n"
        "  try: os.kill(os.getpid(), signal.SIGINT); time.sleep(1)\n"
        "  finally: time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (130, "Error: stopped\n")


def test_cleaning_up_is_not_interrupted_again():
    cleaned = False
    with pytest.raises(KeyboardInterrupt), stopping.stopping():
        try:
            interrupt()
        finally:
            time.sleep(0.2)
            cleaned = True
    assert cleaned


def test_a_second_ctrl_c_ends_the_cleaning_up():
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), stopping.stopping():
        try:
            interrupt()
        finally:
            interrupt()
            time.sleep(10)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "made", [RuntimeError("KeyboardInterrupt"), ImportError("no module"), InputError("not installed")]
)
def test_whatever_a_library_makes_of_it_the_command_was_stopped(made):
    with pytest.raises(click.ClickException, match="^stopped here$") as caught, one_line_errors("stopped here"):
        try:
            interrupt()
        except KeyboardInterrupt:
            raise made from None
    assert caught.value.exit_code == 130


def test_handlers_are_those_of_before():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stopping.stopping(), stopping.stopping():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
