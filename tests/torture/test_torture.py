"""A part of the torture test, and that it finds defects."""

import os
import re
import subprocess
import sys

import pytest

RUN = """
import sys
from pathlib import Path
from tests.torture import cases, run
{defect}
results = run.run(Path(sys.argv[1]), num={num}, seed=0, only={only!r}, stores_too=False)
print(sum(bool(result.problem) for result in results), "lost")
"""


def python(*arguments):
    """Runs a fresh interpreter: the torture test forks, and this process has threads."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )


def test_a_hundred_faults_on_a_disk_lose_nothing():
    done = python("-m", "tests.torture", "--num", 108, "--jobs", 2, "--no-stores")
    assert done.returncode == 0, done.stderr[-3000:]
    _, injected, survived, lost, _ = re.search(r"\| all \|(.*?)\|(.*?)\|(.*?)\|(.*?)\|", done.stdout)[0].split("|")[1:6]
    assert int(injected) == int(survived) >= 100
    assert int(lost) == 0


def test_faults_of_a_store_lose_nothing():
    done = python("-m", "tests.torture", "--num", 5, "--jobs", 1, "--kind", "store")
    assert done.returncode == 0, done.stderr[-3000:]


DEFECTS = {
    "finished shards are believed without a look": (
        "damage before resuming",
        "from pipeline.store.workspace import DiskWorkspace; DiskWorkspace.is_intact = lambda *args: True\n"
        "cases.PARTS, cases.DAMAGES = ('shards',), {'flipped bit': cases.DAMAGES['flipped bit']}",
        24,
    ),
    "verify reads nothing": (
        "damage after publication",
        "from pipeline.dataset import verify; cases.verify = lambda target: []",
        4,
    ),
    "two builds at once": (
        "builds at once",
        "import contextlib; from pipeline.store import locks\n"
        "locks.disk_lock = lambda path: contextlib.nullcontext(lambda: None)",
        4,
    ),
    "files are copied into place one by one": (
        "SIGKILL at an operation",
        "import os, pathlib, shutil; from pipeline.store.workspace import DiskWorkspace\n"
        "def publish(self, completed):\n"
        "    self.target.mkdir(exist_ok=True)\n"
        "    for path in sorted(completed.iterdir()): os.replace(path, self.target / path.name)\n"
        "DiskWorkspace.publish = publish",
        32,
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_defects_are_found(tmp_path, name):
    only, defect, num = DEFECTS[name]
    done = python("-c", RUN.format(defect=defect, num=num, only=only), tmp_path)
    assert re.fullmatch(r"[1-9]\d* lost\n", done.stdout), done.stdout + done.stderr[-2000:]


def test_readers_of_a_dataset_that_is_replaced_see_the_old_or_the_new_one():
    done = python("-m", "tests.torture.load", "--readers", 20, "--replacements", 2)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "MIXTURE" not in done.stdout
    assert "a build beside a build: identical" in done.stdout
