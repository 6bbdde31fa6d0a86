"""ResNet-50 (He et al. 2016) for any number of channels, and the paper's variant of it.

Layers are named as in `keras.applications.ResNet50`, so its weights can be copied by name. As published, the stride
is in the first 1 x 1 convolution of a stack.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from model.network.normalization import BatchNormalization

EPSILON = 1.001e-5
"""Epsilon of batch normalisation, as in `keras.applications`."""


def block(x: Any, filters: int, *, name: str, stride: int = 1, identity: bool = True, extra_conv: bool = False) -> Any:
    """Returns the output of a bottleneck block, with `4 * filters` channels.

    An identity block adds its input unchanged; otherwise the input passes through a convolution first. With
    `extra_conv`, the paper's variant, an identity block has two 3 x 3 convolutions.
    """
    shortcut = x
    if not identity:
        shortcut = _conv(x, 4 * filters, 1, name=f"{name}_0", stride=stride)
    x = _relu(_conv(x, filters, 1, name=f"{name}_1", stride=stride), f"{name}_1")
    x = _relu(_conv(x, filters, 3, name=f"{name}_2"), f"{name}_2")
    if identity and extra_conv:
        x = _relu(_conv(x, filters, 3, name=f"{name}_2b"), f"{name}_2b")
    x = _conv(x, 4 * filters, 1, name=f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def stack(x: Any, filters: int, blocks: int, *, name: str, stride: int = 2, extra_conv: bool = False) -> Any:
    """Returns the output of one convolution block followed by `blocks - 1` identity blocks."""
    x = block(x, filters, name=f"{name}_block1", stride=stride, identity=False)
    for index in range(2, blocks + 1):
        x = block(x, filters, name=f"{name}_block{index}", extra_conv=extra_conv)
    return x


def features(inputs: Any, *, blocks: Sequence[int] = (3, 4, 6, 3), width: int = 64, extra_conv: bool = False) -> Any:
    """Returns the feature maps `[B, h, w, F]` of images, float `[B, H, W, C]`. The defaults give ResNet-50."""
    x = layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = layers.Conv2D(width, 7, strides=2, kernel_initializer="he_normal", name="conv1_conv")(x)
    x = _relu(_norm(x, "conv1"), "conv1")
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for index, num in enumerate(blocks):
        stride = 1 if index == 0 else 2
        x = stack(x, width << index, num, name=f"conv{index + 2}", stride=stride, extra_conv=extra_conv)
    return x


def head(x: Any, num_outputs: int, *, prior: float | None, pooling: str, dropout: float, seed: int) -> Any:
    """Returns logits, float32 `[B, num_outputs]`, of feature maps `[B, h, w, F]`.

    `prior` is the initial probability of every output (Lin et al. 2017). With `avg-max`, the maximum of each feature
    map is used beside its mean: a structure that fills few pixels of an image, such as a rod or a centrosome, hardly
    changes the mean.
    """
    pooled = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if pooling == "avg-max":
        pooled = layers.Concatenate(name="pool")([pooled, layers.GlobalMaxPooling2D(name="max_pool")(x)])
    if dropout:
        pooled = layers.Dropout(dropout, seed=seed, name="dropout")(pooled)
    bias = 0.0 if prior is None else math.log(prior / (1 - prior))
    # float32 under every dtype policy: rounded logits make the loss noisy.
    return layers.Dense(
        num_outputs, bias_initializer=keras.initializers.Constant(bias), dtype="float32", name="logits"
    )(pooled)


def _conv(x: Any, filters: int, kernel_size: int, *, name: str, stride: int = 1) -> Any:
    x = layers.Conv2D(
        filters, kernel_size, strides=stride, padding="same", kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return _norm(x, name)


def _norm(x: Any, name: str) -> Any:
    return BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)


def _relu(x: Any, name: str) -> Any:
    return layers.Activation("relu", name=f"{name}_relu")(x)
