"""ImageNet weights for a network with any number of input channels.

Weights are copied by layer name. Only `conv1_conv` is adapted, and only the output layer is left out. Every other
mismatch raises an error: a half-pretrained network trains worse than a random one, and nothing shows it.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from pipeline.errors import InputError, MissingError

SOURCE_CHANNELS = ("blue", "green", "red")
"""Channel order of `keras.applications.ResNet50`: its weights come from Caffe, which uses BGR."""

SOURCE_SCALE = 57.6
"""Standard deviation of the pixels that it was trained on, which were centred on the scale 0..255: the mean of 0.229,
0.224 and 0.225 of 255 for red, green and blue. Here, inputs have standard deviation 1."""

HEADS = ("logits", "predictions")


def source_model(weights: str) -> keras.Model:
    """Returns `keras.applications.ResNet50` with ImageNet weights, or with the weights in the file `weights`.

    Raises:
        MissingError: the file does not exist, or ImageNet weights could not be downloaded.
        InputError: the file does not hold the weights of a ResNet-50.
    """
    if weights == "imagenet":
        return _imagenet()
    if not Path(weights).is_file():
        raise MissingError(f"no weights file {weights}")
    for include_top in (False, True):
        model = keras.applications.ResNet50(weights=None, include_top=include_top)
        # Keras only warns about a file that fits in part, and leaves the rest random.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                model.load_weights(weights)
            except (ValueError, OSError, KeyError, UserWarning):
                continue
        return model
    raise InputError(f"weights file {weights}: expected the weights of keras.applications.ResNet50")


def _imagenet() -> keras.Model:
    try:
        return keras.applications.ResNet50(weights="imagenet", include_top=False)
    except Exception as error:  # Keras raises a plain Exception for network errors
        raise MissingError(
            f"ImageNet weights could not be downloaded ({str(error)[:80]}): download the file and pass --weights FILE"
        ) from error


def copy_weights(source: keras.Model, target: keras.Model, channels: Sequence[str]) -> int:
    """Copies the weights of `source` (three channels) into `target`, and returns the number of layers.

    Raises:
        InputError: a layer is in only one of the two networks, or differs in shape.
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
    """Returns the first kernel `[7, 7, C, 64]` for `channels`, made from a kernel for `SOURCE_CHANNELS`.

    Red, green and blue keep their own weights; any other channel gets the mean of the three. All are scaled by 3 / C,
    so that activations keep their size, and by `SOURCE_SCALE`, because inputs have standard deviation 1.

    Raises:
        InputError: the kernel does not have three input channels.
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
