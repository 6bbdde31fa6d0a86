"""Checkpoints: the full state of a run in one file, the best weights in another, each replaced atomically."""

import contextlib
import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from model import runs
from model.network.averages import as_array
from model.network.classifier import Trainee
from model.training import weights
from pipeline.errors import InputError, MissingError
from pipeline.store import files


@dataclasses.dataclass
class Position:
    """How far a run has got. `step` counts from the start of the run, `step_in_epoch` from the start of `epoch`."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    """Sum of the losses of the `loss_steps` steps of this epoch that are in `steps.csv`."""
    loss_steps: int = 0
    best_loss: float = math.inf
    best_epoch: int = -1


def save(path: Path, trainee: keras.Model, position: Position) -> None:
    """Writes the full state of training to `path`, a NumPy `.npz` file.

    Raises:
        FloatingPointError: a weight is not finite; the file at `path` stays as it was.
    """
    arrays = {key: as_array(variable) for key, variable in _state(trainee).items()}
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise FloatingPointError("weights are not finite")
    with files.replacing(path) as file:
        np.savez(file, **{"position": np.array(json.dumps(dataclasses.asdict(position))), **arrays})  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())  # before the rename: after a power failure, the name must not point to half a file


def restore(path: Path, trainee: keras.Model) -> Position:
    """Loads the state that `save` wrote into `trainee`, and returns the position.

    Raises:
        MissingError: `path` does not exist.
        InputError: the file is damaged, or belongs to another network or optimiser.
    """
    if not path.exists():
        raise MissingError(f"no checkpoint {path}: nothing to resume")
    state = _state(trainee)
    try:
        # Opened here because NumPy does not close a file that turns out to be damaged.
        with open(path, "rb") as file, np.load(file) as arrays:
            saved = {key: arrays[key] for key in arrays.files}
        position = _position(str(saved.pop("position")))
        if any(array.dtype.kind not in "fiub" or not np.isfinite(array).all() for array in saved.values()):
            raise ValueError("a value is not a finite number")
    except runs.DAMAGE as error:
        raise InputError(f"checkpoint {path} is damaged: {error}") from error
    if set(saved) != set(state) or any(saved[key].shape != tuple(state[key].shape) for key in saved):
        raise InputError(f"checkpoint {path} belongs to another network or optimiser")
    for key, variable in state.items():
        variable.assign(saved[key])
    return position


def _position(text: str) -> Position:
    """Returns the position in JSON; raises `TypeError` or `ValueError` for anything else."""
    position = Position(**json.loads(text))
    for field in dataclasses.fields(Position):
        value, whole = getattr(position, field.name), field.type is int
        if type(value) not in ((int,) if whole else (int, float)) or value < (-1 if field.name == "best_epoch" else 0):
            raise ValueError(f"{field.name} is {value!r:.40}")
    return position


def save_best(path: Path, classifier: keras.Model) -> None:
    """Writes the classifier's weights alone, in Keras's format."""
    with files.staged(path) as temporary:
        classifier.save_weights(temporary)
        weights.record(path, temporary)


def averaged(trainee: Trainee) -> contextlib.AbstractContextManager[None]:
    """Returns a context in which the classifier has the averaged weights, if the trainee keeps any."""
    return trainee.averages.in_place() if trainee.averages else contextlib.nullcontext()


def _state(trainee: keras.Model) -> dict[str, Any]:
    """Returns every variable that a step reads: weights, statistics, averages, random state, optimiser, mean loss."""
    groups = {"model": trainee.variables, "optimizer": trainee.optimizer.variables, "loss": trainee.metrics_variables}
    return {f"{group}/{i:04d}": variable for group, variables in groups.items() for i, variable in enumerate(variables)}
