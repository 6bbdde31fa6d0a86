"""What is said of a run: figures that agree with scikit-learn, error bars that hold, thresholds, baselines."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn import metrics as sklearn_metrics

from model import runs
from model.evaluate import blanked_sets, main
from model.page import gallery
from model.scores import baselines, calibration, evaluation, intervals, metrics, ranking, thresholds
from pipeline.errors import InputError
from tests.support.datasets import write_dataset

NAMES = [f"class {index}" for index in range(28)]

# Of the real label table.
COUNTS = [12885, 1254, 3621, 1561, 1858, 2513, 1008, 2822, 53, 45, 28, 1093, 688, 537]
COUNTS += [1066, 21, 530, 210, 902, 1482, 172, 3777, 802, 2965, 322, 8228, 328, 11]
SHARES = np.array(COUNTS) / 31072


def run_command(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def draw(num: int, seed: int, shares: np.ndarray = SHARES, digits: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns label vectors and probabilities of a model that knows something; rounded ones have ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((num, 28)) < shares).astype(np.uint8)
    noise = rng.normal(size=(num, 28))
    probabilities = 1 / (1 + np.exp(-(2 * labels - 1.5 + noise)))
    probabilities = probabilities.round(digits) if digits is not None else probabilities
    return labels, probabilities.astype(np.float32)


# Figures


@pytest.mark.parametrize("digits", [None, 2])
def test_average_precision_agrees_with_scikit_learn(digits):
    labels, probabilities = draw(900, 1, np.full(28, 0.1), digits)
    expected = [sklearn_metrics.average_precision_score(labels[:, k], probabilities[:, k]) for k in range(28)]
    np.testing.assert_allclose(ranking.average_precision(labels, probabilities), expected, rtol=0, atol=1e-9)


def test_scores_of_a_split_agree_with_scikit_learn():
    labels, probabilities = draw(800, 2)
    found = evaluation.describe_split(labels, probabilities, {"fixed": np.full(28, 0.5)}, NAMES)
    rule = found["rules"]["fixed"]
    expected = sklearn_metrics.precision_recall_fscore_support(labels, probabilities >= 0.5, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose([row[name] for row in rule["classes"]], values, rtol=0, atol=1e-9)
    macro = sklearn_metrics.f1_score(labels, probabilities >= 0.5, average="macro", zero_division=0)
    assert rule["macro_f1"] == pytest.approx(macro, abs=1e-9)
    briers = [sklearn_metrics.brier_score_loss(labels[:, k], probabilities[:, k].astype(float)) for k in range(28)]
    assert found["calibration"]["brier"] == pytest.approx(np.mean(briers), abs=1e-9)


def test_absent_classes_are_named_and_never_nan():
    labels, probabilities = draw(50, 3, np.full(28, 0.3))
    labels[:, [4, 9]] = 0
    found = evaluation.describe_split(labels, probabilities, {"fixed": np.full(28, 0.5)}, NAMES)
    assert found["absent"] == ["class 4", "class 9"]
    assert found["average_precision"][4] is None
    assert found["rules"]["fixed"]["classes"][4]["f1"] == 0.0
    assert "NaN" not in json.dumps(found)
    present = np.delete(np.arange(28), [4, 9])
    expected = sklearn_metrics.average_precision_score(labels[:, present], probabilities[:, present])
    assert found["mean_average_precision"] == pytest.approx(expected, abs=1e-9)


def test_a_split_without_any_label_is_described_without_nan():
    found = evaluation.describe_split(
        np.zeros((5, 28), np.uint8), np.full((5, 28), 0.2, np.float32), {"fixed": np.full(28, 0.5)}, NAMES
    )
    assert found["mean_average_precision"] is None
    assert "NaN" not in json.dumps(found)


def test_every_class_for_every_image_scores_0_0996_on_the_real_table(real_labels):
    with open(real_labels, newline="") as file:
        rows = [[int(word) for word in row["Target"].split()] for row in csv.DictReader(file)]
    labels = np.zeros((len(rows), 28), np.uint8)
    for vector, row in zip(labels, rows, strict=True):
        vector[row] = 1
    assert baselines.all_positive(labels).macro_f1 == pytest.approx(0.0996, abs=5e-5)


def test_drawing_by_frequency_scores_what_a_simulation_scores():
    labels, _ = draw(40_000, 4, np.linspace(0.02, 0.6, 28))
    frequencies = np.linspace(0.05, 0.5, 28)
    drawn = np.random.default_rng(5).random(labels.shape) < frequencies
    simulated = metrics.count(labels, drawn).f1
    np.testing.assert_allclose(baselines.drawn_by_frequency(labels, frequencies), simulated, atol=0.02)


def test_probabilities_that_mean_what_they_say_are_calibrated():
    rng = np.random.default_rng(6)
    probabilities = rng.random((20_000, 28))
    labels = rng.random(probabilities.shape) < probabilities
    found = calibration.reliability(labels, probabilities)
    assert found.count.sum() == labels.size
    assert found.expected_error < 0.005
    assert calibration.reliability(labels, probabilities**3).expected_error > 0.1
    assert calibration.classwise_error(labels, probabilities) < 0.02


def test_expected_calibration_error_is_as_defined():
    labels, probabilities = np.array([[1, 0, 1, 0]]), np.array([[0.95, 0.95, 0.05, 1.0]])
    # One bin of three with mean 2.9/3 and share 1/3, one of one with mean 0.05 and share 1.
    expected = 3 / 4 * (2.9 / 3 - 1 / 3) + 1 / 4 * 0.95
    assert calibration.reliability(labels, probabilities).expected_error == pytest.approx(expected)


def test_errors_are_paired_within_an_example():
    labels, said = np.zeros((2, 28), np.uint8), np.zeros((2, 28), bool)
    labels[0, 3], said[0, [5, 6]] = 1, True
    labels[1, 3], said[1, 3] = 1, True
    found = evaluation.error_pairs(labels, said)
    assert (found[3, 5], found[3, 6], found.sum()) == (1, 1, 2)


# Error bars


def coverage(num: int, trials: int, prior: float, recall: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Returns how often intervals hold the true macro F1: over 28 classes, and over those with ten positives."""
    truth = intervals.f1_of(np.concatenate([SHARES * recall, (1 - SHARES) * wrong, SHARES * (1 - recall)]))
    rng, hits = np.random.default_rng(0), np.zeros((trials, 2))
    for trial in range(trials):
        labels = rng.random((num, 28)) < SHARES
        said = np.where(labels, rng.random(labels.shape) < recall, rng.random(labels.shape) < wrong)
        replicates = intervals.f1_replicates(labels, said, num=200, seed=trial, prior=prior)
        frequent = labels.sum(axis=0) >= 10
        f1 = metrics.count(labels, said).f1
        for column, chosen in enumerate((np.ones(28, bool), frequent)):
            found = intervals.macro(f1, replicates, chosen)
            hits[trial, column] = found.low <= truth[chosen].mean() <= found.high
    return tuple(hits.mean(axis=0))


