"""Export of a trained model as standalone files, from the stacked image to probabilities.

Its graph holds only Keras's own layers and operations: loading it needs only Keras, TensorFlow or an ONNX runtime.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from model import runs
from model.network import normalization
from model.serving import card, scoring
from pipeline.errors import InputError

KERAS_FILE = "model.keras"
SAVED_MODEL = "saved_model"
ONNX_FILE = "model.onnx"
METADATA_FILE = "metadata.json"
CARD_FILE = "README.md"
FOR_ONNX = ("onnx", "onnxruntime", "tf2onnx")
"""Packages of the extra `onnx`."""

TOLERANCE = 1e-5
"""Largest difference in a probability that the order of floating-point sums explains."""


def whole_model(run: runs.Run, views: str = "one", side: int | None = None) -> keras.Model:
    """Returns a model from stacked images `[B, side, side, C]` to probabilities, float32 `[B, classes]`.

    Channels, their order and the type of the pixels are those of the dataset. The model selects the channels that the
    network sees, resizes them to the run's size as the pipeline does (by area, rounded to nearest) and normalises them.

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
    model = normalization.with_keras_layers(scoring.load_model(run, views))
    return keras.Model(images, model(x), name="hpa_stacked")


def export(run: runs.Run, folder: Path, views: str = "one", side: int | None = None) -> tuple[list[Path], float]:
    """Writes the run's model, and returns the files and their largest difference from the run on random images.

    Raises:
        MissingError: the run has no checkpoint.
        InputError: `side` does not fit, or a file gives other probabilities.
    """
    model = whole_model(run, views, side)
    written = write(model, folder)
    runs.write_json(folder / METADATA_FILE, metadata(run, views, side or run.settings.size))
    shape, dtype = (2, *model.input_shape[1:]), np.dtype(run.schema.dtype)
    images = np.random.default_rng(0).integers(0, run.schema.max_value, shape, dtype, endpoint=True)
    worst = check(model, written, images)
    text = card.text(run, views, side or run.settings.size, [path.name for path in written])
    (folder / CARD_FILE).write_text(text)
    return written, worst


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


def write(model: keras.Model, folder: Path) -> list[Path]:
    """Writes the model as a Keras file, with TensorFlow or JAX as a SavedModel, and with the extra `onnx` as ONNX.

    Returns what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / KERAS_FILE)
    written = [folder / KERAS_FILE]
    if keras.backend.backend() != "torch":
        model.export(folder / SAVED_MODEL, format="tf_saved_model", verbose=False)
        written.append(folder / SAVED_MODEL)
    if not missing_for_onnx():
        written.append(_write_onnx(folder / KERAS_FILE, folder / ONNX_FILE))
    return written


def missing_for_onnx() -> list[str]:
    """Returns the packages of the extra `onnx` that are not installed."""
    return [name for name in FOR_ONNX if importlib.util.find_spec(name) is None]


_CONVERT = """
import sys, keras
model = keras.models.load_model(sys.argv[1], compile=False)
model.export(sys.argv[2], format="onnx", input_signature=model.inputs, verbose=False)
"""


def _write_onnx(keras_file: Path, path: Path) -> Path:
    """Converts the Keras file, in a separate process: tf2onnx needs Keras on TensorFlow, and changes NumPy."""
    env = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", _CONVERT, str(keras_file), str(path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        problem = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200]
        raise InputError(
            f"{path}: the model cannot be converted to ONNX ({problem}): pip uninstall tf2onnx leaves this file out"
        )
    return path


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
    if path.name == ONNX_FILE:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {"image": images})[0]
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # keeps the variables alive
    return loaded.serve(images).numpy()
