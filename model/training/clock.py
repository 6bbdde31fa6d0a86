"""How long does the step wait for its data?"""

import time
from collections.abc import Callable, Iterator
from typing import Any


class Clock:
    """Counts the seconds in which the step had nothing to compute because the next batch was not there yet."""

    def __init__(self) -> None:
        self.waited = 0.0

    def next_of(self, batches: Iterator[Any]) -> Any:
        """Returns the next batch, and counts how long that took."""
        began = time.perf_counter()
        try:
            return next(batches)
        finally:
            self.waited += time.perf_counter() - began


def timed(fetching: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    """Returns a Keras step function that fetches its batch in the open, so that `clock` sees how long it takes.

    Keras fetches inside the compiled step of TensorFlow, and just before that of JAX; both also take any
    other iterator.
    """

    def step(*args: Any) -> Any:
        *state, batches = args
        batch = clock.next_of(batches)
        return fetching(*state, iter((batch,)))

    return step
