"""What commands show of errors, and their exit codes."""

import re
import signal
import subprocess
import sys
import time

import click
import pytest

from pipeline import errors
from pipeline.console import extras
from pipeline.errors import DivergedError, InputError, JobError, MissingError, StoppedError, StorageError
from tests.support.sources import draw_source


def outcome(error: BaseException) -> tuple[int, str]:
    with pytest.raises(click.ClickException) as caught, errors.one_line_errors("stopped here"):
        raise error
    return caught.value.exit_code, caught.value.message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("wrong"), (1, "wrong")),
        (MissingError("missing"), (1, "missing")),
        (DivergedError("not finite"), (1, "not finite")),
        (OSError(28, "PLACE: the disk is full"), (1, "PLACE: the disk is full")),
        (PermissionError(13, "Permission denied", "file"), (1, "[Errno 13] Permission denied: 'file'")),
        (JobError("the cluster failed"), (3, "the cluster failed")),
        (StorageError("the store failed"), (3, "the store failed")),
        (StoppedError("stopped at step 7"), (130, "stopped at step 7")),
        (KeyboardInterrupt(), (130, "stopped here")),
    ],
)
def test_exit_codes_tell_input_from_failures(error, expected):
    assert outcome(error) == expected


def test_a_package_of_an_extra_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    monkeypatch.setattr(extras, "_installed_from", lambda: None)
    expected = "Matplotlib is not installed, which this command needs: pip install 'hpa-stacked[train]'"
    assert outcome(ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")) == (1, expected)
    with pytest.raises(ModuleNotFoundError), errors.one_line_errors():
        raise ModuleNotFoundError(name="pipeline.missing")


def test_a_note_of_ctrl_c_says_what_is_kept():
    error = KeyboardInterrupt()
    error.add_note("1 of 2 shards are finished")
    assert outcome(error) == (130, "stopped; 1 of 2 shards are finished")


def test_defects_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), errors.one_line_errors():
        raise ZeroDivisionError


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_stopped_exits_with_130(tmp_path, number):
    source = draw_source(tmp_path / "source", 300, side=64)
    command = [sys.executable, "-m", "pipeline", "shards", "--source", source.root, "--data-dir", tmp_path / "data"]
    options = ["--size", "32", "--num-shards", "30"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    reports = tmp_path / "data/hpa_stacked/32/.1.1.0.building/reports"
    while not list(reports.glob("[!.]*.json")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    _, shown = process.communicate()
    assert process.returncode == 130, shown
    stopped = r"Error: stopped; (\d+) of \d+ shards are finished, the same command makes the rest"
    num = int(re.fullmatch(stopped, shown.splitlines()[-1])[1])
    assert 1 <= num <= len(list(reports.glob("[!.]*.json")))
    assert "Traceback" not in shown
    assert not list(tmp_path.glob("data/**/.tmp-*"))


def test_usage_errors_exit_with_2():
    assert subprocess.run([sys.executable, "-m", "pipeline", "shards"], capture_output=True).returncode == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b]0;title\x07\x1b[2Jgone", r"\x1b]0;title\x07\x1b[2Jgone"),
        ("back\rspace\b", r"back\rspace\x08"),
        ("\x9b31m", r"\x9b31m"),
        ("right \u202eto left", r"right \u202eto left"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
        ("two\nlines\twith é and 細胞", "two\nlines\twith é and 細胞"),
    ],
)
def test_what_could_act_on_a_terminal_is_escaped(text, expected):
    assert errors.shown(text) == expected
    assert outcome(InputError(text)) == (1, expected)


def test_long_lines_are_cut():
    shown = errors.shown("x" * 5000 + "\nnext")
    assert shown == "x" * 4096 + "... (5,000 characters)\nnext"
