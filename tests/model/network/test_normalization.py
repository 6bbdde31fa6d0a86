"""Batch normalisation gives what Keras's layer gives."""

import numpy as np
import pytest

from model import backend

backend.start()

import keras  # noqa: E402

from model.network.normalization import BatchNormalization  # noqa: E402

IMAGES = np.random.default_rng(0).normal(1.0, 2.0, (8, 5, 5, 3)).astype(np.float32)
CORRECTION = 200 / 199
"""Of the variance, which Keras's layer divides by N, and TensorFlow and PyTorch by N - 1."""


def layers(**options) -> list[keras.layers.Layer]:
    made = [
        kind(momentum=0.8, epsilon=1.001e-5, **options)
        for kind in (keras.layers.BatchNormalization, BatchNormalization)
    ]
    for layer in made:
        layer.build(IMAGES.shape)
        layer.gamma.assign([0.5, 1.0, 2.0])
        layer.beta.assign([0.1, 0.0, -0.3])
    return made


def test_training_gives_the_same_outputs_and_statistics():
    theirs, ours = layers()
    for _ in range(3):
        np.testing.assert_allclose(ours(IMAGES, training=True), theirs(IMAGES, training=True), rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-5)
    drawn = np.asarray(ours.moving_variance) - 0.8**3  # without the initial value
    np.testing.assert_allclose(drawn, CORRECTION * (np.asarray(theirs.moving_variance) - 0.8**3), rtol=1e-4)


def test_inference_uses_the_moving_statistics_and_leaves_them():
    theirs, ours = layers()
    for layer in (theirs, ours):
        layer.moving_mean.assign([0.5, 1.0, 1.5])
        layer.moving_variance.assign([4.0, 2.0, 1.0])
    np.testing.assert_allclose(ours(IMAGES), theirs(IMAGES), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ours.moving_mean, [0.5, 1.0, 1.5])


def test_a_frozen_layer_uses_the_moving_statistics_in_training():
    theirs, ours = layers(trainable=False)
    np.testing.assert_allclose(ours(IMAGES, training=True), theirs(IMAGES, training=True), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ours.moving_mean, [0.0, 0.0, 0.0])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the other backends run Keras's own layer")
def test_gradients_are_the_same():
    import tensorflow as tf

    def gradients(layer: keras.layers.Layer) -> list:
        images = tf.constant(IMAGES)
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(tf.sin(layer(images, training=True)))
        return tape.gradient(loss, [images, layer.gamma.value, layer.beta.value])

    for theirs, ours in zip(*map(gradients, layers()), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_bfloat16_keeps_its_type_and_statistics_in_float32():
    layer = BatchNormalization(dtype="mixed_bfloat16", momentum=0.8)
    outputs = layer(IMAGES, training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert layer.moving_mean.dtype == "float32"
    np.testing.assert_allclose(layer.moving_mean, 0.2 * IMAGES.mean((0, 1, 2)), rtol=0.02)