def test_intervals_hold_the_true_score_nearly_as_often_as_they_say():
    rng = np.random.default_rng(1)
    recall, wrong = rng.uniform(0.1, 0.8, 28), SHARES * rng.uniform(0.2, 1.0, 28)
    over_all, over_frequent = coverage(300, 60, intervals.PRIOR, recall, wrong)
    assert over_all >= 0.85
    assert over_frequent >= 0.87
    # The plain bootstrap is far too sure of classes of which the split has hardly any example.
    assert coverage(300, 60, 0.0, recall, wrong)[0] < 0.5


def test_intervals_hold_where_rare_classes_are_never_found():
    rng = np.random.default_rng(1)
    recall, wrong = rng.uniform(0.1, 0.8, 28), SHARES * rng.uniform(0.2, 1.0, 28)
    recall[SHARES < 0.01] = wrong[SHARES < 0.01] = 0
    over_all, over_frequent = coverage(300, 60, intervals.PRIOR, recall, wrong)
    assert min(over_all, over_frequent) >= 0.8


def test_copies_in_a_group_add_no_certainty():
    labels, probabilities = draw(300, 7, np.full(28, 0.3))
    said = probabilities >= 0.5
    f1 = metrics.count(labels, said).f1
    alone = intervals.macro(f1, intervals.f1_replicates(labels, said))
    copied = [np.repeat(one, 5, axis=0) for one in (labels, said)]
    grouped = intervals.macro(f1, intervals.f1_replicates(*copied, np.repeat(np.arange(300), 5)))
    naive = intervals.macro(f1, intervals.f1_replicates(*copied))
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert naive.high - naive.low < 0.6 * (grouped.high - grouped.low)


