"""What is said of a run: figures that agree with scikit-learn, error bars that hold, thresholds, baselines."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from model import runs
from model.evaluate import main, train_frequencies
from model.page import gallery
from model.scores import evaluation
from pipeline.errors import InputError
from pipeline.schema import HPA_KAGGLE_2018
from tests.support.csv_files import read_rows
from tests.support.datasets import write_dataset
from tests.support.hpa import CLASS_NAMES


def run_command(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# Gallery


def test_the_gallery_shows_the_surest_mistakes_and_the_emptiest_images():
    labels, probabilities = np.zeros((5, 28), np.uint8), np.full((5, 28), 0.3, np.float32)
    labels[:, 0] = 1
    probabilities[3, 7], probabilities[1, 0] = 0.99, 0.01
    chosen = gallery.choose(labels, probabilities, np.array([5.0, 4.0, 0.5, 3.0, 2.0]), num=2)
    assert chosen[0] == gallery.Choice("wrong", 3, 7)
    assert gallery.Choice("missed", 1, 0) in chosen
    assert [one.index for one in chosen if one.kind == "empty"] == [2, 4]


def test_colours_are_those_of_the_atlas():
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0] = [255, 0, 0, 0]
    image[0, 1] = [0, 255, 0, 0]
    image[1, 0] = [0, 0, 255, 0]
    image[1, 1] = [0, 0, 0, 255]
    colours = [channel.colour for channel in HPA_KAGGLE_2018.channels]
    assert gallery.coloured(image, 3, colours[3])[1, 1].tolist() == [255, 255, 0]
    assert gallery.coloured(image, 0, colours[0])[0, 0].tolist() == [255, 0, 0]
    mixed = gallery.composite(image, colours, protein=1).astype(int)
    assert mixed[0, 0, 0] > 0 == mixed[0, 0, 1:].max()
    assert mixed[0, 1].tolist() == [0, 255, 0]
    assert mixed[1, 0].tolist() == [0, 0, 255]
    assert min(mixed[1, 1, :2]) > 0 == mixed[1, 1, 2]


# The command


def test_help_answers_without_the_heavy_libraries():
    code = (
        "import sys; from model.evaluate import main; import model.predict, model.report; "
        "print({'keras', 'tensorflow', 'numpy', 'cv2', 'apache_beam'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_evaluation_says_what_the_trainer_said(evaluated):
    from model.serving import summary

    found = evaluation.load(evaluated)
    trained = json.loads((evaluated / "metrics.json").read_text())
    for split in ("train", "dev", "test"):
        assert found["splits"][split]["rules"]["fixed"]["macro_f1"] == trained["splits"][split]["macro_f1"]
    assert found["splits"]["test"]["absent"] == list(CLASS_NAMES[4:])
    text = summary.summary(found)
    assert (
        f"test: none of the 48 scored examples has {', '.join(CLASS_NAMES[4:])}: "
        "their F1 counts as 0, their average precision not at all"
    ) in text
    assert "scored: only" not in text
    found["splits"]["dev"]["num_examples"] = 7
    assert "scored: only the first 7 examples of dev" in summary.summary({**found, "limit_examples": 7})
    assert "shrunk" in text
    rows = read_rows(evaluated / "evaluation" / "classes.csv")
    assert len(rows) == 3 * 28
    assert rows[-1]["average_precision"] == ""


def test_an_evaluation_reads_each_record_once(run_copy, records_read):
    result = run_command(run_copy)
    assert result.exit_code == 0, result.output
    found = evaluation.load(run_copy)
    assert len(found["ablation"]["rows"]) == 6
    assert {entry["kind"] for entry in found["gallery"]} >= {"missed", "empty"}
    assert records_read == {"train": 192, "dev": 48, "test": 48}


def test_the_ablation_blanks_each_reference_all_of_them_and_the_protein(evaluated):
    found = evaluation.load(evaluated)["ablation"]
    assert found["split"] == "test"
    expected = [[], ["red"], ["blue"], ["yellow"], ["red", "blue", "yellow"], ["green"]]
    assert [row["blanked"] for row in found["rows"]] == expected


def test_groups_of_the_dataset_are_redrawn_whole(tmp_path, tiny_data_dir, run_copy):
    data_dir = tmp_path / "grouped"
    shutil.copytree(tiny_data_dir, data_dir)
    rows = [f"synthetic-dev-{k:04d},g{k // 24}\n" for k in range(48)]
    (data_dir / "hpa_stacked/32/1.1.0/groups.csv").write_text("Id,Group\n" + "".join(rows))
    result = run_command(run_copy, "--data-dir", data_dir, "--splits", "dev", "--no-ablation")
    assert result.exit_code == 0, result.output
    found = evaluation.load(run_copy)
    assert (found["splits"]["dev"]["num_examples"], found["splits"]["dev"]["num_groups"]) == (48, 2)
    assert (found["dataset"]["num_grouped"], found["dataset"]["group_columns"]) == (48, [])
    assert "ablation" not in found


def test_the_summary_says_that_a_split_is_a_single_group(evaluated):
    from model.serving import summary

    found = evaluation.load(evaluated)
    assert "single group" not in summary.summary(found)
    found["splits"]["test"]["num_groups"] = 1
    assert (
        "\n\nTest is a single group: its interval does not include differences between groups. "
        "'python -m pipeline split --folds' tests every group.\n\n"
    ) in summary.summary(found)


def test_the_command_prints_and_writes(run_copy):
    result = run_command(run_copy, "--splits", "test,dev", "--limit", 16, "--no-ablation", "--views", "flips")
    assert result.exit_code == 0, result.output
    assert f"written to {run_copy / 'evaluation'}" in result.output
    found = evaluation.load(run_copy)
    assert (list(found["splits"]), found["limit_examples"], found["views"]) == (["dev", "test"], 16, "flips")


def test_an_evaluation_that_was_cut_short_leaves_none(run_copy):
    """Scores of one evaluation do not stay beside predictions of another."""

    def crash(*_):
        raise RuntimeError("cut short")

    options = ("--splits", "dev", "--limit", 16, "--no-ablation")
    assert run_command(run_copy, *options).exit_code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "write_classes", crash)
        assert isinstance(run_command(run_copy, *options, "--views", "flips").exception, RuntimeError)
    assert not (run_copy / "evaluation/evaluation.json").exists()
    assert run_command(run_copy, *options).exit_code == 0


def test_a_split_alone_has_only_the_fixed_thresholds(run_copy):
    result = run_command(run_copy, "--splits", "test", "--limit", 8, "--no-ablation")
    assert result.exit_code == 0, result.output
    found = evaluation.load(run_copy)
    assert list(found["thresholds"]) == ["fixed"]
    # Thresholds that match the set need no dev.
    assert list(found["splits"]["test"]["rules"]) == ["fixed", "matched-set"]
    assert "\nmatched-set                        -" in result.output


def test_matched_thresholds_are_matched_to_train(evaluated, tiny_dataset):
    from model.data.batches import read_labels
    from model.scores import thresholds

    found = evaluation.load(evaluated)
    shares = read_labels(tiny_dataset, "train").mean(axis=0)
    np.testing.assert_allclose(found["frequencies"], shares)
    (probabilities,) = evaluation.read_arrays(evaluated / "evaluation/predictions-dev.npz", "probabilities")
    np.testing.assert_array_equal(found["thresholds"]["matched"], thresholds.matched(shares, probabilities))
    (probabilities,) = evaluation.read_arrays(evaluated / "evaluation/predictions-test.npz", "probabilities")
    predicted = thresholds.predict(probabilities, thresholds.matched(shares, probabilities))
    rows = found["splits"]["test"]["rules"]["matched-set"]["classes"]
    assert [row["true_positives"] + row["false_positives"] for row in rows] == predicted.sum(axis=0).tolist()


def test_frequencies_are_counted_where_the_metadata_has_none(tmp_path):
    from model.data.batches import read_labels
    from model.data.dataset import open_dataset

    write_dataset(tmp_path, metadata={"label_counts": {}})
    dataset = open_dataset(tmp_path, 32)
    np.testing.assert_allclose(train_frequencies(dataset), read_labels(dataset, "train").mean(axis=0))
    assert train_frequencies(dataclasses.replace(dataset, num_examples={"test": 48})) is None


# Bad input


def test_a_folder_without_a_run_is_refused(tmp_path):
    result = run_command(tmp_path)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: no run in {tmp_path} (no config.json): 'python -m model.train --out {tmp_path}' makes one\n"
    )


def test_a_run_without_checkpoint_is_refused(run_copy):
    (run_copy / "checkpoints" / "best.weights.h5").unlink()
    result = run_command(run_copy)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: run {run_copy}: no epoch is finished yet, so there is nothing to score: "
        f"'python -m model.train --resume --out {run_copy}' continues it\n"
    )


def test_a_dataset_of_other_contents_is_refused_unless_told(tmp_path, run_copy):
    data_dir = tmp_path / "other"
    path = write_dataset(data_dir, seed=1)
    result = run_command(run_copy, "--data-dir", data_dir)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: dataset {path}: fingerprint {1:064x}, but {0:064x} in run {run_copy}; --other-dataset allows it\n"
    )
    result = run_command(run_copy, "--data-dir", data_dir, "--other-dataset", "--splits", "dev", "--no-ablation")
    assert result.exit_code == 0, result.output
    assert evaluation.load(run_copy)["same_dataset"] is False


def test_a_dataset_of_other_classes_is_refused_even_if_told(tmp_path, run_copy):
    schema = dataclasses.replace(HPA_KAGGLE_2018, classes=("other", *CLASS_NAMES[1:]))
    path = write_dataset(tmp_path / "other", schema=schema)
    result = run_command(run_copy, "--data-dir", tmp_path / "other", "--other-dataset")
    assert result.exit_code == 1
    assert result.output == f"Error: dataset {path}: class 0 is 'other', but 'Nucleoplasm' in run {run_copy}\n"


def test_a_dataset_that_is_gone_is_said_to_be(run_copy):
    config = json.loads((run_copy / "config.json").read_text())
    config["dataset"]["path"] = "/nowhere/hpa_stacked/32/1.0.0"
    (run_copy / "config.json").write_text(json.dumps(config))
    result = run_command(run_copy)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: the dataset of run {run_copy} is no longer at /nowhere/hpa_stacked/32/1.0.0: "
        "name its place with --data-dir\n"
    )


def test_an_unknown_split_is_refused(run_copy):
    result = run_command(run_copy, "--splits", "dev,val")
    assert result.exit_code == 1
    assert result.output == "Error: no split 'val': expected some of train, dev, test\n"


def test_an_evaluation_that_is_missing_or_damaged_is_refused(run_copy):
    with pytest.raises(evaluation.MissingError, match="was not evaluated: 'python -m model.evaluate"):
        evaluation.load(run_copy)
    (run_copy / "evaluation").mkdir()
    (run_copy / "evaluation" / "evaluation.json").write_text("{")
    with pytest.raises(evaluation.InputError, match="evaluation.json: not JSON"):
        evaluation.load(run_copy)
    (run_copy / "evaluation" / "evaluation.json").write_text("{}")
    with pytest.raises(
        evaluation.InputError,
        match=r"evaluation.json: expected format 4, found None: run 'python -m model.evaluate .*' again",
    ):
        evaluation.load(run_copy)


def test_thresholds_of_a_run_that_was_evaluated_without_dev_are_refused(evaluated_copy):
    path = evaluated_copy / "evaluation/evaluation.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps(evaluation.sealed({**result, "thresholds": {}})))
    message = f"^run {evaluated_copy}: no shrunk thresholds, because it was evaluated without dev$"
    with pytest.raises(InputError, match=message):
        evaluation.thresholds_of(runs.open_run(evaluated_copy), "shrunk", result["views"])


def test_matched_thresholds_without_train_are_refused(evaluated_copy):
    path = evaluated_copy / "evaluation/evaluation.json"
    path.write_text(json.dumps(evaluation.sealed({**json.loads(path.read_text()), "frequencies": None})))
    run = runs.open_run(evaluated_copy)
    for rule, read in (
        ("matched", lambda: evaluation.thresholds_of(run, "matched", "one")),
        ("matched-set", lambda: evaluation.frequencies_of(run)),
    ):
        message = f"^run {evaluated_copy}: no {rule} thresholds, because it was evaluated on a dataset without examples in train$"
        with pytest.raises(InputError, match=message):
            read()


def test_min_positives_decides_which_classes_are_frequent_in_the_ablation_too(evaluated, run_copy):
    usual = [row["change_frequent"] for row in evaluation.load(evaluated)["ablation"]["rows"][1:]]
    assert any(change["estimate"] for change in usual)
    assert run_command(run_copy, "--splits", "test", "--min-positives", 1000).exit_code == 0
    none = [row["change_frequent"] for row in evaluation.load(run_copy)["ablation"]["rows"][1:]]
    assert not any(change["estimate"] for change in none)
