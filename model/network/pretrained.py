"""ImageNet weights for a network with any number of input channels.

Weights are copied by layer name. Only the first kernel is adapted, and only the output layer is left out. Every other
mismatch raises an error: a half-pretrained network trains worse than a random one, without any sign of it.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from model.network.backbones import BACKBONES, Backbone
from pipeline.errors import InputError, MissingError

HEADS = ("logits", "predictions", "convnext_tiny_head_dense")


def source_model(weights: str, backbone: str = "resnet") -> keras.Model:
    """Returns a backbone of `keras.applications` with ImageNet weights, or with the weights in the file `weights`.

    Raises:
        MissingError: the file does not exist, or ImageNet weights could not be downloaded.
        InputError: the file does not hold the weights of this backbone.
    """
    wanted = BACKBONES[backbone]
    if weights == "imagenet":
        return _imagenet(wanted)
    if not Path(weights).is_file():
        raise MissingError(f"no weights file {weights}")
    num = _num_weights(Path(weights))
    if num in wanted.num_weights:
        found = _load(model := wanted.make(include_top=num == wanted.num_weights[1]), weights)
        if found is None:
            return model
    else:
        others = [f"those of {other.application}" for other in BACKBONES.values() if num in other.num_weights]
        found = (*others, f"{num:,} others")[0]
    raise InputError(
        f"weights file {weights}: expected the weights of keras.applications.{wanted.application}, found {found}"
    )


def _load(model: keras.Model, weights: str) -> str | None:
    """Loads a file into the model, and returns the first line of the error if it does not fit."""
    # Keras only warns about a file that fits in part, and leaves the rest random.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            model.load_weights(weights)
        except (ValueError, OSError, KeyError, UserWarning) as error:
            return (str(error).splitlines() or [type(error).__name__])[0][:80]
    return None


def _num_weights(path: Path) -> int:
    """Returns the number of weights in a file, by which its network is recognised; 0 if it is not HDF5."""
    sizes: list[int] = []

    def add(name: str, item: Any) -> None:
        # The states of random number generators, which dropout has, are whole numbers.
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            sizes.append(item.size)

    try:
        with h5py.File(path) as file:
            file.visititems(add)
    except (OSError, RuntimeError, KeyError):
        return 0
    return sum(sizes)


def _imagenet(backbone: Backbone) -> keras.Model:
    try:
        return backbone.make("imagenet", include_top=False)
    except Exception as error:  # Keras raises a plain Exception for network errors
        raise MissingError(
            f"ImageNet weights could not be downloaded ({str(error)[:80]}): download the file and pass --weights FILE"
        ) from error


def copy_weights(source: keras.Model, target: keras.Model, channels: Sequence[str], backbone: str = "resnet") -> int:
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
        if name == BACKBONES[backbone].first:
            values[0] = adapted_kernel(values[0], channels, backbone)
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if [value.shape for value in values] != shapes:
            raise InputError(
                f"pretrained weights do not fit: {name} is {[value.shape for value in values]}, expected {shapes}"
            )
        layer.set_weights(values)
    return len(ours)


def adapted_kernel(kernel: np.ndarray, channels: Sequence[str], backbone: str = "resnet") -> np.ndarray:
    """Returns the first kernel `[h, w, C, F]` for `channels`, made from one for red, green and blue.

    These three keep their own weights; any other channel gets the mean of the three. All are scaled by 3 / C, so that
    activations keep their size, and by the standard deviation of the inputs that the backbone was trained on.

    Raises:
        InputError: the kernel does not have three input channels.
    """
    known = BACKBONES[backbone]
    if kernel.ndim != 4 or kernel.shape[2] != len(known.channels):
        raise InputError(f"pretrained weights do not fit: {known.first} is {kernel.shape}, expected 3 input channels")
    mean = kernel.mean(axis=2)
    planes = [kernel[:, :, known.channels.index(name)] if name in known.channels else mean for name in channels]
    return np.stack(planes, axis=2) * np.float32(known.input_std * len(known.channels) / len(planes))


def _weighted(model: keras.Model) -> dict[str, keras.layers.Layer]:
    return {_name(layer): layer for layer in model.layers if layer.weights and layer.name not in HEADS}


def _name(layer: keras.layers.Layer) -> str:
    """Returns the name of a layer, without the generated number of ConvNeXt's last normalisation."""
    return re.sub(r"^layer_normalization_\d+$|^convnext_tiny_head_layernorm$", "layer_normalization", layer.name)


def _capped(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
