"""Augmentation: random changes to a batch, on the device, inside the compiled training step.

All random numbers come from a `keras.random.SeedGenerator`, whose state is a variable of the model. Checkpoints save
it, so a resumed run draws the same numbers as an uninterrupted one.
"""

import math
from typing import Any

import keras
from keras import ops

from model.settings import Settings


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


class Warp(keras.layers.Layer):
    """Cuts a square of `side` pixels out of each image at a random place, rotated, scaled and sheared at random.

    Rotation and shear are at most the given degrees, either way. The scale factor is between 1 / (1 + `scale`) and
    1 + `scale`, with a uniform logarithm. Beyond its edges, the image is mirrored. Pixels are interpolated
    bilinearly, once for all changes, with `take`, because XLA cannot compile TensorFlow's own operation.
    """

    def __init__(self, side: int, rotation: float, scale: float, shear: float, seed: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.side = side
        self.rotation, self.shear = math.radians(rotation), math.radians(shear)
        self.scale = scale
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, images: Any) -> Any:
        """Returns float32 images `[B, side, side, C]` on the same scale."""
        images = ops.cast(images, "float32")
        draws = keras.random.uniform((5, ops.shape(images)[0], 1, 1), seed=self.seeds)
        top, left = (ops.floor(draws[i] * (images.shape[1 + i] - self.side + 1)) for i in (0, 1))
        # Coordinates are relative to the centre, so that the matrix leaves the centre in place.
        middle = (self.side - 1) / 2
        steps = ops.arange(self.side, dtype="float32") - middle
        down, right = steps[None, :, None], steps[None, None, :]
        if self.rotation or self.scale or self.shear:
            down, right = self._turned(draws[2:], down, right)
            return _bilinear(images, down + (top + middle), right + (left + middle))
        return _pixels(images, *(ops.cast(at, "int32") for at in (down + (top + middle), right + (left + middle))))

    def _turned(self, draws: Any, down: Any, right: Any) -> tuple[Any, Any]:
        """Returns the image coordinates of points in the cut, both relative to the centre of the cut."""
        angle, shear, size = (2 * draws[i] - 1 for i in range(3))
        angle, shear = angle * self.rotation, ops.tan(shear * self.shear)
        size = ops.exp(size * -math.log1p(self.scale))  # a larger image is read in smaller steps
        right = right + shear * down
        cos, sin = size * ops.cos(angle), size * ops.sin(angle)
        return cos * down - sin * right, sin * down + cos * right


def _bilinear(images: Any, down: Any, right: Any) -> Any:
    """Returns the values of `images` at coordinates `[B, h, w]` in pixels: float32 `[B, h, w, C]`."""
    y, x = ops.floor(down), ops.floor(right)
    v, u = (down - y)[..., None], (right - x)[..., None]
    y, x = ops.cast(y, "int32"), ops.cast(x, "int32")
    above = (1 - u) * _pixels(images, y, x) + u * _pixels(images, y, x + 1)
    below = (1 - u) * _pixels(images, y + 1, x) + u * _pixels(images, y + 1, x + 1)
    return (1 - v) * above + v * below


def _pixels(images: Any, y: Any, x: Any) -> Any:
    """Returns the pixels of `images` at whole coordinates, which may lie outside: `[B, h, w, C]`."""
    height, width, channels = images.shape[1:]
    num = ops.shape(images)[0]
    places = ops.reshape(ops.arange(num, dtype="int32"), (-1, 1, 1)) * (height * width)
    places = places + _reflected(y, height) * width + _reflected(x, width)
    return ops.take(ops.reshape(images, (-1, channels)), places, axis=0)


def _reflected(index: Any, length: int) -> Any:
    """Returns indices within 0..length - 1: the image is mirrored at its outermost pixels."""
    index = ops.mod(index, max(1, 2 * (length - 1)))
    return ops.minimum(index, 2 * (length - 1) - index)


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


def layers(settings: Settings, max_value: int, seeds: Any) -> list[keras.layers.Layer]:
    """Returns the layers that change images, in the order in which they are applied; `seeds` are three numbers."""
    chosen: list[keras.layers.Layer] = []
    if settings.augment == "d4":
        chosen.append(Turn(int(seeds[0])))
    if settings.crop or settings.rotation or settings.scale or settings.shear:
        side = settings.crop or settings.size
        chosen.append(Warp(side, settings.rotation, settings.scale, settings.shear, int(seeds[1])))
    if settings.brightness:
        chosen.append(Brighten(settings.brightness, int(seeds[2]), max_value))
    return chosen


def mix(values: Any, weights: Any) -> Any:
    """Returns each example of the batch mixed with its neighbour: float32, of the shape of `values`."""
    values = ops.cast(values, "float32")
    weights = ops.reshape(weights, (-1, *[1] * (len(values.shape) - 1)))
    return weights * values + (1 - weights) * ops.roll(values, 1, axis=0)
