"""Runs are scored on a dataset that they were not trained on, beside shuffled labels."""

import json

import pytest
from click.testing import CliRunner

from model.transfer import main
from tests.support.datasets import Shape, write_dataset


def run_command(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def other_data_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("other")
    write_dataset(root, Shape(train=40, dev=8, test=12, num_shards=1), seed=5)
    return root


def test_a_run_is_scored_on_all_splits_and_beats_shuffled_labels(tmp_path, trained, other_data_dir):
    results = tmp_path / "transfer.json"
    done = run_command(trained, "--data-dir", other_data_dir, "--results", results)
    assert done.exit_code == 0, done.output
    (row,) = json.loads(results.read_text())
    assert row["num_examples"] == 60
    for name in ("mean_average_precision", "auc"):
        assert row[name]["score"] > row[name]["high"] > row[name]["mean"]
        assert row[name]["p_value"] < 0.025
    assert row["auc"]["mean"] == pytest.approx(0.5, abs=0.02)
    assert f"| tiny | {row['mean_average_precision']['score']:.3f} |" in done.output


def test_the_dataset_of_the_run_is_refused(trained, tiny_data_dir):
    done = run_command(trained, "--data-dir", tiny_data_dir)
    assert done.exit_code == 1
    assert "expected a dataset that it has not seen" in done.output


def test_too_few_positives_are_refused(trained, other_data_dir):
    done = run_command(trained, "--data-dir", other_data_dir, "--min-positives", 61)
    assert done.exit_code == 1
    assert "no class has 61 positives; choose a smaller --min-positives" in done.output
