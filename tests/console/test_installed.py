"""The command `hpa-stacked`, as a user calls it from a folder of his own."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from pipeline import job
from pipeline.cli import main as pipeline_commands
from pipeline.config import BuildConfig
from pipeline.schema import VERSION
from tests.support import installed
from tests.support.sources import draw_source
from tests.test_imports import imported_after


@pytest.fixture
def command(tmp_path):
    return installed.install(tmp_path / "bin")


@pytest.fixture
def folder(tmp_path):
    """A user's folder, whose modules have the names of ours."""
    folder = tmp_path / "my folder"
    folder.mkdir()
    for name in ("model", "pipeline", "hpa_tfds"):
        (folder / f"{name}.py").write_text("raise SystemExit('the module of the user')\n")
    return folder


def test_help_lists_every_command_and_imports_nothing_heavy(command, folder):
    done = installed.run(command, "--help", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^  ([a-z]+)  +[A-Z]", done.stdout, re.MULTILINE)
    assert listed == [*pipeline_commands.commands, "train", "evaluate", "report", "predict", "ladder"]
    call = (
        "from click.testing import CliRunner; from hpa_cli.commands import commands; CliRunner().invoke(commands, {})"
    )
    found = imported_after(call.format(["-h"]), call.format(["shards", "-h"]), call.format(["train", "-h"]))
    assert found[:2] == [{"pipeline"}, {"pipeline"}]
    assert not found[2] & {"apache_beam", "tensorflow", "keras", "tensorflow_datasets"}


def test_the_version_is_that_of_the_package_and_of_the_dataset(command, folder):
    done = installed.run(command, "--version", cwd=folder)
    expected = f"hpa-stacked {importlib.metadata.version('hpa-stacked')}, dataset version {VERSION}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_help_answers_in_half_a_second_of_processor_time(command, folder):
    installed.run(command, "--help", cwd=folder)
    before = os.times()
    installed.run(command, "--help", cwd=folder)
    after = os.times()
    assert after.children_user - before.children_user + after.children_system - before.children_system < 0.5


@pytest.mark.parametrize("environment", [{}, {"PYTHONPATH": "."}])
def test_a_users_modules_of_our_names_change_nothing(command, folder, environment):
    done = installed.run(command, "sample", "drawn", "--num", 10, "--workers", 2, cwd=folder, **environment)
    assert (done.returncode, done.stdout) == (0, "10 synthetic examples in drawn\n"), done.stderr
    done = installed.run(command, "report", "nowhere", cwd=folder, **environment)
    assert done.stderr == f"Error: no run in nowhere (no config.json): '{command} train --out nowhere' makes one\n"


def test_from_a_source_to_the_trainer_each_command_names_the_next(command, folder, source):
    """Nothing is named twice, and the trainer finds what was built last."""
    path = f"{command.parent}:{os.environ['PATH']}"
    source.table.with_name("SYNTHETIC.txt").write_text("drawn")
    lines = []
    for arguments in (["audit", "--source", source.root], ["shards", "--source", source.root, "--size", 16]):
        done = installed.run(command, *arguments, cwd=folder, PATH=path)
        assert done.returncode == 0, done.stderr
        lines.append(done.stderr.splitlines()[-1])
    assert lines == [
        f"next: hpa-stacked shards --source {source.root} --size 32",
        "next: hpa-stacked train --size 16 --smoke",
    ]
    assert (folder / "build/last").read_text() == f"{folder}/build/synthetic\n"
    done = installed.run(command, "verify", "build/synthetic/hpa_stacked/16/1.1.0", cwd=folder)
    assert done.stderr.splitlines()[-1] == f"next: {command} train --size 16 --smoke"
    done = installed.run(command, "train", cwd=folder, PATH=path)
    assert done.stderr == (
        f"Error: no dataset hpa_stacked/256 in {folder}/build/synthetic (it holds 16: add --size 16): "
        "'hpa-stacked shards --source DIR' builds one, --data-dir names another place\n"
    )


def test_make_is_named_only_by_the_makefile(command, folder, source):
    arguments = ("shards", "--source", source.root, "--data-dir", "my data", "--size", 16)
    done = installed.run(command, *arguments, cwd=folder, HPA_STACKED_MAKE="1")
    assert done.stderr.splitlines()[-1] == "next: make train SIZE=16"
    done = installed.run(command, *arguments, cwd=folder, HPA_STACKED_MAKE="1", HPA_STACKED_LAST="")
    assert done.stderr.splitlines()[-1] == "next: make train SIZE=16 'DATA_DIR=my data'"
    done = installed.run(command, *arguments, cwd=folder, MAKELEVEL="1", HPA_STACKED_LAST="")
    assert done.stderr.splitlines()[-1] == f"next: {command} train --size 16 --smoke --data-dir 'my data'"


def test_python_m_names_the_interpreter_that_was_called(source, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(installed.ROOT)}
    command = [sys.executable, "-m", "pipeline", "audit", "--source", str(source.root)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (
        done.stderr.splitlines()[-1] + "\n"
        == f"next: {sys.executable} -m pipeline shards --source {source.root} --size 32\n"
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """`{command: its arguments}`; each works for a second or more."""
    root = tmp_path_factory.mktemp("work")
    source = draw_source(root / "source", 400, side=64)
    built = job.build(BuildConfig(source.table, source.images, root / "data", size=32))
    named = ("--source", source.root)
    return {
        "sample": ("drawn", "--num", 30),
        "audit": (*named, "--deep", "--size", 32),
        "shards": (*named, "--size", 32, "--data-dir", "data", "--threads", 1, "--num-shards", 40),
        "verify": (built.path, *named),
    }


def interrupted(line, seconds, cwd):
    """Runs a command in a new folder and interrupts it; returns its exit code and what it printed to standard error."""
    cwd.mkdir()
    process = subprocess.Popen(
        line, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    return process.returncode, shown


@pytest.mark.parametrize("name", ["sample", "audit", "shards", "verify"])
def test_ctrl_c_is_one_line_at_any_moment(command, tmp_path, work, name):
    """The moments are in imports and in work; the signal goes to all processes, as in a terminal."""
    line = [str(command), name, *map(str, work[name])]
    began = time.monotonic()
    subprocess.run(line, cwd=tmp_path, check=True, capture_output=True)
    seconds = time.monotonic() - began
    check_stopped(line, 0.3 * seconds, tmp_path / "early")
    check_stopped(line, 0.8 * seconds, tmp_path / "late")


def check_stopped(line, seconds, folder):
    """Interrupts a command after about this time, at another if it is over by then or Python was still starting."""
    for attempt in range(8):
        code, shown = interrupted(line, seconds, folder.with_name(f"{folder.name}-{attempt}"))
        if code == 0:  # it had finished
            seconds *= 0.8
        elif code == -signal.SIGINT or "init_import_site" in shown or "<frozen site>" in shown:  # Python was starting
            seconds *= 1.2
        else:
            break
    assert code == 130, shown
    assert shown.splitlines()[-1].startswith("Error: stopped")
    assert [text for text in shown.splitlines()[:-1] if text.strip() and "ex/s" not in text] == []
