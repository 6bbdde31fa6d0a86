"""Calibration errors are as defined."""

import numpy as np
import pytest

from model.scores import calibration


def test_true_probabilities_are_calibrated_and_distorted_ones_are_not():
    rng = np.random.default_rng(6)
    probabilities = rng.random((20_000, 28))
    labels = rng.random(probabilities.shape) < probabilities
    reliability = calibration.reliability(labels, probabilities)
    assert reliability.count.sum() == labels.size
    assert reliability.expected_error < 0.005
    assert calibration.reliability(labels, probabilities**3).expected_error > 0.1
    assert calibration.classwise_error(labels, probabilities) < 0.02


def test_expected_calibration_error_is_as_defined():
    labels, probabilities = np.array([[1, 0, 1, 0]]), np.array([[0.95, 0.95, 0.05, 1.0]])
    # One bin of three with mean 2.9/3 and share 1/3, one of one with mean 0.05 and share 1.
    expected = 3 / 4 * (2.9 / 3 - 1 / 3) + 1 / 4 * 0.95
    assert calibration.reliability(labels, probabilities).expected_error == pytest.approx(expected)
