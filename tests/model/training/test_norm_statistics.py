"""Moving statistics of batch normalisation that lag behind the weights show in the loss on dev."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from model import runs
from model.data.batches import eval_batches
from model.training import norm_statistics


@pytest.fixture(scope="module")
def run(trained):
    """A run whose batches are as large as its dev."""
    opened = runs.open_run(trained)
    return dataclasses.replace(opened, settings=dataclasses.replace(opened.settings, batch_size=48))


@pytest.fixture
def norms_of():
    def found(model):
        return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]

    return found


def test_losses_are_equal_where_the_moving_statistics_are_those_of_the_batch(run, tiny_dataset, norms_of):
    model = runs.load_classifier(run)
    for norm in norms_of(model):
        norm.momentum = 0.0
    (batch,) = eval_batches(tiny_dataset, "dev", channels=run.settings.channels, batch_size=48).as_numpy_iterator()
    model(batch.images, training=True)
    losses = norm_statistics.dev_losses(run, tiny_dataset, model)
    assert losses["moving"] == pytest.approx(losses["batch"], rel=1e-4)


def test_statistics_that_lag_raise_the_loss_and_stay_as_they_are(run, tiny_dataset, norms_of):
    model = runs.load_classifier(run)
    fitting = norm_statistics.dev_losses(run, tiny_dataset, model)["batch"]
    for norm in norms_of(model):  # as before the first step, or after a few with a momentum near 1
        norm.moving_mean.assign(np.zeros(norm.moving_mean.shape))
        norm.moving_variance.assign(np.ones(norm.moving_variance.shape))
    losses = norm_statistics.dev_losses(run, tiny_dataset, model)
    assert losses["moving"] > 1.2 * losses["batch"]
    assert losses["batch"] == pytest.approx(fitting, rel=1e-6)
    assert not any(np.any(norm.moving_mean) for norm in norms_of(model))


def test_batch_statistics_are_those_of_training_and_dropout_stays_off(norms_of):
    images = keras.Input((8, 8, 2))
    x = keras.layers.BatchNormalization(scale=False)(keras.layers.Conv2D(3, 3)(images))
    inner = keras.Model(images, x)
    model = keras.Model(images, keras.layers.Dropout(0.5)(inner(images)))
    pixels = np.random.default_rng(0).normal(3, 2, (8, 8, 8, 2)).astype(np.float32)
    found = norm_statistics.with_batch_statistics(model)(pixels, training=False)
    np.testing.assert_allclose(found, inner(pixels, training=True), atol=1e-5)


def test_both_losses_are_recorded_at_the_end_of_a_run(trained):
    checkpoint = json.loads((trained / "metrics.json").read_text())["checkpoint"]
    # Dev is three whole batches, so that the loss that chose the checkpoint is of the same examples.
    assert checkpoint["dev_loss_moving_statistics"] == pytest.approx(checkpoint["dev_loss"], rel=1e-5)
    assert checkpoint["dev_loss_batch_statistics"] != checkpoint["dev_loss_moving_statistics"]
