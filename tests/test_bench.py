"""What the figures in `bench/` stand on: fair turns, honest failures, the memory of child processes, true tables."""

import sys

import pytest

from bench import measure, show


def section(**contenders):
    rates = {
        name: {
            key: {"median": value, "values": [value]}
            for key, value in {
                "examples_per_second": rate,
                "peak_mb": 300.0,
                "own_mb": 200.0,
                "written_mb": 1.0,
            }.items()
        }
        for name, rate in contenders.items()
    }
    about = {"date": "2026-01-01", "machine": "2 cores", "pixels": "real", "commit": "abc", "versions": {"grain": "1"}}
    return {"num": 1000, "contenders": rates, **about}


def test_contenders_take_turns():
    turns = []

    def contender(name):
        def once(number):
            turns.append(name + str(number))
            return {"seconds": float(number)}

        return once

    found = measure.interleaved({"a": contender("a"), "b": contender("b")}, 3, lambda _: None)
    assert turns == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert found["b"]["seconds"] == {"median": 1.0, "values": [0.0, 1.0, 2.0]}


def test_a_contender_that_fails_is_told_with_its_reason_and_not_run_again():
    command = [sys.executable, "-c", "import sys; print('no such codec'); sys.exit(3)"]
    calls = []

    def once(number):
        calls.append(number)
        return {"seconds": measure.run(command).seconds}

    found = measure.interleaved({"a": once}, 3, lambda _: None)
    assert calls == [0]
    assert found["a"]["failed"].endswith("exit 3: no such codec\n")


def test_memory_of_child_processes_counts():
    hold = "import time; held = bytearray(80_000_000); time.sleep(0.5)"
    alone = measure.run([sys.executable, "-c", hold])
    parent = f"import subprocess, sys; {hold.split(';')[1]}; subprocess.run([sys.executable, '-c', {hold!r}])"
    both = measure.run([sys.executable, "-c", parent])
    assert alone.seconds >= 0.5
    assert 80 < alone.peak_mb < both.peak_mb - 80


def test_pages_of_files_are_told_apart(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(80_000_000))
    code = f"import numpy, time; held = numpy.memmap({str(path)!r}, mode='r'); held.sum(); time.sleep(0.5)"
    done = measure.run([sys.executable, "-c", code])
    assert done.peak_mb > 80
    assert done.own_mb < done.peak_mb - 75


def test_a_command_that_takes_too_long_is_ended():
    assert measure.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2).seconds == -1


def test_figures_are_the_last_line_that_is_json():
    assert measure.last_json('warning\n{"a": 1}\nbye\n') == {"a": 1}
    with pytest.raises(RuntimeError, match="no figures"):
        measure.last_json("warning\n")


def test_a_table_compares_with_the_fastest_limit():
    found = {"build": section(ours=90.0, mds=30.0, **{"limit opencv": 100.0, "limit pillow": 60.0})}
    rows = {line.split(" | ")[0].strip("| "): line for line in show.tables(found).splitlines()}
    assert "| 3.00 |" in rows["MosaicML Streaming (MDS)"]
    assert "| 0.90 |" in rows["limit: OpenCV decodes"]
    assert "1.50" not in rows["limit: Pillow decodes"]


def test_the_curve_tells_the_share_of_the_limit():
    point = {"num": 4000, "seconds": 25.0, "peak_mb": 300.0, "own_mb": 200.0, "limit_seconds": 20.0}
    about = {key: value for key, value in section().items() if key not in ("num", "contenders")}
    assert "| 4,000 | 25.0 | 160 | 200 | 0.80 | 300 | 200 |" in show.tables({"curve": {"points": [point], **about}})


def test_the_profile_counts_what_building_does_and_not_the_decoder_alone():
    about = {key: value for key, value in section().items() if key not in ("num", "contenders")}
    steps = {"files read": 1.0, show.ALONE: 8.0, "decoded": 9.0}
    text = show.tables({"profile": {"building": steps, "reading": {"records": 10_000.0}, **about}})
    assert "| files read | 1.00 | 10% |" in text
    assert "| decoded | 9.00 | 90% |" in text
    assert "| all | 10.00 |  |" in text
    assert "| records | 10,000 | 100 |" in text


def test_tables_are_put_between_the_marks(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- end -->\nafter\n")
    show.insert({"read": section(ours=2.0, limit=4.0)}, readme)
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    assert "| 0.50 |" in text
    assert "grain 1" in text
