"""Descriptions of a split agree with scikit-learn and hold no NaN."""

import json

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from model.scores import describe
from tests.support.predictions import NAMES, draw

FIXED = {"fixed": np.full(28, 0.5)}


def test_scores_of_a_split_agree_with_scikit_learn():
    labels, probabilities = draw(800, 2)
    split = describe.describe_split(labels, probabilities, FIXED, NAMES)
    rule = split["rules"]["fixed"]
    expected = sklearn_metrics.precision_recall_fscore_support(labels, probabilities >= 0.5, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose([row[name] for row in rule["classes"]], values, rtol=0, atol=1e-9)
    macro = sklearn_metrics.f1_score(labels, probabilities >= 0.5, average="macro", zero_division=0)
    assert rule["macro_f1"] == pytest.approx(macro, abs=1e-9)
    briers = [sklearn_metrics.brier_score_loss(labels[:, k], probabilities[:, k].astype(float)) for k in range(28)]
    assert split["calibration"]["brier"] == pytest.approx(np.mean(briers), abs=1e-9)


def test_every_interval_of_a_description_holds_its_score():
    labels, probabilities = draw(300, 14)
    rule = describe.describe_split(labels, probabilities, FIXED, NAMES)["rules"]["fixed"]
    assert rule["interval"]["low"] < rule["macro_f1"] < rule["interval"]["high"]
    assert rule["interval"]["estimate"] == pytest.approx(rule["macro_f1"], abs=1e-12)
    frequent = rule["macro_f1_frequent"]
    assert frequent["low"] < frequent["estimate"] < frequent["high"]
    for row in rule["classes"]:
        assert 0 <= row["f1_low"] <= row["f1"] <= row["f1_high"] <= 1


def test_absent_classes_are_named_and_never_nan():
    labels, probabilities = draw(50, 3, np.full(28, 0.3))
    labels[:, [4, 9]] = 0
    split = describe.describe_split(labels, probabilities, FIXED, NAMES)
    assert split["absent"] == ["class 4", "class 9"]
    assert split["average_precision"][4] is None
    assert split["rules"]["fixed"]["classes"][4]["f1"] == 0.0
    assert "NaN" not in json.dumps(split)
    present = np.delete(np.arange(28), [4, 9])
    expected = sklearn_metrics.average_precision_score(labels[:, present], probabilities[:, present])
    assert split["mean_average_precision"] == pytest.approx(expected, abs=1e-9)


def test_a_split_without_any_label_is_described_without_nan():
    split = describe.describe_split(np.zeros((5, 28), np.uint8), np.full((5, 28), 0.2, np.float32), FIXED, NAMES)
    assert split["mean_average_precision"] is None
    assert "NaN" not in json.dumps(split)


def test_errors_are_paired_within_an_example():
    labels, predicted = np.zeros((2, 28), np.uint8), np.zeros((2, 28), bool)
    labels[0, 3], predicted[0, [5, 6]] = 1, True
    labels[1, 3], predicted[1, 3] = 1, True
    pairs = describe.error_pairs(labels, predicted)
    assert (pairs[3, 5], pairs[3, 6], pairs.sum()) == (1, 1, 2)


def test_an_ablation_compares_each_set_of_channels_with_all_of_them():
    labels, probabilities = draw(400, 15, np.append(np.full(27, 0.2), 0.01))
    rows = describe.describe_ablation(labels, probabilities, {("red",): probabilities, ("green",): probabilities / 4})
    assert [row["blanked"] for row in rows] == [[], ["red"], ["green"]]
    assert rows[0]["change"] is rows[0]["change_frequent"] is None
    assert rows[1]["change"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}
    change, frequent = rows[2]["change"], rows[2]["change_frequent"]
    assert change["estimate"] == pytest.approx(rows[2]["macro_f1"] - rows[0]["macro_f1"], abs=1e-12)
    assert change["high"] < 0
    assert frequent["high"] < 0
    assert frequent["estimate"] != change["estimate"]  # without the rare class


def draw_single(num: int, seed: int, num_classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Returns label vectors with one class each, the last class absent, and probabilities that add up to 1."""
    rng = np.random.default_rng(seed)
    labels = np.eye(num_classes, dtype=np.uint8)[rng.integers(0, num_classes - 1, num)]
    logits = 1.5 * labels + rng.normal(size=labels.shape)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities.astype(np.float32)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_scores_of_single_labels_agree_with_scikit_learn():
    labels, probabilities = draw_single(500, 1)
    split = describe.describe_split(labels, probabilities, {}, NAMES[:6])
    truth, predicted = labels.argmax(axis=1), probabilities.argmax(axis=1)
    assert list(split["rules"]) == ["highest"]
    macro = sklearn_metrics.f1_score(truth, predicted, labels=range(6), average="macro", zero_division=0)
    assert split["rules"]["highest"]["macro_f1"] == pytest.approx(macro, abs=1e-12)
    assert split["accuracy"]["estimate"] == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    balanced = sklearn_metrics.balanced_accuracy_score(truth, predicted)
    assert split["balanced_accuracy"]["estimate"] == pytest.approx(balanced)
    for name in ("accuracy", "balanced_accuracy"):
        assert split[name]["low"] < split[name]["estimate"] < split[name]["high"]
    assert split["confusion"] == sklearn_metrics.confusion_matrix(truth, predicted, labels=range(6)).tolist()
    assert split["absent"] == ["class 5"]
    assert "NaN" not in json.dumps(split)


def test_baselines_of_single_labels_are_the_majority_and_draws_by_frequency():
    labels, probabilities = draw_single(4000, 2)
    frequencies = np.array([0.1, 0.5, 0.1, 0.1, 0.2, 0.0])
    found = describe.describe_split(labels, probabilities, {}, NAMES[:6], frequencies=frequencies)["baselines"]
    majority = np.full(len(labels), 1)
    truth = labels.argmax(axis=1)
    assert found["majority_accuracy"] == pytest.approx((truth == 1).mean())
    expected = sklearn_metrics.f1_score(truth, majority, labels=range(6), average="macro", zero_division=0)
    assert found["majority"] == pytest.approx(expected)
    assert found["balanced_accuracy"] == pytest.approx(1 / 5)
    drawn = np.random.default_rng(3).choice(6, size=len(labels), p=frequencies)
    expected = sklearn_metrics.f1_score(truth, drawn, labels=range(6), average="macro", zero_division=0)
    assert found["drawn_by_frequency"] == pytest.approx(expected, abs=0.02)


def test_calibration_of_single_labels_is_that_of_the_most_probable_class():
    labels = np.array([[1, 0, 0], [0, 1, 0]], np.uint8)
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1]], np.float32)
    found = describe.describe_split(labels, probabilities, {}, NAMES[:3])["calibration"]
    assert found["expected_error"] == pytest.approx((0.2 + 0.6) / 2, abs=1e-6)
    assert sum(found["bins"]["count"]) == 2


def test_an_ablation_of_single_labels_compares_the_most_probable_classes():
    labels, probabilities = draw_single(300, 4)
    rows = describe.describe_ablation(labels, probabilities, {("dna",): probabilities / 3}, single_label=True)
    assert rows[1]["change"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}
    assert rows[1]["macro_f1"] == rows[0]["macro_f1"] > 0.3
