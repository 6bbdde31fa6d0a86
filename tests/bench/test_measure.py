import sys

import pytest

from bench import measure


def test_contenders_run_in_alternation():
    order = []

    def contender(name):
        def figures(number):
            order.append(name + str(number))
            return {"seconds": float(number)}

        return figures

    values = measure.alternate({"a": contender("a"), "b": contender("b")}, 3, lambda _: None)
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert values["b"]["seconds"] == [0.0, 1.0, 2.0]


def test_failed_contender_keeps_its_reason_and_is_not_run_again():
    command = [sys.executable, "-c", "import sys; print('no such codec'); sys.exit(3)"]
    calls, lines = [], []

    def figures(number):
        calls.append(number)
        return {"seconds": measure.run(command).seconds}

    values = measure.alternate({"a": figures}, 3, lines.append)
    assert calls == [0]
    assert values["a"] == {"failed": "no such codec"}
    assert lines[0].startswith("a: failed: ")
    assert lines[0].endswith("exit code 3, expected 0:\nno such codec\n")


def test_memory_of_child_processes_counts():
    hold = "import time; held = bytearray(80_000_000); time.sleep(0.5)"
    alone = measure.run([sys.executable, "-c", hold])
    parent = f"import subprocess, sys; {hold.split(';')[1]}; subprocess.run([sys.executable, '-c', {hold!r}])"
    both = measure.run([sys.executable, "-c", parent])
    assert alone.seconds >= 0.5
    assert 80 < alone.peak_mb < both.peak_mb - 80


def test_own_memory_leaves_out_pages_of_files(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(80_000_000))
    code = f"import numpy, time; held = numpy.memmap({str(path)!r}, mode='r'); held.sum(); time.sleep(0.5)"
    run = measure.run([sys.executable, "-c", code])
    assert run.peak_mb > 80
    assert run.own_mb < run.peak_mb - 75


def test_command_that_takes_too_long_is_ended():
    assert measure.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2).seconds == -1


def test_figures_are_the_last_line_that_is_json():
    assert measure.last_json('warning\n{"a": 1}\nbye\n') == {"a": 1}
    with pytest.raises(RuntimeError, match="no figures"):
        measure.last_json("warning\n")