def test_an_interval_holds_its_estimate_and_depends_on_the_seed_alone():
    labels, probabilities = draw(40, 8)
    said = probabilities >= 0.5
    f1 = metrics.count(labels, said).f1
    one, again = (intervals.macro(f1, intervals.f1_replicates(labels, said, seed=2)) for _ in range(2))
    assert one == again
    assert one.low <= one.estimate <= one.high


def test_a_run_does_not_differ_from_itself_and_a_better_one_does():
    labels, probabilities = draw(600, 9, np.full(28, 0.2))
    said = probabilities >= 0.5
    assert intervals.difference(labels, said, said) == intervals.Interval(0.0, 0.0, 0.0)
    better = np.where(np.random.default_rng(0).random(said.shape) < 0.3, labels.astype(bool), said)
    change = intervals.difference(labels, said, better)
    expected = metrics.count(labels, better).macro_f1 - metrics.count(labels, said).macro_f1
    assert change.estimate == pytest.approx(expected, abs=1e-9)
    assert change.low > 0


def test_an_id_without_a_group_is_its_own():
    assert intervals.group_codes(["a", "b", "c", "d"], {"a": "1", "c": "1", "d": "b"}).tolist() == [0, 1, 0, 2]


# Thresholds


def test_matched_thresholds_predict_each_class_as_often_as_it_occurs():
    labels, probabilities = draw(2000, 10)
    said = thresholds.predict(probabilities, thresholds.matched(labels, probabilities))
    np.testing.assert_array_equal(said.sum(axis=0), labels.sum(axis=0))


def test_the_flat_threshold_is_the_best_on_the_grid():
    labels, probabilities = draw(500, 11, np.full(28, 0.1))
    flat = thresholds.best_flat(labels, probabilities)
    best = max(metrics.at_threshold(labels, probabilities, one).macro_f1 for one in thresholds.GRID)
    assert metrics.at_threshold(labels, probabilities, flat).macro_f1 == best


def test_the_best_threshold_of_a_class_is_the_best_of_all():
    labels, probabilities = draw(200, 12, np.full(28, 0.2), digits=2)
    labels, probabilities = labels[:, 0], probabilities[:, 0]
    found = thresholds.best_of_class(labels, probabilities, 0.5)
    scores = [sklearn_metrics.f1_score(labels, probabilities >= one) for one in np.unique(probabilities)]
    assert sklearn_metrics.f1_score(labels, probabilities >= found) == pytest.approx(max(scores))


def test_thresholds_of_rare_classes_stay_near_the_flat_one():
    labels, probabilities = draw(3000, 13)
    chosen = thresholds.choose(labels, probabilities)
    flat = chosen["flat"][0]
    own = np.array([thresholds.best_of_class(labels[:, k], probabilities[:, k], flat) for k in range(28)])
    moved = np.abs(chosen["shrunk"] - flat) / np.maximum(np.abs(own - flat), 1e-9)
    assert np.all((chosen["shrunk"] - flat) * (own - flat) >= -1e-12)
    assert moved[27] < 0.1  # Rods & rings, about one example
    assert moved[0] > 0.9 or abs(own[0] - flat) < 1e-3


def test_thresholds_per_class_overfit_dev_and_shrinking_them_helps():
    better, gaps = 0, {"own": 0.0, "shrunk": 0.0}
    for seed in range(5):
        dev, test = draw(300, 100 + seed), draw(3000, 200 + seed)
        chosen = thresholds.choose(*dev)
        flat = chosen["flat"][0]
        own = np.array([thresholds.best_of_class(dev[0][:, k], dev[1][:, k], flat) for k in range(28)])
        scores = {}
        for name, values in (("own", own), ("shrunk", chosen["shrunk"])):
            on_dev, on_test = (
                metrics.count(one[0], thresholds.predict(one[1], values)).macro_f1 for one in (dev, test)
            )
            gaps[name] += on_dev - on_test
            scores[name] = on_test
        better += scores["shrunk"] >= scores["own"]
    assert gaps["shrunk"] < gaps["own"]
    assert better >= 4


