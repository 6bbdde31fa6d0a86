import numpy as np
import pytest

from bench.figures import results
from tests.support.bench_results import ABOUT, section


def test_runs_of_the_same_state_count_together():
    later = section(ours=[88.0], mds=[20.0], about={**ABOUT, "began": ["2026-01-01 11:00"]})
    found = results.add(section(ours=[90.0, 92.0], mds=[20.0, 20.0]), later)
    assert found["contenders"]["ours"]["examples_per_second"] == [90.0, 92.0, 88.0]
    assert found["contenders"]["mds"]["ratio"] == [4.5, 4.6, 4.4]
    assert found["began"] == ["2026-01-01 08:00", "2026-01-01 11:00"]
    assert found["commit"] == "abc"


@pytest.mark.parametrize("other", [{"about": {**ABOUT, "commit": "abd"}}, {"num": 2000}, {"before": "abb"}])
def test_run_of_another_state_replaces_the_values(other):
    later = section(ours=[80.0], **other)
    assert results.add(section(ours=[90.0]), later) == later


def test_contender_that_failed_once_stays_failed():
    earlier = {"sizes": {"10": {"a": {"failed": "slow"}}}, **ABOUT}
    later = {"sizes": {"10": {"a": {"seconds": [1.0]}, "b": {"seconds": [2.0]}}}, **ABOUT}
    assert results.add(earlier, later)["sizes"]["10"] == {
        "a": {"failed": "slow", "seconds": [1.0]},
        "b": {"seconds": [2.0]},
    }


def test_ratios_of_seconds_say_how_much_faster_this_project_is():
    contenders = {"ours": {"seconds": [2.0, 4.0]}, "slow": {"seconds": [3.0, 10.0]}, "failed": {"failed": "slow"}}
    results.add_ratios(contenders, "seconds", low_is_fast=True)
    assert contenders["slow"]["ratio"] == [1.5, 2.5]
    assert contenders["failed"] == {"failed": "slow"}


def test_file_has_a_line_for_each_contender(tmp_path):
    sections = {"build": section(ours=[90.0], mds=[20.0]), "repeat": {"num": 3, "outside": []}}
    path = tmp_path / "new" / "results.json"
    results.save(sections, path)
    assert results.load(path) == sections
    assert sum('"ratio"' in line for line in path.read_text().splitlines()) == 2
    assert results.load(tmp_path / "missing.json") == {}


def test_spread_holds_19_further_values_of_20():
    values = np.random.default_rng(0).normal(100, 5, (4_000, 6))
    spreads = [results.spread(earlier) for earlier in values[:, :5].tolist()]
    inside = [low <= further <= high for (low, high), further in zip(spreads, values[:, 5], strict=True)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([9.0, 10.0, 11.0], (5.03, 14.97)), ([1.0, 9.0], (0.0, 93.03)), ([0.0, 0.0], (0.0, 0.0)), ([7.0], (7.0, 7.0))],
)
def test_spread_is_wider_the_fewer_values_there_are(values, expected):
    assert results.spread(values) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("ratios", "tie"),
    [([1.1, 1.0, 1.2], True), ([0.9, 0.95, 1.0], True), ([1.5, 1.51, 1.49], False), ([0.7] * 3, False), ([1.0], False)],
)
def test_tie_is_a_spread_of_ratios_that_includes_one(ratios, tie):
    assert results.is_tie(ratios) is tie


def test_second_run_is_compared_with_the_spread_of_the_first():
    first = {"build": section(ours=[90.0, 92.0, 88.0]), "read": section(ours=[5.0]), "plan": section(ours=[5.0, 5.0])}
    second = {"build": section(ours=[99.94, 80.0, 99.92]), "read": section(ours=[5.0]), "profile": section(ours=[1.0])}
    found = {name: (median, inside) for name, _, median, inside in results.compare(first, second)}
    assert found == {"build / contenders / ours / examples_per_second": (99.92, True)}
    second["build"]["contenders"]["ours"]["examples_per_second"] = [101.0]
    found = {name: (median, inside) for name, _, median, inside in results.compare(first, second)}
    assert found == {"build / contenders / ours / examples_per_second": (101.0, False)}
