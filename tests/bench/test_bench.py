"""What the figures in `bench/` stand on: fair turns, honest failures, the memory of child processes, true tables."""

import json
import sys

import numpy as np
import pytest

from bench import measure, readers, results, show

ABOUT = {
    "began": "2026-01-01 08:00",
    "machine": "2 cores",
    "pixels": "real",
    "commit": "abc",
    "versions": {"grain": "1"},
}


def section(*, num=1000, about=ABOUT, **contenders):
    rates = {
        name: {"examples_per_second": values, "peak_mb": [300.0], "own_mb": [200.0], "written_mb": [1.0]}
        for name, values in contenders.items()
    }
    results.ratios(rates, "examples_per_second")
    return {"num": num, "contenders": rates, "runs": [about]}


def test_contenders_take_turns():
    turns = []

    def contender(name):
        def once(number):
            turns.append(name + str(number))
            return {"seconds": float(number)}

        return once

    found = measure.interleaved({"a": contender("a"), "b": contender("b")}, 3, lambda _: None)
    assert turns == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert found["b"]["seconds"] == [0.0, 1.0, 2.0]


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


def test_a_table_compares_with_every_contender():
    found = {"build": section(ours=[90.0], mds=[30.0], **{"limit opencv": [100.0], "limit pillow": [60.0]})}
    rows = {line.split(" | ")[0].strip("| "): line for line in show.tables(found).splitlines()}
    assert "| 3.00 |" in rows["MosaicML Streaming (MDS)"]
    assert "| 0.90 |" in rows["limit: OpenCV decodes"]
    assert "| 1.50 |" in rows["limit: Pillow decodes"]


def test_the_curve_tells_the_share_of_the_limit():
    ours = {"seconds": [25.0], "examples_per_second": [160.0], "peak_mb": [300.0], "own_mb": [200.0]}
    contenders = {"ours": ours, "limit opencv": {"examples_per_second": [200.0]}}
    results.ratios(contenders, "examples_per_second")
    found = {"curve": {"sizes": {"4000": contenders}, "runs": [ABOUT]}}
    assert "| 4,000 | 25.0 | 160 | 200 | 0.80 | 300 | 200 |" in show.tables(found)


def test_the_profile_counts_what_building_does_and_not_the_decoder_alone():
    steps = {"files read": [1.0], **{part: [8.0] for part in show.ALONE}, "decoded": [9.0]}
    text = show.tables({"profile": {"building": steps, "reading": {"records": [10_000.0]}, "runs": [ABOUT]}})
    assert "| files read | 1.00 | 10% |" in text
    assert "| decoded | 9.00 | 90% |" in text
    assert "| all | 10.00 |  |" in text
    assert "| records | 10,000 | 100 |" in text


def test_runs_of_one_state_count_together():
    later = section(ours=[88.0], mds=[20.0], about={**ABOUT, "began": "2026-01-01 11:00"})
    found = results.add(section(ours=[90.0, 92.0], mds=[20.0, 20.0]), later)
    assert found["contenders"]["ours"]["examples_per_second"] == [90.0, 92.0, 88.0]
    assert found["contenders"]["mds"]["ours_is_times"] == [4.5, 4.6, 4.4]
    text = show.tables({"build": found})
    assert "| **hpa_stacked** | 90 (80 to 100) |" in text
    assert "| MosaicML Streaming (MDS) | 20 | 4.50 (4.00 to 5.00) |" in text
    assert "2 runs, begun 2026-01-01 08:00 to 2026-01-01 11:00 UTC; 2 cores, real pixels, commit abc." in text


@pytest.mark.parametrize("other", [{"about": {**ABOUT, "commit": "abd"}}, {"num": 2000}])
def test_a_run_on_something_else_counts_alone(other):
    later = section(ours=[80.0], **other)
    assert results.add(section(ours=[90.0]), later) == later


