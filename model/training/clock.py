"""Measures the time that training steps wait for their batches."""

import time
from collections.abc import Callable, Iterator
from typing import Any


class Clock:
    """Adds up the seconds spent waiting for the next batch, in `waited`."""

    def __init__(self) -> None:
        self.waited = 0.0

    def next_of(self, batches: Iterator[Any]) -> Any:
        """Returns the next batch and adds the time that it took."""
        began = time.perf_counter()
        try:
            return next(batches)
        finally:
            self.waited += time.perf_counter() - began


def timed(train_function: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    """Returns a Keras train function whose fetching of batches is measured by `clock`.

    Keras fetches inside the compiled step of TensorFlow, and just before that of JAX, where no callback sees it.
    Both accept any other iterator: here one over a single batch that was fetched outside.
    """

    def step(*args: Any) -> Any:
        *state, batches = args
        return train_function(*state, iter((clock.next_of(batches),)))

    return step