def test_at_least_one_adds_the_nearest_class_where_there_is_none():
    probabilities = np.array([[0.4, 0.2, 0.1], [0.9, 0.1, 0.1]])
    chosen = np.array([0.9, 0.25, 0.5])
    said = thresholds.predict(probabilities, chosen)
    assert said.tolist() == [[False, False, False], [True, False, False]]
    assert thresholds.at_least_one(said, probabilities, chosen).tolist() == [[False, True, False], [True, False, False]]


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
    channels = ["red", "green", "blue", "yellow"]
    assert gallery.coloured(image, "yellow", channels)[1, 1].tolist() == [255, 255, 0]
    assert gallery.coloured(image, "red", channels)[0, 0].tolist() == [255, 0, 0]
    mixed = gallery.composite(image, channels).astype(int)
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
    assert found["splits"]["test"]["absent"] == NAMES[4:]
    text = summary.summary(found)
    assert (
        f"test: no example of {', '.join(NAMES[4:])}: their F1 counts as 0, their average precision not at all" in text
    )
    assert "shrunk" in text
    rows = list(csv.DictReader(open(evaluated / "evaluation" / "classes.csv", newline="")))
    assert len(rows) == 3 * 28
    assert rows[-1]["average_precision"] == ""


def test_an_evaluation_reads_each_split_once(run_copy, monkeypatch):
    import tensorflow as tf

    opened = []

    class Counting(tf.data.TFRecordDataset):
        def __init__(self, paths, **settings):
            opened.extend(paths)
            super().__init__(paths, **settings)

    monkeypatch.setattr(tf.data, "TFRecordDataset", Counting)
    result = run_command(run_copy)
    assert result.exit_code == 0, result.output
    assert len(evaluation.load(run_copy)["ablation"]["rows"]) == 6
    assert len(opened) == len(set(opened)) == 9  # three shards of each split, with ablation and gallery


@pytest.mark.parametrize("batch_size", [1, 7, 60])
def test_pictures_kept_on_the_way_are_those_that_the_gallery_chooses(batch_size):
    from model.serving.candidates import Candidates

    rng = np.random.default_rng(batch_size)
    images = rng.integers(0, 256, (60, 8, 8, 4), dtype=np.uint8)
    labels = (rng.random((60, 28)) < 0.2).astype(np.uint8)
    probabilities = rng.random((60, 28)).astype(np.float32).round(1)  # many ties
    candidates = Candidates(["red", "green", "blue", "yellow"])
    for start in range(0, 60, batch_size):
        part = slice(start, start + batch_size)
        candidates.add(images[part], labels[part], probabilities[part])
    brightness = images[..., 1].mean(axis=(1, 2), dtype=np.float64)
    assert (candidates.brightness == brightness).all()
    indices = [choice.index for choice in gallery.choose(labels, probabilities, brightness)]
    assert len(indices) == 3 * gallery.PER_KIND
    assert (candidates.pictures(indices) == images[indices]).all()


def test_the_ablation_blanks_each_reference_all_of_them_and_the_protein(evaluated):
    found = evaluation.load(evaluated)["ablation"]
    assert found["split"] == "test"
    expected = [[], ["red"], ["blue"], ["yellow"], ["red", "blue", "yellow"], ["green"]]
    assert [row["blanked"] for row in found["rows"]] == expected
    assert blanked_sets(("green",)) == [("green",)]
    assert blanked_sets(("green", "blue", "red")) == [("blue",), ("red",), ("blue", "red"), ("green",)]


def test_a_blanked_channel_is_its_mean_over_train(evaluated):
    from model import runs
    from model.serving import scoring

    run = runs.open_run(evaluated)
    image = np.full((2, 4, 4, 4), 200, np.uint8)
    blanked = scoring.blank(image, run, ["blue"])
    np.testing.assert_allclose((blanked[..., 2] / 255 - run.mean[2]) / run.std[2], 0, atol=1e-6)
    assert np.all(blanked[..., [0, 1, 3]] == 200)


