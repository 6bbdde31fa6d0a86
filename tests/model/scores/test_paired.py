"""Differences between two models on the same examples."""

import numpy as np
import pytest

from model.scores import intervals, metrics, paired, ranking, thresholds
from tests.support.predictions import draw

HALF = np.full(28, 0.5)


@pytest.fixture(scope="module")
def drawn():
    """Label vectors, and the probabilities of a model and of a better one."""
    labels, worse = draw(300, 7, np.full(28, 0.2))
    return labels, worse, np.clip(worse + 0.15 * (2 * labels.astype(np.float32) - 1), 0.001, 0.999)


def test_differences_are_those_of_the_scores(drawn):
    labels, worse, better = drawn
    found = paired.paired_difference(labels, (worse, HALF), (better, HALF - 0.1))
    scores = [
        metrics.count(labels, thresholds.predict(*model)).macro_f1 for model in ((worse, HALF), (better, HALF - 0.1))
    ]
    precisions = [ranking.average_precision(labels, model).mean() for model in (worse, better)]
    assert found["macro_f1"]["estimate"] == pytest.approx(scores[1] - scores[0])
    assert found["mean_average_precision"]["estimate"] == pytest.approx(precisions[1] - precisions[0])
    assert all(difference["low"] > 0 for difference in found.values())
    assert found["mean_average_precision_frequent"] == found["mean_average_precision"]  # all are frequent


def test_the_difference_to_itself_is_nothing(drawn):
    labels, worse, _ = drawn
    found = paired.paired_difference(labels, (worse, HALF), (worse, HALF))
    assert all(set(difference.values()) == {0.0} for difference in found.values())


def test_groups_are_resampled_together(drawn):
    labels, worse, better = (np.tile(array, (4, 1)) for array in drawn)
    copies = np.tile(np.arange(300), 4)
    single = paired.paired_difference(drawn[0], (drawn[1], HALF), (drawn[2], HALF))
    grouped = paired.paired_difference(labels, (worse, HALF), (better, HALF), copies)
    alone = paired.paired_difference(labels, (worse, HALF), (better, HALF))
    for name in ("macro_f1", "mean_average_precision"):
        width = {
            key: found[name]["high"] - found[name]["low"]
            for key, found in {"single": single, "grouped": grouped, "alone": alone}.items()
        }
        assert width["grouped"] == pytest.approx(width["single"], rel=0.1)
        assert width["alone"] < 0.7 * width["single"]


def test_pairing_makes_intervals_narrower_than_those_of_other_examples(drawn):
    labels, worse, better = drawn
    paired_ends = paired.map_difference(labels, worse, better)
    shuffled = np.random.default_rng(0).permutation(len(labels))
    (weights, *_) = paired._weights(len(labels), None, 0)
    apart = paired._weighted_precision(labels.astype(bool), better, weights).mean(axis=1) - paired._weighted_precision(
        labels[shuffled].astype(bool), worse[shuffled], weights
    ).mean(axis=1)
    low, high = np.quantile(apart, [0.025, 0.975])
    assert paired_ends.high - paired_ends.low < 0.9 * (high - low)


def test_equal_weights_give_the_average_precision_with_ties():
    labels, probabilities = draw(200, 12, np.full(28, 0.2), digits=2)
    found = paired._weighted_precision(labels.astype(bool), probabilities, np.full((1, 200), 0.7, np.float32))
    np.testing.assert_allclose(found[0], ranking.average_precision(labels, probabilities), rtol=1e-6)


def test_classes_without_positives_are_left_out(drawn):
    labels, worse, better = drawn
    only = labels.copy()
    only[:, 1:] = 0
    expected = paired.map_difference(labels[:, :1], worse[:, :1], better[:, :1])
    assert paired.map_difference(only, worse, better) == expected
    assert paired.map_difference(np.zeros_like(labels), worse, better) == intervals.Interval(0, 0, 0)


def test_correct_predictions_add_up_to_the_true_positives(drawn):
    labels, worse, _ = drawn
    correct = metrics.correct(labels, worse >= 0.5)
    assert correct.dtype == bool
    np.testing.assert_array_equal(correct.sum(axis=0), metrics.count(labels, worse >= 0.5).true_positives)
