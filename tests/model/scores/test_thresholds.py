"""Thresholds follow their rules and do not overfit dev."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from model.scores import metrics, thresholds
from tests.support.predictions import SHARES, draw


def test_matched_thresholds_predict_each_class_for_its_share_of_train():
    _, probabilities = draw(2000, 10)
    of_train = np.random.default_rng(1).integers(1, 1000, 28) / 2000
    predicted = thresholds.predict(probabilities, thresholds.matched(of_train, probabilities))
    np.testing.assert_array_equal(predicted.sum(axis=0), of_train * 2000)


def test_matched_thresholds_know_nothing_of_the_labels_of_dev():
    labels, probabilities = draw(300, 10)
    chosen = thresholds.choose(labels, probabilities, SHARES)["matched"]
    others = thresholds.choose(labels[::-1], probabilities, SHARES)["matched"]
    np.testing.assert_array_equal(chosen, others)
    assert "matched" not in thresholds.choose(labels, probabilities)


def test_a_rare_class_is_predicted_once_and_an_absent_one_never():
    _, probabilities = draw(100, 10)
    shares = np.zeros(28)
    shares[:2] = 1e-4, 0.026
    predicted = thresholds.predict(probabilities, thresholds.matched(shares, probabilities)).sum(axis=0)
    assert predicted[0] == 1
    assert predicted[1] in (2, 3)
    assert not predicted[2:].any()


def test_thresholds_that_match_the_set_need_no_dev():
    _, probabilities = draw(2000, 10)
    chosen = thresholds.with_matched_set(thresholds.choose_on(None, 28), SHARES, probabilities)
    assert list(chosen) == ["fixed", "matched-set"]
    predicted = thresholds.predict(probabilities, chosen["matched-set"]).mean(axis=0)
    np.testing.assert_allclose(predicted, SHARES, atol=1 / 2000)
    # The same rule after every probability has shrunk: only their order within the set matters.
    smaller = thresholds.with_matched_set({}, SHARES, probabilities / 10)["matched-set"]
    np.testing.assert_array_equal(
        thresholds.predict(probabilities / 10, smaller), thresholds.predict(probabilities, chosen["matched-set"])
    )


def test_the_flat_threshold_is_the_best_on_the_grid():
    labels, probabilities = draw(500, 11, np.full(28, 0.1))
    flat = thresholds.best_flat(labels, probabilities)
    best = max(metrics.at_threshold(labels, probabilities, value).macro_f1 for value in thresholds.GRID)
    assert metrics.at_threshold(labels, probabilities, flat).macro_f1 == best


def test_the_best_threshold_of_a_class_is_the_best_of_all():
    labels, probabilities = draw(200, 12, np.full(28, 0.2), digits=2)
    labels, probabilities = labels[:, 0], probabilities[:, 0]
    threshold = thresholds.best_of_class(labels, probabilities, 0.5)
    scores = [sklearn_metrics.f1_score(labels, probabilities >= value) for value in np.unique(probabilities)]
    assert sklearn_metrics.f1_score(labels, probabilities >= threshold) == pytest.approx(max(scores))


def test_thresholds_of_rare_classes_stay_near_the_flat_one():
    labels, probabilities = draw(3000, 13)
    chosen = thresholds.choose(labels, probabilities, SHARES)
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
                metrics.count(split[0], thresholds.predict(split[1], values)).macro_f1 for split in (dev, test)
            )
            gaps[name] += on_dev - on_test
            scores[name] = on_test
        better += scores["shrunk"] >= scores["own"]
    assert gaps["shrunk"] < gaps["own"]
    assert better >= 4


def test_at_least_one_adds_the_nearest_class_where_there_is_none():
    probabilities = np.array([[0.4, 0.2, 0.1], [0.9, 0.1, 0.1]])
    chosen = np.array([0.9, 0.25, 0.5])
    predicted = thresholds.predict(probabilities, chosen)
    assert predicted.tolist() == [[False, False, False], [True, False, False]]
    assert thresholds.at_least_one(predicted, probabilities, chosen).tolist() == [
        [False, True, False],
        [True, False, False],
    ]