def test_a_contender_that_failed_once_stays_failed():
    earlier = {"sizes": {"10": {"a": {"failed": "slow"}}}, "runs": [ABOUT]}
    later = {"sizes": {"10": {"a": {"seconds": [1.0]}, "b": {"seconds": [2.0]}}}, "runs": [ABOUT]}
    assert results.add(earlier, later)["sizes"]["10"] == {
        "a": {"failed": "slow", "seconds": [1.0]},
        "b": {"seconds": [2.0]},
    }


def test_the_spread_holds_19_further_values_of_20():
    values = np.random.default_rng(0).normal(100, 5, (4_000, 6))
    spreads = [results.spread(earlier) for earlier in values[:, :5].tolist()]
    inside = [low <= further <= high for (low, high), further in zip(spreads, values[:, 5], strict=True)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([9.0, 10.0, 11.0], (5.03, 14.97)), ([1.0, 9.0], (0.0, 93.03)), ([0.0, 0.0], (0.0, 0.0)), ([7.0], (7.0, 7.0))],
)
def test_the_spread_is_wider_the_fewer_values_there_are(values, expected):
    assert results.spread(values) == pytest.approx(expected, rel=1e-3)


def test_a_second_run_is_held_against_the_spread_of_the_first():
    first = {"build": section(ours=[90.0, 92.0, 88.0]), "read": section(ours=[5.0]), "plan": section(ours=[5.0, 5.0])}
    second = {"build": section(ours=[99.94, 80.0, 99.92]), "read": section(ours=[5.0]), "profile": section(ours=[1.0])}
    found = {name: (median, inside) for name, _, median, inside in results.compare(first, second)}
    assert found == {"build / contenders / ours / examples_per_second": (99.92, True)}
    second["build"]["contenders"]["ours"]["examples_per_second"] = [101.0]
    found = {name: (median, inside) for name, _, median, inside in results.compare(first, second)}
    assert found == {"build / contenders / ours / examples_per_second": (101.0, False)}


def test_an_epoch_of_readers_is_every_shard_so_many_times(tmp_path):
    built = tmp_path / "built"
    built.mkdir()
    for index in range(2):
        (built / f"hpa_stacked-train.tfrecord-0000{index}-of-00002").write_text(f"shard {index}")
    splits = [{"name": name, "numBytes": "14", "shardLengths": ["3", "4"]} for name in ("train", "dev")]
    (built / "dataset_info.json").write_text(json.dumps({"name": "hpa_stacked", "splits": splits}))
    out = readers.tfds_dir(tmp_path, 2)
    readers.repeat(built, out, 2)
    names = [f"hpa_stacked-train.tfrecord-0000{index}-of-00004" for index in range(4)]
    assert [(out / name).read_text() for name in names] == ["shard 0", "shard 1"] * 2
    info = json.loads((out / "dataset_info.json").read_text())
    assert info["splits"] == [{"name": "train", "numBytes": "28", "shardLengths": ["3", "4", "3", "4"]}]


@pytest.mark.parametrize(("seconds", "expected"), [(5.0, 2 * 3 * 64 / 8), (2.0, 2 * 64 / 2.4)])
def test_rates_are_of_whole_epochs_with_their_starts_and_the_first_does_not_count(monkeypatch, seconds, expected):
    now = [0.0]

    def batches():
        for batch_seconds in [1.2, *[1.0] * 100]:
            now[0] += 1.0
            for _ in range(3):
                now[0] += batch_seconds
                yield [0] * 64, None
            yield readers.END

    monkeypatch.setattr(readers.time, "perf_counter", lambda: now[0])
    assert readers.rate(batches(), seconds) == pytest.approx(expected)


def test_tables_are_put_between_the_marks(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- end -->\nafter\n")
    show.insert({"read": section(ours=[2.0], limit=[4.0])}, readme)
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    assert "| 0.50 |" in text
    assert "grain 1" in text
