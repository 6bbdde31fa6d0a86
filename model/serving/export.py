"""Export of a trained model as files of its own, from the stacked image to probabilities.

Its graph holds only Keras's own layers and operations: whoever loads it needs Keras or TensorFlow and nothing else.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from model import runs
from model.serving import scoring
from pipeline.errors import InputError

KERAS_FILE = "model.keras"
SAVED_MODEL = "saved_model"
METADATA_FILE = "metadata.json"
TOLERANCE = 1e-5
"""Largest difference in a probability that the order of floating-point sums explains."""


def whole_model(run: runs.Run, views: str = "one", side: int | None = None) -> keras.Model:
    """Returns a model from stacked images `[B, side, side, C]` to probabilities, float32 `[B, classes]`.

    Channels, their order and the type of the pixels are those of the dataset. The model selects those that the network sees, resizes them
    to the run's size as the pipeline does (by area, rounded to nearest) and normalises them.

    Raises:
        InputError: `side` is not a multiple of the run's size.
    """
    size, channels = run.settings.size, run.dataset["channels"]
    side = side or size
    if side % size:
        raise InputError(f"images of {side} pixels a side: expected a multiple of {size}, which the run was trained on")
    images = keras.Input((side, side, len(channels)), dtype=run.schema.dtype, name="image")
    x = ops.cast(images, "float32")
    if side > size:
        # Means of whole numbers over boxes of a power of two are exact in float32, and so is the rounding.
        x = ops.floor(ops.average_pool(x, side // size, strides=side // size) + 0.5)
    chosen = [channels.index(channel) for channel in run.settings.channels]
    if chosen != list(range(len(channels))):
        x = ops.take(x, np.array(chosen), axis=-1)
    return keras.Model(images, scoring.load_model(run, views)(x), name="hpa_stacked")


def export(run: runs.Run, folder: Path, views: str = "one", side: int | None = None) -> tuple[list[Path], float]:
    """Writes the run's model, and returns the files and their largest difference from the run on random images.

    Raises:
        MissingError: the run has no checkpoint.
        InputError: `side` does not fit, or a file gives other probabilities.
    """
    model = whole_model(run, views, side)
    written = write(model, folder, card(run, views, side or run.settings.size))
    runs.write_json(folder / METADATA_FILE, metadata(run, views, side or run.settings.size))
    shape, dtype = (2, *model.input_shape[1:]), np.dtype(run.schema.dtype)
    images = np.random.default_rng(0).integers(0, run.schema.max_value, shape, dtype, endpoint=True)
    return written, check(model, written, images)


def metadata(run: runs.Run, views: str, side: int) -> dict[str, Any]:
    """Returns what a program needs to know of the files, as plain values."""
    schema = run.schema
    return {
        "schema": schema.name,
        "channels": list(schema.channel_names),
        "class_names": list(schema.classes),
        "single_label": schema.single_label,
        "input_size": side,
        "input_dtype": schema.dtype,
        "views": views,
        "preset": run.settings.preset,
        "dataset_fingerprint": run.dataset["fingerprint"],
        "synthetic": run.dataset["synthetic"],
    }


def write(model: keras.Model, folder: Path, card: str) -> list[Path]:
    """Writes the model as a Keras file and, with TensorFlow or JAX, as a SavedModel; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / KERAS_FILE)
    written = [folder / KERAS_FILE]
    if keras.backend.backend() != "torch":
        model.export(folder / SAVED_MODEL, format="tf_saved_model", verbose=False)
        written.append(folder / SAVED_MODEL)
    (folder / "README.txt").write_text(card)
    return written


def check(model: keras.Model, written: Sequence[Path], images: np.ndarray) -> float:
    """Returns the largest difference between the probabilities of `model` and of the written files for `images`.

    Raises:
        InputError: it is more than `TOLERANCE`.
    """
    expected = np.asarray(model.predict_on_batch(images))
    worst = 0.0
    for path in written:
        worst = max(worst, float(np.abs(_probabilities(path, images) - expected).max()))
        if not worst <= TOLERANCE:
            raise InputError(f"{path}: its probabilities differ by {worst:.2g} from those of the run")
    return worst


def _probabilities(path: Path, images: np.ndarray) -> Any:
    if path.name == KERAS_FILE:
        return np.asarray(keras.models.load_model(path, compile=False).predict_on_batch(images))
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # keeps the variables alive
    return loaded.serve(images).numpy()


def card(run: runs.Run, views: str, side: int) -> str:
    """Returns the README of the files: what they are and how to load them."""
    names = "\n".join(f"  {index:2}  {name}" for index, name in enumerate(run.schema.classes))
    schema = run.schema
    probability = "the probability of each class" + (", which add up to 1" if schema.single_label else "")
    origin = "drawn, not photographed, images (SYNTHETIC)" if run.dataset["synthetic"] else "published images"
    return f"""\
A classifier of {schema.num_classes} classes: preset {run.settings.preset}, trained on {origin},
schema {schema.name}, dataset fingerprint {run.dataset["fingerprint"]}.

In:  {schema.dtype} [B, {side}, {side}, {schema.num_channels}], channels {", ".join(schema.channel_names)}, \
0..{schema.max_value} as in the dataset.
Out: float32 [B, {schema.num_classes}], {probability}; mean over views: {views}.

  import keras
  model = keras.models.load_model("{KERAS_FILE}")
  probabilities = model.predict(images)

  import tensorflow as tf
  model = tf.saved_model.load("{SAVED_MODEL}")
  probabilities = model.serve(images)

Classes:
{names}
"""
