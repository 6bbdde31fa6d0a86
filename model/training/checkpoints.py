"""How does a killed run go on exactly where it was? One file holds all state, replaced in one step."""

import contextlib
import dataclasses
import json
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.errors import InputError, MissingError


@dataclasses.dataclass
class Position:
    """Where a run stands. `step` counts from the start of the run, `step_in_epoch` from that of `epoch`."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    """Over the steps of this epoch that are in `steps.csv`: sum of the losses, and how many they are."""
    loss_steps: int = 0
    best_loss: float = math.inf
    best_epoch: int = -1


def save(path: Path, trainee: keras.Model, position: Position) -> None:
    """Writes everything that decides how the run goes on.

    Raises:
        FloatingPointError: a weight is not a finite number; the file at `path` stays as it was.
    """
    arrays = {key: as_array(variable) for key, variable in _state(trainee)}
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise FloatingPointError("weights are not finite")
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, position=np.array(json.dumps(dataclasses.asdict(position))), **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def restore(path: Path, trainee: keras.Model) -> Position:
    """Puts back what `save` wrote, and returns where the run stood.

    Raises:
        MissingError: no checkpoint there.
        InputError: it is damaged, or of another network or optimiser.
    """
    if not path.exists():
        raise MissingError(f"no checkpoint {path}: nothing to resume")
    state = dict(_state(trainee))
    try:
        with np.load(path) as file:
            saved = {key: file[key] for key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"checkpoint {path} is damaged: {error}") from error
    position = Position(**json.loads(str(saved.pop("position"))))
    if set(saved) != set(state) or any(saved[key].shape != tuple(state[key].shape) for key in saved):
        raise InputError(f"checkpoint {path} is of another network or optimiser")
    for key, variable in state.items():
        variable.assign(saved[key])
    return position


def save_best(path: Path, classifier: keras.Model) -> None:
    """Writes the classifier's weights alone, in Keras's format."""
    temporary = path.with_name(f".tmp.{path.name}")  # Keras insists on the ending
    classifier.save_weights(temporary)
    temporary.replace(path)


@contextlib.contextmanager
def averaged(trainee: keras.Model) -> Iterator[None]:
    """Inside, the weights are their moving averages, if the optimiser keeps any; then the live ones are back."""
    optimizer: Any = getattr(trainee.optimizer, "inner_optimizer", trainee.optimizer)
    if not optimizer.use_ema:
        yield
        return
    variables = trainee.trainable_variables
    live = [as_array(variable) for variable in variables]
    optimizer.put_averages(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, live, strict=True):
            variable.assign(value)


def as_array(variable: Any) -> np.ndarray:
    """Returns a copy of the variable's value, that of the first device if several hold one each."""
    return np.array(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)))


def _state(trainee: keras.Model) -> list[tuple[str, Any]]:
    """Returns every variable that a step reads: weights, moving statistics, random state, optimiser, loss so far."""
    groups = {"model": trainee.variables, "optimizer": trainee.optimizer.variables, "loss": trainee.metrics_variables}
    return [
        (f"{group}/{index:04d}", variable) for group, found in groups.items() for index, variable in enumerate(found)
    ]
