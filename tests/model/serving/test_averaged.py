"""Predictions of several runs are averaged; runs that see or predict something else are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model import runs
from model.scores import thresholds
from tests.model.serving.test_predict import read_table, run_command
from tests.support.datasets import train_tiny


@pytest.fixture(scope="module")
def other(tmp_path_factory, tiny_data_dir) -> Path:
    """A run like `trained`, of another seed and one epoch."""
    return train_tiny(tiny_data_dir, tmp_path_factory.mktemp("runs") / "other", blocks=(1,), epochs=1, seed=1).path


def changed(run: Path, to: Path, **values: object) -> Path:
    """Copies a run with other settings, or another fingerprint of its dataset."""
    path = Path(shutil.copytree(run, to))
    config = json.loads((path / "config.json").read_text())
    if "fingerprint" in values:
        config["dataset"]["fingerprint"] = values.pop("fingerprint")
    config["settings"] |= values
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_probabilities_are_the_means_of_those_of_each_run(tmp_path, trained, other):
    tables = {}
    for name, folders in {"first": [trained], "second": [other], "both": [trained, other]}.items():
        done = run_command(*folders, "--split", "test", "--out", tmp_path / f"{name}.csv")
        assert done.exit_code == 0, done.output
        tables[name] = read_table(tmp_path / f"{name}.csv")
    assert any(np.abs(tables["first"][key] - tables["second"][key]).max() > 0.01 for key in tables["first"])
    for key, row in tables["both"].items():
        np.testing.assert_allclose(row, (tables["first"][key] + tables["second"][key]) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channels": ["green"]}, "runs with other channels cannot be averaged: 4: red, green, blue, yellow of "),
        ({"size": 16}, "runs with other pixels a side cannot be averaged: 32 of "),
    ],
)
def test_runs_that_see_something_else_are_refused(tmp_path, trained, values, message):
    different = changed(trained, tmp_path / "different", **values)
    done = run_command(trained, different, "--split", "test", "--out", tmp_path / "table.csv")
    assert done.exit_code == 1
    assert message in done.output
    assert f"of {different}; predict with each alone" in done.output


def test_a_run_given_twice_is_refused(trained):
    assert "the same run was given twice; an average counts" in run_command(trained, trained, "--split", "dev").output


def test_an_export_is_of_one_run(tmp_path, trained, other):
    done = run_command(trained, other, "--export", tmp_path / "exported")
    assert "--export is of one run, and 2 were given: name one" in done.output


def test_a_run_on_other_splits_needs_to_be_allowed(tmp_path, trained):
    fold = changed(trained, tmp_path / "fold", fingerprint="f" * 64)
    arguments = (trained, fold, "--split", "test", "--out", tmp_path / "table.csv")
    refused = run_command(*arguments)
    assert refused.exit_code == 1
    assert f"{fold}" in refused.output
    assert "--other-dataset allows it" in refused.output
    assert run_command(*arguments, "--other-dataset").exit_code == 0


def evaluated_dev(path: Path, ids: list[str], probabilities: list[float]) -> runs.Run:
    """Writes the predictions of dev of two classes, of which the second is never right."""
    (path / "evaluation").mkdir(parents=True)
    columns = {"ids": np.array(ids), "labels": np.array([[1, 0], [1, 0], [0, 0], [0, 0]], np.uint8)}
    both = np.stack([probabilities, np.full(4, 0.01)], axis=1)
    np.savez(path / "evaluation" / "predictions-dev.npz", **columns, probabilities=both)
    return runs.Run(path, None, {}, None, {})


@pytest.mark.parametrize("shared", [True, False])
def test_thresholds_are_chosen_on_averaged_predictions_of_a_shared_dev_or_averaged(tmp_path, monkeypatch, shared):
    from model.serving import averaged

    first = evaluated_dev(tmp_path / "first", list("abcd"), [0.9, 0.5, 0.3, 0.1])
    second = evaluated_dev(tmp_path / "second", list("abcd" if shared else "efgh"), [0.5, 0.9, 0.1, 0.5])
    own = {first.path: np.array([0.2, 0.5]), second.path: np.array([0.8, 0.9])}
    monkeypatch.setattr(averaged.evaluation, "thresholds_of", lambda run, rule, views: own[run.path])
    found, origin = averaged.thresholds_of([first, second], "flat", "one")
    if shared:
        expected = thresholds.choose(
            np.array([[1, 0]] * 2 + [[0, 0]] * 2), np.array([[0.7, 0.01]] * 2 + [[0.2, 0.01], [0.3, 0.01]])
        )
        assert found.tolist() == expected["flat"].tolist()
        assert origin == "chosen on the averaged predictions of dev"
    else:
        np.testing.assert_allclose(found, [0.5, 0.75])  # odds of 1 and of 9 have the geometric mean 3
        assert origin == "the means of each run's thresholds"


def test_a_submission_says_where_thresholds_come_from(tmp_path, evaluated, other):
    unscored = run_command(evaluated, other, "--split", "dev", "--submission", tmp_path / "s.csv", "--rule", "flat")
    assert f"run {other} was not evaluated" in unscored.output
    twin = Path(shutil.copytree(evaluated, tmp_path / "twin"))
    arguments = ("--split", "dev", "--out", tmp_path / "table.csv", "--submission", tmp_path / "s.csv")
    done = run_command(evaluated, twin, *arguments, "--rule", "flat")
    assert f"{tmp_path}/s.csv (flat thresholds, chosen on the averaged predictions of dev)" in done.output
    alone = run_command(evaluated, *arguments, "--rule", "flat")
    assert f"{tmp_path}/s.csv (flat thresholds)" in alone.output
