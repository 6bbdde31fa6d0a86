"""Baselines score what their definition says."""

import csv

import numpy as np
import pytest

from model.scores import baselines, metrics
from tests.support.predictions import draw


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


def test_constant_frequencies_predict_the_classes_of_at_least_half_of_train():
    labels, _ = draw(200, 6, np.linspace(0.1, 0.9, 28))
    frequencies = np.linspace(0, 1, 28)
    counts = baselines.constant(labels, frequencies)
    np.testing.assert_array_equal(counts.recall, frequencies >= 0.5)
