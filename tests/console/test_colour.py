"""Colour is shown where a terminal shows it."""

import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from tests.support.installed import ROOT


def shown_on_a_terminal(code: str, **environment: str) -> str:
    """Returns what a Python program writes to standard error if that is a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    subprocess.run([sys.executable, "-c", code], stderr=theirs, cwd=ROOT, env=known | {"TERM": "xterm"} | environment)
    os.close(theirs)
    return os.read(ours, 10_000).decode()


PROGRAM = """
from pipeline.cli import main
from pipeline.errors import echo
from pipeline.progress import Bar
with Bar("x") as bar:
    bar(1, 2)
echo("next: x", err=True)
echo("a SYNTHETIC dataset", err=True)
main(["verify", "nowhere"])
"""


def test_a_terminal_shows_errors_synthetic_data_progress_and_the_next_command_in_colour():
    shown = shown_on_a_terminal(PROGRAM)
    assert "\x1b[32mnext:\x1b[0m x" in shown
    assert "a \x1b[35m\x1b[1mSYNTHETIC\x1b[0m dataset" in shown
    assert "\x1b[31m\x1b[1mError:\x1b[0m" in shown
    assert re.search("\x1b\\[32m\N{FULL BLOCK}", shown)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_it_is_not_wanted(environment):
    shown = shown_on_a_terminal(PROGRAM, **environment)
    assert "next: x" in shown
    assert not re.search("\x1b\\[[0-9;]*m", shown)


def test_no_colour_in_a_file():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert "next: x" in done.stderr
    assert "Error:" in done.stderr
    assert "\x1b" not in done.stderr
