"""How do weights trained on ImageNet's three colours get into a network of any number of channels?

Layer by layer, by name. Only `conv1_conv` is adapted and only the output layer is left out; every other
mismatch is refused, because half a pretrained network trains worse than none and looks the same.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from pipeline.errors import InputError, MissingError

SOURCE_CHANNELS = ("blue", "green", "red")
"""Those of `keras.applications.ResNet50`: its weights come from Caffe, which reads colours backwards."""

SOURCE_SCALE = 57.6
"""Standard deviation of the pixels it was trained on: centred, but on the scale 0..255 (0.229, 0.224 and 0.225
of 255 for red, green and blue, in the mean). Ours have standard deviation 1."""

HEADS = ("logits", "predictions")


def source_model(weights: str) -> keras.Model:
    """Returns `keras.applications.ResNet50` with ImageNet's weights, or with those of the file `weights`.

    Raises:
        MissingError: no such file, or ImageNet's could not be fetched.
        InputError: the file's weights are not those of a ResNet-50.
    """
    if weights == "imagenet":
        return _imagenet()
    if not Path(weights).is_file():
        raise MissingError(f"no weights file {weights}")
    for include_top in (False, True):
        model = keras.applications.ResNet50(weights=None, include_top=include_top)
        # A file that fits only in part makes Keras warn, and leaves random weights: no better than an error.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                model.load_weights(weights)
            except (ValueError, OSError, KeyError, UserWarning):
                continue
        return model
    raise InputError(f"weights file {weights}: not weights of keras.applications.ResNet50")


def _imagenet() -> keras.Model:
    try:
        return keras.applications.ResNet50(weights="imagenet", include_top=False)
    except Exception as error:  # Keras wraps what the network says in a plain Exception
        raise MissingError(
            f"ImageNet weights could not be fetched ({str(error)[:80]}): --weights FILE takes the file itself"
        ) from error


def copy_weights(source: keras.Model, target: keras.Model, channels: Sequence[str]) -> int:
    """Copies every layer's weights from `source` (three channels) into `target`; returns how many layers.

    Raises:
        InputError: a layer that only one of them has, or of another shape.
    """
    theirs, ours = _weighted(source), _weighted(target)
    if set(theirs) != set(ours):
        odd = sorted(set(theirs) ^ set(ours))
        raise InputError(f"pretrained weights do not fit: {_capped(odd)} in only one of the two networks")
    for name, layer in ours.items():
        values = theirs[name].get_weights()
        if name == "conv1_conv":
            values[0] = adapted_kernel(values[0], channels)
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if [value.shape for value in values] != shapes:
            raise InputError(
                f"pretrained weights do not fit: {name} is {[value.shape for value in values]}, expected {shapes}"
            )
        layer.set_weights(values)
    return len(ours)


def adapted_kernel(kernel: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Returns a first kernel `[7, 7, C, 64]` for the `channels`, made from one for `SOURCE_CHANNELS`.

    Red, green and blue keep their own kernels; any other channel gets the mean of the three. All are scaled by
    3 / C, so that C channels of the same content give the activation that three gave, and by `SOURCE_SCALE`,
    because what comes in is normalised to standard deviation 1.
    """
    if kernel.ndim != 4 or kernel.shape[2] != len(SOURCE_CHANNELS):
        raise InputError(f"pretrained weights do not fit: conv1_conv is {kernel.shape}, expected 3 input channels")
    mean = kernel.mean(axis=2)
    planes = [kernel[:, :, SOURCE_CHANNELS.index(name)] if name in SOURCE_CHANNELS else mean for name in channels]
    return np.stack(planes, axis=2) * np.float32(SOURCE_SCALE * len(SOURCE_CHANNELS) / len(planes))


def _weighted(model: keras.Model) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in model.layers if layer.weights and layer.name not in HEADS}


def _capped(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
