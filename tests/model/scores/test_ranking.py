"""Ranking scores agree with scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from model.scores import ranking
from tests.support.predictions import draw


@pytest.mark.parametrize("digits", [None, 2])
def test_average_precision_agrees_with_scikit_learn(digits):
    labels, probabilities = draw(900, 1, np.full(28, 0.1), digits)
    expected = [sklearn_metrics.average_precision_score(labels[:, k], probabilities[:, k]) for k in range(28)]
    np.testing.assert_allclose(ranking.average_precision(labels, probabilities), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("digits", [None, 1])
def test_auc_agrees_with_scikit_learn(digits):
    labels, probabilities = draw(900, 1, np.full(28, 0.1), digits)
    expected = [sklearn_metrics.roc_auc_score(labels[:, k], probabilities[:, k]) for k in range(28)]
    np.testing.assert_allclose(ranking.auc(labels, probabilities), expected, rtol=0, atol=1e-9)


def test_a_class_that_all_or_none_have_has_no_auc():
    assert np.isnan(ranking.auc(np.array([[1, 0], [1, 0]]), np.array([[0.1, 0.2], [0.3, 0.4]]))).all()


def test_a_thinned_curve_never_lies_below_the_curve():
    labels, probabilities = draw(900, 2, np.full(28, 0.2))
    precision, recall = ranking.precision_recall(labels[:, 0], probabilities[:, 0])
    points = np.array(ranking.thinned(precision, recall, num=20))
    assert len(points) <= 21
    assert np.all(np.diff(points[:, 0]) >= 0)
    assert np.all(np.diff(points[:, 1]) <= 0)
    for where, value in points:
        assert value >= precision[recall >= where].max() - 1e-4