def test_views_of_a_symmetric_set_agree(evaluated):
    from model import runs
    from model.network.classifier import predict_batch
    from model.serving import scoring

    run = runs.open_run(evaluated)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 4), dtype=np.uint8)
    one, flips, d4 = (scoring.load_model(run, views) for views in scoring.VIEWS)
    turned = [np.rot90(images, k, (1, 2)) for k in range(4)]
    every = [view for k in turned for view in (k, k[:, ::-1])]
    expected = np.mean([predict_batch(one, view, 32) for view in every], axis=0)
    np.testing.assert_allclose(predict_batch(d4, images, 32), expected, atol=1e-6)
    mirrored = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]
    expected = np.mean([predict_batch(one, view, 32) for view in mirrored], axis=0)
    np.testing.assert_allclose(predict_batch(flips, images, 32), expected, atol=1e-6)


def test_groups_of_the_dataset_are_redrawn_whole(tmp_path, tiny_data_dir, run_copy):
    data_dir = tmp_path / "grouped"
    shutil.copytree(tiny_data_dir, data_dir)
    rows = [f"synthetic-dev-{k:04d},g{k // 24}\n" for k in range(48)]
    (data_dir / "hpa_stacked/32/1.0.0/groups.csv").write_text("Id,Group\n" + "".join(rows))
    result = run_command(run_copy, "--data-dir", data_dir, "--splits", "dev", "--no-ablation")
    assert result.exit_code == 0, result.output
    found = evaluation.load(run_copy)
    assert (found["splits"]["dev"]["num_examples"], found["splits"]["dev"]["num_groups"]) == (48, 2)
    assert found["dataset"]["num_grouped"] == 48
    assert "ablation" not in found


def test_the_command_prints_and_writes(run_copy):
    result = run_command(run_copy, "--splits", "test,dev", "--limit", 16, "--no-ablation", "--views", "flips")
    assert result.exit_code == 0, result.output
    assert f"written to {run_copy / 'evaluation'}" in result.output
    found = evaluation.load(run_copy)
    assert (list(found["splits"]), found["limit_examples"], found["views"]) == (["dev", "test"], 16, "flips")


def test_a_split_alone_has_only_the_fixed_thresholds(run_copy):
    result = run_command(run_copy, "--splits", "test", "--limit", 8, "--no-ablation")
    assert result.exit_code == 0, result.output
    assert list(evaluation.load(run_copy)["thresholds"]) == ["fixed"]


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
    assert result.output == f"Error: run {run_copy} has no checkpoint: no epoch of it was finished\n"


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
    path = write_dataset(tmp_path / "other", class_names=["other", *NAMES[1:]])
    result = run_command(run_copy, "--data-dir", tmp_path / "other", "--other-dataset")
    assert result.exit_code == 1
    assert result.output == f"Error: dataset {path}: class 0 is 'other', but 'class 0' in run {run_copy}\n"


def test_a_dataset_that_is_gone_is_said_to_be(run_copy):
    config = json.loads((run_copy / "config.json").read_text())
    config["dataset"]["path"] = "/nowhere/hpa_stacked/32/1.0.0"
    (run_copy / "config.json").write_text(json.dumps(config))
    result = run_command(run_copy)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: the dataset of run {run_copy} is no longer at /nowhere/hpa_stacked/32/1.0.0: "
        "--data-dir says where it is\n"
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
    with pytest.raises(evaluation.InputError, match="writes it anew"):
        evaluation.load(run_copy)


def test_thresholds_of_a_run_that_was_evaluated_without_dev_are_refused(evaluated_copy):
    path = evaluated_copy / "evaluation/evaluation.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "thresholds": {}}))
    message = f"^run {evaluated_copy}: no shrunk thresholds, because it was evaluated without dev$"
    with pytest.raises(InputError, match=message):
        evaluation.thresholds_of(runs.open_run(evaluated_copy), "shrunk", result["views"])
