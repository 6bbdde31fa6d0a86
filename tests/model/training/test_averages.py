"""Averaged weights are evaluated with batch-norm statistics that fit them."""

import numpy as np
import pytest

from pipeline.schema import HPA_KAGGLE_2018
from tests.support.datasets import draw_examples, tiny_settings

SETTINGS = {"blocks": (1,), "width": 4, "learning_rate": 0.02, "norm_momentum": 0.5, "ema": 0.95}
BATCH = 32


@pytest.fixture(scope="module")
def batches():
    """Eight batches of images and label vectors."""
    drawn = draw_examples(8 * BATCH, 32, 0, "average")
    images = np.stack([image for _, image, _ in drawn])
    labels = np.stack([np.isin(np.arange(28), classes) for _, _, classes in drawn]).astype(np.float32)
    return [(images[i : i + BATCH], labels[i : i + BATCH]) for i in range(0, len(images), BATCH)]


@pytest.fixture(scope="module")
def trainee(batches):
    """A trainee after two epochs of a high learning rate, so that weights are far from their averages."""
    import keras

    from model import backend

    backend.start()
    from model.network import classifier, optimizers

    keras.utils.set_random_seed(0)
    settings = tiny_settings(**SETTINGS)
    network = classifier.build(settings, [0.2] * 4, [0.2] * 4, HPA_KAGGLE_2018)
    trainee = classifier.Trainee(network, settings, HPA_KAGGLE_2018)
    trainee.build((None, 32, 32, 4))
    trainee.compile(optimizer=optimizers.make(settings, [32]), jit_compile=backend.jit_compile())
    trainee.optimizer.build(trainee.trainable_variables)
    for _ in range(2):
        for images, labels in batches:
            trainee.train_on_batch(images, labels)
    return trainee


def loss_of(network, batches, training=False):
    """Returns the mean loss over the batches; with `training`, with the statistics of each batch."""
    from model.network import classifier

    losses = [
        classifier.loss_value(
            "cross-entropy", labels, np.asarray(network(images, training=training)), single_label=False
        )
        for images, labels in batches
    ]
    return np.mean(losses)


def test_averaged_weights_have_statistics_that_fit_them(trainee, batches):
    from model.training import checkpoints

    network = trainee.classifier
    statistics = network.non_trainable_variables
    live = [statistic.numpy() for statistic in statistics]
    with checkpoints.averaged(trainee):
        averaged = [statistic.numpy() for statistic in statistics]
        loss = loss_of(network, batches)
        fitting = loss_of(network, batches, training=True)
        for statistic, value in zip(statistics, live, strict=True):
            statistic.assign(value)
        loss_with_live_statistics = loss_of(network, batches)
        for statistic, value in zip(statistics, averaged, strict=True):
            statistic.assign(value)
    assert loss < 1.05 * fitting
    assert loss < loss_with_live_statistics
    assert all(np.array_equal(s.numpy(), value) for s, value in zip(statistics, live, strict=True))
