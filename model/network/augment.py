"""Augmentation: random changes to a batch, on the device, inside the compiled training step.

Every draw comes from a `keras.random.SeedGenerator`, whose state is a variable of the model. Checkpoints save it,
so a resumed run draws the same numbers as an uninterrupted one.
"""

from typing import Any

import keras
from keras import ops


class Turn(keras.layers.Layer):
    """Rotates and mirrors each image by a random symmetry of the square (one of the eight of the group D4)."""

    def __init__(self, seed: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, images: Any) -> Any:
        """Returns images of the same shape and type; each symmetry has the same probability."""
        draws = keras.random.uniform((3, ops.shape(images)[0], 1, 1, 1), seed=self.seeds)
        images = ops.where(draws[0] < 0.5, ops.flip(images, 1), images)
        images = ops.where(draws[1] < 0.5, ops.flip(images, 2), images)
        return ops.where(draws[2] < 0.5, ops.transpose(images, (0, 2, 1, 3)), images)


class Brighten(keras.layers.Layer):
    """Scales intensities by a factor within 1 +- `range`, drawn for each example and channel.

    The microscope exposes each stain separately, so channels vary independently.
    """

    def __init__(self, range: float, seed: int, max_value: int = 255, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.range = range
        self.max_value = max_value
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, images: Any) -> Any:
        """Returns float32 images on the same scale, clipped at `max_value` as a camera does."""
        shape = (ops.shape(images)[0], 1, 1, images.shape[-1])
        factors = keras.random.uniform(shape, 1 - self.range, 1 + self.range, seed=self.seeds)
        return ops.clip(ops.cast(images, "float32") * factors, 0, self.max_value)


class MixingWeights(keras.layers.Layer):
    """Draws the weight of each example in mixup, at least one half, from a beta distribution."""

    def __init__(self, alpha: float, seed: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.alpha = alpha
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, images: Any) -> Any:
        """Returns float32 `[B]`, 0.5..1."""
        draws = keras.random.beta((ops.shape(images)[0],), self.alpha, self.alpha, seed=self.seeds)
        return ops.maximum(draws, 1 - draws)


def mix(values: Any, weights: Any) -> Any:
    """Returns each example of the batch mixed with its neighbour: float32, of the shape of `values`."""
    values = ops.cast(values, "float32")
    weights = ops.reshape(weights, (-1, *[1] * (len(values.shape) - 1)))
    return weights * values + (1 - weights) * ops.roll(values, 1, axis=0)
