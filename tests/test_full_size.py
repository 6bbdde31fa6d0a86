"""Time, memory and resumption of a build of 31,072 examples: `make test-full`, 10 to 20 minutes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.sources import SHARED, digests

pytestmark = [pytest.mark.full, pytest.mark.timeout(5400)]

TREE = SHARED / "tools" / "fullscale_tree.py"


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Sources of 4,000 and 31,072 examples, made of repeated real images."""
    if not TREE.exists():
        pytest.skip(f"the script that makes full-size sources is not at {TREE}")
    root = tmp_path_factory.mktemp("trees")
    for num in (4_000, 31_072):
        subprocess.run([sys.executable, TREE, root / str(num), "--num", str(num)], check=True)
    return root


def start(source: Path, data_dir: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "shards", "--source", str(source), "--data-dir", str(data_dir)]
    )


def measure(source: Path, data_dir: Path) -> tuple[float, float]:
    """Builds; returns (seconds, peak resident MB of the process)."""
    begin = time.monotonic()
    process = start(source, data_dir)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.monotonic() - begin, usage.ru_maxrss / 1024


@pytest.fixture(scope="module")
def undisturbed(trees, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("undisturbed")
    small_seconds, small = measure(trees / "4000", data_dir / "small")
    seconds, peak = measure(trees / "31072", data_dir / "whole")
    print(f"\n 4,000 examples: {small_seconds:.0f} s, peak {small:.0f} MB")
    print(f"31,072 examples: {seconds:.0f} s, {31_072 / seconds:.0f} examples/s, peak {peak:.0f} MB")
    return data_dir / "whole/hpa_stacked/256/1.1.0", small, peak


def test_memory_does_not_grow_with_the_number_of_examples(undisturbed):
    _, small, peak = undisturbed
    assert peak <= 400
    assert peak <= 1.15 * small


def test_a_second_run_takes_seconds(trees, undisturbed):
    seconds, _ = measure(trees / "31072", undisturbed[0].parents[2])
    print(f"\nnothing to do: {seconds:.1f} s")
    assert seconds <= 5


def test_killed_three_times_the_bytes_are_the_same(trees, undisturbed, tmp_path):
    building = tmp_path / "hpa_stacked/256/.1.1.0.building/reports"
    for finished in (10, 60, 110):
        process = start(trees / "31072", tmp_path)
        while len(list(building.glob("[!.]*.json"))) < finished:
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"\nkilled after {len(list(building.glob('[!.]*.json')))} shards")
    measure(trees / "31072", tmp_path)
    assert digests(tmp_path / "hpa_stacked/256/1.1.0") == digests(undisturbed[0])
