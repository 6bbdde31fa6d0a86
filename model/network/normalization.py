"""Batch normalisation in one operation on the TensorFlow backend.

Keras composes the layer from a dozen operations, each of which reads and writes all activations. On a CPU they take
longer than the convolutions of a narrow network.
"""

from typing import Any

import keras


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer for images `[B, H, W, C]`, with TensorFlow's fused kernels (Ioffe and Szegedy 2015).

    Weights, names and results are those of Keras's layer, except that moving variances use the unbiased estimate, as
    in TensorFlow and PyTorch. With other backends it is Keras's layer.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the normalised images, of the shape and type of `inputs`; in training, updates the statistics."""
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        # The kernel takes parameters in float32, whatever the type of the images.
        scale, offset, mean, variance = (
            tf.cast(weight, tf.float32) for weight in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        )
        update = bool(training) and self.trainable
        statistics = {} if update else {"mean": mean, "variance": variance}
        outputs, batch_mean, batch_variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, scale, offset, **statistics, epsilon=self.epsilon, is_training=update
        )
        if update:
            for moving, old, new in (
                (self.moving_mean, mean, batch_mean),
                (self.moving_variance, variance, batch_variance),
            ):
                moving.assign(old * self.momentum + new * (1.0 - self.momentum))
        return outputs


def with_keras_layers(model: keras.Model) -> keras.Model:
    """Returns a copy of the model that has Keras's layers in place of these, so that it loads without this package."""

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = keras.layers.BatchNormalization if isinstance(layer, BatchNormalization) else type(layer)
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=copied, recursive=True)
    copy.set_weights(model.get_weights())
    return copy
