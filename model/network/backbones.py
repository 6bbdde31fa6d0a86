"""The available networks, from images to logits: our own ResNet, and those of `keras.applications`."""

import dataclasses
import functools
from typing import Any

import keras

from model.network import losses, resnet
from model.settings import Settings

RGB, BGR = ("red", "green", "blue"), ("blue", "green", "red")


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network of `keras.applications`, and what its ImageNet weights were trained on."""

    application: str
    """Its name in `keras.applications`."""
    first: str
    """The layer whose kernel sees the channels of the image."""
    num_weights: tuple[int, int]
    """Number of weights for three channels: without the output layer, and with it."""
    channels: tuple[str, str, str] = RGB
    input_std: float = 1.0
    """Standard deviation of the pixels that it was trained on; here, inputs have standard deviation 1."""
    normalises: bool = False
    """Whether it normalises images itself by default."""

    def make(self, weights: str | None = None, **options: Any) -> keras.Model:
        """Returns the network for normalised images; `options` are those of `keras.applications`."""
        if self.normalises:
            options["include_preprocessing"] = False
        return getattr(keras.applications, self.application)(weights=weights, **options)


BACKBONES = {
    # Its weights come from Caffe: blue, green and red, on the scale 0..255, minus their means. 57.6 is 255 times the
    # mean of 0.229, 0.224 and 0.225, the standard deviations of ImageNet.
    "resnet": Backbone("ResNet50", "conv1_conv", (23_587_712, 25_636_712), BGR, 57.6),
    "densenet-121": Backbone("DenseNet121", "conv1_conv", (7_037_504, 8_062_504)),
    "efficientnet-v2-b0": Backbone("EfficientNetV2B0", "stem_conv", (5_919_312, 7_200_312), normalises=True),
    "convnext-tiny": Backbone("ConvNeXtTiny", "convnext_tiny_stem", (27_820_128, 28_589_128), normalises=True),
}
"""Values of the setting `backbone`: He et al. 2016, Huang et al. 2017, Tan and Le 2021, Liu et al. 2022."""


def network(input_shape: tuple[int | None, int | None, int], num_outputs: int, settings: Settings) -> keras.Model:
    """Returns the network of the settings, from images, float `[B, H, W, C]`, to logits, float32 `[B, num_outputs]`."""
    head = functools.partial(
        resnet.head,
        num_outputs=num_outputs,
        prior=losses.initial_probability(settings.loss, settings.prior),
        pooling=settings.pooling,
        dropout=settings.dropout,
        seed=settings.seed,
    )
    inputs = keras.Input(input_shape, name="normalised")
    if settings.backbone == "resnet":
        features = resnet.features(inputs, blocks=settings.blocks, width=settings.width, extra_conv=settings.extra_conv)
    else:
        features = BACKBONES[settings.backbone].make(include_top=False, input_tensor=inputs).output
    model = keras.Model(inputs, head(features), name="backbone")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = settings.norm_momentum
    return model
