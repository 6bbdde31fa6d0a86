"""An example that ends its decoder's process is named by the next run, and can be left out."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.dataset import crashes
from pipeline.dataset.quarantine import BadExamples
from pipeline.dataset.verify import verify
from pipeline.images import sources, stack
from pipeline.job import build
from pipeline.plan import manifest
from pipeline.store import layout
from pipeline.store.workspace import open_workspace
from pipeline.write import in_work, writer
from tests.support import crashing
from tests.support.sources import config_for, digests

BUILD = """
from pathlib import Path
from tests.support import crashing, sources
from pipeline.job import build
source = sources.Source(Path({root!r}), {{}})
build(sources.config_for(source, Path({data!r}), threads=2, write=crashing.{write}))
"""


def build_elsewhere(source, data_dir, write):
    """Starts a build in a process of its own."""
    code = BUILD.format(root=str(source.root), data=str(data_dir), write=write)
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.getcwd()})


def opened(source, tmp_path):
    """Returns the manifest and the workspace of a build in `data`."""
    target = config_for(source, tmp_path / "data").target
    return manifest.read(source.table, sources.open_images(source.images)), open_workspace(target)


def work_folder(data_dir):
    return data_dir / "hpa_stacked/16/.1.1.0.building/work"


@pytest.mark.parametrize(("write", "name"), [("segfault", "SIGSEGV"), ("abort", "SIGABRT")])
def test_an_example_that_ends_the_process_is_named_and_left_out(source, tmp_path, write, name):
    process = build_elsewhere(source, tmp_path / "data", write)
    assert process.wait() == -signal.Signals[name]
    config = config_for(source, tmp_path / "data", write=getattr(crashing, write))
    row = f"image 'ex-0007': channel 'red\\+green\\+blue\\+yellow': decoder_crash: decoding it ends the process \\({name}\\)"
    for _ in range(2):  # it is still known after it was named
        with pytest.raises(BadExamples, match=f"1 of 20 examples are bad, and nothing was published(.|\n)*{row}"):
            build(config)
    result = build(config_for(source, tmp_path / "data", write=config.write, on_error="quarantine", max_bad=0.1))
    assert [row[:3] for row in csv.reader((result.path / layout.QUARANTINE).read_text().splitlines())][1:] == [
        ["ex-0007", "red+green+blue+yellow", "decoder_crash"]
    ]
    assert sum(result.num_examples.values()) == 19
    assert verify(result.path) == []
    assert not work_folder(tmp_path / "data").exists()


def test_an_example_that_was_replaced_is_taken_again(source, tmp_path):
    assert build_elsewhere(source, tmp_path / "data", "segfault").wait() == -signal.SIGSEGV
    with pytest.raises(BadExamples, match="decoder_crash"):
        build(config_for(source, tmp_path / "data", write=crashing.segfault))
    reference = build(config_for(source, tmp_path / "reference"))
    assert digests(build(config_for(source, tmp_path / "data")).path) == digests(reference.path)


def test_examples_in_work_when_a_build_was_killed_are_not_blamed(source, tmp_path):
    process = build_elsewhere(source, tmp_path / "data", "out_of_memory_here")
    assert process.wait() == -signal.SIGKILL
    assert crashing.VICTIM in in_work.left(work_folder(tmp_path / "data"))
    assert (
        crashes.find(
            config_for(source, tmp_path / "data", write=crashing.out_of_memory_here), *opened(source, tmp_path)
        )
        == {}
    )
    result = build(config_for(source, tmp_path / "data"))
    assert sum(result.num_examples.values()) == 20


def test_an_example_that_hangs_is_named_after_the_build_was_killed(source, tmp_path, monkeypatch):
    process = build_elsewhere(source, tmp_path / "data", "hang")
    while crashing.VICTIM not in in_work.left(work_folder(tmp_path / "data")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    process.kill()
    process.wait()
    monkeypatch.setattr(crashes, "seconds_for", lambda source, examples: 3.0)
    with pytest.raises(BadExamples, match=r"decoder_crash: decoding it takes longer than 3 seconds"):
        build(config_for(source, tmp_path / "data", write=crashing.hang))


def test_the_time_to_decode_is_bounded_by_the_size_of_the_files(source):
    read = manifest.read(source.table, sources.open_images(source.images))
    example = read.examples[0]
    num_bytes = sum(read.file_bytes[example.id])
    expected = 30 + (num_bytes + 4 * 8192**2) / 1e6
    assert crashes.seconds_for(read, [example]) == pytest.approx(expected)


def test_a_damaged_list_of_suspects_is_no_list(tmp_path):
    for text in ("", "{", "[" * 100_000, "{}", "[1, null]"):
        (tmp_path / "suspects.json").write_text(text)
        assert crashes._read_suspects(tmp_path) == []


# The slots.


def test_slots_say_what_each_thread_is_at(tmp_path):
    with in_work.marking(tmp_path, 2) as mark:
        assert in_work.left(tmp_path) == set()
        with mark("ex-1"):
            assert in_work.left(tmp_path) == {"ex-1"}
        with mark("a" * 200):
            assert in_work.left(tmp_path) == {"a" * 200}
        assert in_work.left(tmp_path) == set()
    assert list(tmp_path.iterdir()) == []


def test_slots_outlive_their_process(tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from pipeline.write import in_work\n"
        f"with in_work.marking(Path({str(tmp_path)!r}), 3) as mark, mark('ex-1'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert process.returncode == -signal.SIGKILL
    assert in_work.left(tmp_path) == {"ex-1"}
    in_work.clear(tmp_path)
    assert in_work.left(tmp_path) == set()


def test_slots_are_no_hole_which_a_full_disk_could_not_fill(tmp_path):
    with in_work.marking(tmp_path, 64):
        (path,) = tmp_path.iterdir()
        assert path.stat().st_blocks * 512 >= 64 * in_work.SLOT_BYTES


def test_a_mark_costs_next_to_nothing(tmp_path):
    with in_work.marking(tmp_path, 1) as mark:
        start = time.thread_time()
        for _ in range(10_000):
            with mark("ex-0001-with-an-id-of-usual-length"):
                pass
        assert (time.thread_time() - start) / 10_000 < 100e-6  # a few on a quiet core; decoding takes milliseconds


def test_the_reason_has_a_code():
    assert "decoder_crash" in stack.CODES
    assert writer.unmarked is in_work.unmarked
