import click
import pytest
from click.testing import CliRunner

from bench import __main__ as bench
from bench import sections
from bench.checkout import HERE, Checkout
from bench.figures import results
from tests.support.bench_results import ABOUT, section


@pytest.fixture
def other(tmp_path):
    """A checkout whose packages do nothing."""
    root = tmp_path / "other"
    for package in ("pipeline", "model", "bench"):
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text("")
    return Checkout(root)


def invoke(*arguments):
    result = CliRunner().invoke(bench.main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_checkout_runs_its_own_code(other):
    (other.root / "pipeline" / "__main__.py").write_text("print('the other one')")
    assert other.run("-m", "pipeline").output == "the other one\n"
    other.check()
    HERE.check()


def test_checkout_without_a_package_is_rejected(other):
    (other.root / "model" / "__init__.py").unlink()
    (other.root / "model").rmdir()
    with pytest.raises(click.ClickException, match=r"other: package model (cannot be|is) imported"):
        other.check()


def test_other_checkout_is_a_contender_beside_this_one(other):
    options = sections.Options(before=other, builders=("ours", "mds"))
    assert options.checkouts == {"ours": HERE, "before": other}
    assert options.names(options.builders) == ["ours", "before", "mds"]


def test_run_adds_sections_to_the_file(tmp_path, monkeypatch, other):
    seen = []

    def build(options, work):
        seen.append((options.num, options.before, options.builders))
        return {key: value for key, value in section(ours=[90.0]).items() if key not in ABOUT}

    monkeypatch.setitem(sections.SECTIONS, "build", build)
    out = tmp_path / "results.json"
    results.save({"repeat": {"began": "", "num": 1, "outside": []}}, out)
    command = ["run", "--out", out, "--only", "build", "--num", 64, "--builder", "mds", "--beside", other.root]
    assert "### Build" in invoke(*command)
    invoke(*command)
    assert seen == [(64, other, ("mds",))] * 2
    saved = results.load(out)
    assert saved["build"]["contenders"]["ours"]["examples_per_second"] == [90.0, 90.0]
    assert len(saved["build"]["began"]) == 2
    assert saved["build"]["before"] == "other"
    assert "repeat" not in saved


def test_planner_that_did_not_finish_is_not_asked_again():
    contenders = {"a": {"failed": sections.NOT_FINISHED}, "b": {"failed": "not installed"}, "c": {"seconds": [1.0]}}
    assert sections.unfinished({"sizes": {"1000": contenders}}) == {"a": 1000}


def test_compare_stores_its_outcome(tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    results.save({"build": section(ours=[90.0, 92.0, 88.0])}, first)
    results.save({"build": section(ours=[120.0], about={**ABOUT, "began": ["2026-01-02 08:00"]})}, second)
    output = invoke("compare", first, second, "--note")
    assert "OUTSIDE build / contenders / ours / examples_per_second: 120 (80.06 to 99.94)" in output
    assert "0 of 1 medians lie within the spread" in output
    outside = ["build / contenders / ours / examples_per_second"]
    assert results.load(first)["repeat"] == {"began": "2026-01-02 08:00", "num": 1, "outside": outside}
