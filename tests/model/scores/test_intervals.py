"""Intervals hold the true score as often as they state, and hold their own estimate."""

import time

import numpy as np
import pytest

from bench.coverage import __main__ as coverage
from bench.coverage import methods
from model.scores import intervals, metrics
from tests.support.predictions import draw


@pytest.fixture(scope="module")
def simulated() -> np.ndarray:
    """Coverage and width over 140 splits of 300 examples, float64 `[methods, scores, 2]`; some seconds."""
    return np.mean([means for _, _, means in coverage.run((300,), trials=10, workers=2)], axis=(0, 1))


@pytest.mark.parametrize("score", coverage.SCORES)
def test_intervals_hold_the_true_score_as_often_as_they_state(simulated, score):
    # The level less two points, less the standard error of 140 splits.
    assert simulated[0, coverage.SCORES.index(score), 0] >= intervals.LEVEL - 0.02 - 0.018


def test_intervals_over_frequent_classes_are_no_wider_than_they_must_be(simulated):
    score = coverage.SCORES.index("macro F1, frequent")
    percentile = 1 + methods.NAMES.index("percentile")
    assert simulated[0, score, 0] <= 0.99
    assert simulated[0, score, 1] < 1.4 * simulated[percentile, score, 1]


def test_percentile_intervals_miss_the_macro_f1_of_splits_with_unseen_classes(simulated):
    assert simulated[1 + methods.NAMES.index("percentile"), 0, 0] < 0.6


@pytest.mark.parametrize("f1", [0.0, 0.2, 0.5, 0.8])
def test_intervals_of_one_class_hold_its_f1(f1):
    rng, share = np.random.default_rng(3), f1 / (2 - f1)
    held = []
    for seed in range(60):
        labels = np.zeros((12, 28), np.uint8)
        labels[:] = 1
        low, high = intervals.resample_f1(labels, rng.random((12, 28)) < share, seed=seed).per_class()
        held.append((low <= f1) & (f1 <= high))
    assert np.mean(held) >= 0.93


def test_a_class_that_is_absent_and_never_predicted_may_have_any_f1():
    labels, probabilities = draw(200, 7, np.full(28, 0.3))
    predicted = probabilities >= 0.5
    labels[:, 3], predicted[:, 3] = 0, False
    resampled = intervals.resample_f1(labels, predicted)
    low, high = resampled.per_class()
    assert (resampled.f1[3], low[3], high[3]) == (0, 0, 1)


def test_copies_in_a_group_add_no_certainty():
    labels, probabilities = draw(300, 7, np.full(28, 0.3))
    predicted = probabilities >= 0.5
    alone = intervals.resample_f1(labels, predicted).macro()
    copied = [np.repeat(array, 5, axis=0) for array in (labels, predicted)]
    grouped = intervals.resample_f1(*copied, np.repeat(np.arange(300), 5)).macro()
    naive = intervals.resample_f1(*copied).macro()
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert naive.high - naive.low < 0.6 * (grouped.high - grouped.low)


@pytest.mark.parametrize("num", [1, 8, 40, 300])
@pytest.mark.parametrize("copied", [0.0, 1.0])
def test_an_interval_holds_its_estimate(num, copied):
    labels, probabilities = draw(num, 8)
    known = np.random.default_rng(0).random(labels.shape) < copied
    predicted = np.where(known, labels.astype(bool), probabilities >= 0.5)
    resampled = intervals.resample_f1(labels, predicted)
    macro, (low, high) = resampled.macro(), resampled.per_class()
    assert macro.estimate == pytest.approx(metrics.count(labels, predicted).macro_f1, abs=1e-12)
    assert macro.low <= macro.estimate < macro.high
    assert macro.low < macro.estimate or macro.estimate == 0
    assert np.all((low >= 0) & (low <= resampled.f1) & (resampled.f1 <= high) & (high <= 1))


def test_one_perfect_class_does_not_start_its_interval_at_the_estimate():
    labels = np.zeros((20, 28), np.uint8)
    labels[:6, 0] = 1
    macro = intervals.resample_f1(labels, labels > 0).macro()
    assert macro.estimate == pytest.approx(1 / 28)
    assert macro.low < 0.95 * macro.estimate
    assert macro.high > 0.9  # 27 classes are not in the split


def test_an_interval_depends_on_its_seed_alone():
    labels, probabilities = draw(40, 8)
    predicted = probabilities >= 0.5
    first, again = (intervals.resample_f1(labels, predicted, seed=2).macro() for _ in range(2))
    assert first == again
    assert first != intervals.resample_f1(labels, predicted, seed=3).macro()
    changed = ~predicted
    assert intervals.difference(labels, predicted, changed) == intervals.difference(labels, predicted, changed)


