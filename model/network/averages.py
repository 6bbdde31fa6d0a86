"""Moving averages of the weights and of the batch-norm statistics; these are evaluated and saved."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops


class Averages:
    """Averages of a classifier's variables, kept as variables of the model that trains it.

    The moving statistics of batch normalisation are averaged with the weights: those of the live weights do not fit
    the averaged ones, which are tens to hundreds of steps behind.

    At first, the momentum is that of `tf.train.ExponentialMovingAverage`, (1 + n) / (10 + n), where n counts updates
    from -1, so the initial weights have no part in it. This is polynomial-decay averaging (Shamir and Zhang 2013) with
    eta = 8: a mean age of a tenth of the steps so far. Once that is more than `momentum`, `momentum` applies.
    """

    def __init__(self, owner: keras.Model, classifier: keras.Model, momentum: float, every: int = 1) -> None:
        self.momentum = momentum
        self.every = every
        """Number of steps between updates of the weights."""
        self.sources = [variable for variable in classifier.variables if "float" in variable.dtype]
        """Without the counters of random generators."""
        self.values = [
            _variable(owner, source.shape, source.dtype, f"average_{source.name}") for source in self.sources
        ]
        self.num_steps = _variable(owner, (), "int32", "num_steps")

    def update(self) -> None:
        """Moves each average towards the current value; called once in each training step."""
        done = ops.cast(ops.floor_divide(self.num_steps, self.every), "float32")
        momentum = ops.minimum(self.momentum, done / (9 + done))
        self.num_steps.assign(self.num_steps + 1)
        if self.every > 1:
            momentum = ops.where(ops.equal(self.num_steps % self.every, 0), momentum, 1.0)
        for source, average in zip(self.sources, self.values, strict=True):
            average.assign(momentum * average + (1 - momentum) * source)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Gives the classifier the averages inside the block, and its own values again after it."""
        live = [as_array(source) for source in self.sources]
        self._assign([as_array(average) for average in self.values])
        try:
            yield
        finally:
            self._assign(live)

    def _assign(self, arrays: list[np.ndarray]) -> None:
        for source, array in zip(self.sources, arrays, strict=True):
            source.assign(array)


def as_array(variable: Any) -> np.ndarray:
    """Returns a copy of the variable's value: the first device's, if several devices hold one each."""
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(variable)))


def _variable(owner: keras.Model, shape: Any, dtype: str, name: str) -> Any:
    return owner.add_weight(shape=shape, dtype=dtype, initializer="zeros", trainable=False, autocast=False, name=name)
