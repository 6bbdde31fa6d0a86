"""Damaged and hostile inputs: those that once went wrong, a short fuzz of every format, and the documents on both."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import driver, hostile, registry, replay
from tests.fuzz.target import draw

ROOT = Path(__file__).parents[1]
EACH = 60  # drawn cases of each target


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENCV_LOG_LEVEL": "OFF", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def replayed() -> subprocess.CompletedProcess[str]:
    return python("-m", "tests.fuzz.replay", "--cases", str(EACH))


def test_inputs_that_once_went_wrong_are_judged_right(replayed):
    kept = {f"{path.parent.name}/{path.name}" for path in replay.FOLDER.glob("*/*")}
    right = set(re.findall(r"^(\w+/\S+): (?!WRONG)\S", replayed.stdout, re.MULTILINE))
    assert right == kept, replayed.stdout + replayed.stderr[-2000:]


def test_a_short_fuzz_of_every_format_finds_nothing(replayed):
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr[-2000:]
    assert re.findall(rf"^(\w+): {EACH} drawn$", replayed.stdout, re.MULTILINE) == list(registry.TARGETS)


def test_the_kept_inputs_are_small():
    assert sum(path.stat().st_size for path in replay.FOLDER.rglob("*") if path.is_file()) < 500_000


def test_a_case_depends_on_its_seed_and_number_alone(tmp_path):
    target = registry.find("labels").open(tmp_path)
    first = [draw(target, "labels", 3, k).data for k in range(20)]
    assert [draw(target, "labels", 3, k).data for k in reversed(range(20))] == first[::-1]
    assert len({*first, *(draw(target, "labels", 4, k).data for k in range(20))}) == 40


def test_a_process_that_dies_is_blamed_on_its_case_and_the_others_are_still_run(tmp_path):
    target = registry.find("broken").open(tmp_path)
    kinds = [int.from_bytes(draw(target, "broken", 0, k).data) % 8 for k in range(16)]
    expected = {1: "crash", 2: "exception", 3: "wrong", 4: "memory"}
    result = driver.run(["broken"], 16, seed=0, jobs=1, log=lambda line: None)["broken"]
    found = {failure["case"]: failure["kind"] for failure in result.failures}
    assert found == {k: expected[kind] for k, kind in enumerate(kinds) if kind in expected}
    assert set(found.values()) == set(expected.values())
    assert sum(result.outcomes.values()) == result.cases == 16


def test_the_table_of_hostile_inputs_is_current():
    made = python("-m", "tests.fuzz.hostile")
    assert made.returncode == 0, made.stderr[-2000:]
    written = (ROOT / "docs/hostile_inputs.md").read_text()
    assert hostile.ours(made.stdout).strip() == hostile.ours(written).strip()
    assert len(re.findall(r"^\| .* \| `.*` \| `.+` \|$", written, re.MULTILINE)) >= 60