def test_macro_f1_of_one_group_is_at_most_1():
    labels = np.array([[1]] * 12 + [[0]] * 28, np.uint8)
    predicted = np.arange(40)[:, None] < 1
    interval = intervals.resample_f1(labels, predicted, np.zeros(40, int)).macro()
    assert 0 < interval.low < interval.estimate < interval.high <= 1


def test_an_interval_over_no_classes_is_zero():
    labels, probabilities = draw(40, 8)
    none, predicted = np.zeros(28, bool), probabilities >= 0.5
    assert intervals.resample_f1(labels, predicted).macro(none) == intervals.Interval(0.0, 0.0, 0.0)
    assert intervals.difference(labels, predicted, ~predicted, classes=none) == intervals.Interval(0.0, 0.0, 0.0)


def test_a_model_does_not_differ_from_itself_and_a_better_one_does():
    labels, probabilities = draw(600, 9, np.full(28, 0.2))
    predicted = probabilities >= 0.5
    assert intervals.difference(labels, predicted, predicted) == intervals.Interval(0.0, 0.0, 0.0)
    better = np.where(np.random.default_rng(0).random(predicted.shape) < 0.3, labels.astype(bool), predicted)
    change = intervals.difference(labels, predicted, better)
    expected = metrics.count(labels, better).macro_f1 - metrics.count(labels, predicted).macro_f1
    assert change.estimate == pytest.approx(expected, abs=1e-9)
    assert 0 < change.low < change.estimate < change.high


def test_a_difference_reversed_is_its_negative():
    labels, probabilities = draw(400, 10, np.full(28, 0.2))
    first, second = probabilities >= 0.5, probabilities >= 0.3
    forwards, backwards = intervals.difference(labels, first, second), intervals.difference(labels, second, first)
    assert backwards.estimate == pytest.approx(-forwards.estimate, abs=1e-12)
    assert backwards.low == pytest.approx(-forwards.high, abs=0.005)
    assert backwards.high == pytest.approx(-forwards.low, abs=0.005)


def test_an_interval_is_computed_within_seconds():
    labels, probabilities = draw(4072, 11)
    start = time.process_time()
    intervals.resample_f1(labels, probabilities >= 0.5).macro()
    assert time.process_time() - start < 10  # 0.1 s on a quiet core


def test_an_id_without_a_group_is_a_group_of_its_own():
    assert intervals.group_codes(["a", "b", "c", "d"], {"a": "1", "c": "1", "d": "b"}).tolist() == [0, 1, 0, 2]


def test_the_explanation_states_the_level():
    assert intervals.EXPLANATION.startswith(f"{intervals.LEVEL:.0%} intervals")


def test_intervals_of_accuracies_hold_the_true_score_in_most_splits():
    recalls, shares = np.array([0.95, 0.8, 0.6, 0.3]), np.array([0.6, 0.25, 0.1, 0.05])
    rng, num_splits = np.random.default_rng(0), 100
    held = {"accuracy": 0, "balanced": 0}
    for seed in range(num_splits):
        truth = rng.choice(4, size=200, p=shares)
        right = rng.random(200) < recalls[truth]
        labels = np.eye(4, dtype=np.uint8)[truth]
        predicted = np.eye(4, dtype=bool)[np.where(right, truth, (truth + 1) % 4)]
        accuracy = intervals.accuracy(labels, predicted, seed=seed)
        balanced = intervals.balanced_accuracy(labels, predicted, seed=seed)
        held["accuracy"] += accuracy.low <= shares @ recalls <= accuracy.high
        held["balanced"] += balanced.low <= recalls.mean() <= balanced.high
    assert min(held.values()) >= 90, held


def test_accuracies_of_no_examples_are_zero():
    empty = np.zeros((0, 3), np.uint8)
    assert intervals.accuracy(empty, empty) == intervals.balanced_accuracy(empty, empty) == intervals.Interval(0, 0, 0)


def test_accuracies_of_large_groups_are_less_certain():
    rng = np.random.default_rng(1)
    labels = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, 120)]
    predicted = labels.astype(bool).copy()
    predicted[:30] = np.roll(predicted[:30], 1, axis=1)
    alone, grouped = (intervals.accuracy(labels, predicted, codes) for codes in (None, np.arange(120) // 30))
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)
