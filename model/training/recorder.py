"""What is written down while `fit` runs, and what does a person see of it?"""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import keras

from model import runs
from model.training import checkpoints
from model.training.checkpoints import Position
from model.training.clock import Clock
from pipeline.errors import DivergedError, StoppedError


class Events:
    """The same figures for TensorBoard, written without it: `tf.summary.scalar` wants it installed."""

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(str(path))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Writes scalars of one step."""
        import tensorflow as tf

        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        )
        with self._writer.as_default():
            for tag, value in values.items():
                tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)
        self._writer.flush()


class Recorder(keras.callbacks.Callback):
    """Writes `steps.csv`, events and the last checkpoint; shows progress; stops at a NaN or a signal.

    The loss is read from the device once in `log_every` steps only: every reading waits for the device.
    """

    def __init__(self, run: runs.Run, position: Position, events: Events, clock: Clock, num_steps: list[int]) -> None:
        super().__init__()
        self.run = run
        self.position = position
        self.events = events
        self.clock = clock
        self.num_steps = num_steps
        self.seconds = 0.0
        self.share_waited = 0.0
        self.stop_signal: int | None = None
        self._shown: Any = None
        self._last_end: float | None = None
        self._window: list[Any] | None = None
        self._steps_here = 0

    def keep_window(self) -> None:
        """Remembers the loss so far that a checkpoint brought back: `fit` resets it at the start of an epoch."""
        self._window = [checkpoints.as_array(variable) for variable in self.model.metrics_variables]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for variable, value in zip(self.model.metrics_variables, self._window or (), strict=False):
            variable.assign(value)
        self._window, self._last_end = None, None
        self._began, self.clock.waited, self._steps_here = time.perf_counter(), 0.0, 0
        self._shown = _bar(epoch, self.run.settings, self.num_steps[epoch], self.position.step_in_epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._last_end is not None and keras.backend.backend() == "torch":
            # Torch's `fit` fetches before it calls; the others fetch inside the step, where `clock` looks.
            self.clock.waited += time.perf_counter() - self._last_end

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        at, settings = self.position, self.run.settings
        at.step += 1
        at.step_in_epoch += 1
        self._steps_here += 1
        if self._steps_here == 1:
            self._first_end = time.perf_counter()
        is_last = at.step_in_epoch == self.num_steps[at.epoch]
        ends_window = at.step_in_epoch % settings.log_every == 0 or is_last
        if ends_window:
            self._end_window(float(logs["loss"]))
        if (at.step % settings.save_every == 0 and not is_last) or self.stop_signal:
            self.save(float(logs["loss"]))
        self._shown.update(settings.batch_size)
        if self.stop_signal:
            raise StoppedError(f"stopped at step {at.step} (epoch {at.epoch + 1}); --resume continues there")
        self._last_end = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self._began
        self.share_waited = self.clock.waited / self.seconds
        self._shown.close()

    def close(self) -> None:
        """Leaves the terminal in order, whatever happened."""
        if self._shown is not None:
            self._shown.close()

    def save(self, loss: float) -> None:
        """Writes the last checkpoint, unless the loss or a weight is not finite."""
        self._check(loss)
        try:
            checkpoints.save(self.run.last, self.model, self.position)
        except FloatingPointError as error:
            raise DivergedError(self._diverged(str(error))) from None

    @property
    def waiting(self) -> float:
        """Share of the time of this epoch so far in which the step waited for data."""
        return self.clock.waited / max(time.perf_counter() - self._began, 1e-9)

    @property
    def examples_per_second(self) -> float:
        """Over the epoch that has just ended."""
        return self._steps_here * self.run.settings.batch_size / max(self.seconds, 1e-9)

    def _end_window(self, loss: float) -> None:
        self._check(loss)
        at = self.position
        steps = (at.step_in_epoch - 1) % self.run.settings.log_every + 1
        at.loss_sum += loss * steps
        at.loss_steps += steps
        rate = learning_rate(self.model)
        runs.append_row(
            self.run.steps_csv, {"step": at.step, "epoch": at.epoch + 1, "loss": loss, "learning_rate": rate}
        )
        self.events.write(at.step, {"loss": loss, "learning_rate": rate, "waiting": self.waiting})
        self.model.reset_metrics()
        self._shown.set_postfix_str(f"loss {loss:.4f}, waiting {self.waiting:.0%}, {self._left()} left", refresh=False)

    def _left(self) -> str:
        # The first step of an epoch compiles or fills the shuffle buffer, and says nothing of the others.
        to_do = sum(self.num_steps[self.position.epoch :]) - self.position.step_in_epoch
        per_step = (time.perf_counter() - self._first_end) / max(self._steps_here - 1, 1)
        return _duration(per_step * to_do)

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(self._diverged(f"loss is {loss}"))

    def _diverged(self, what: str) -> str:
        at = self.position
        return f"{what} at step {at.step} (epoch {at.epoch + 1}): stopped; the last good checkpoint is {self.run.last}"


def learning_rate(trainee: keras.Model) -> float:
    """Returns the rate of the next step."""
    return float(keras.ops.convert_to_numpy(trainee.optimizer.learning_rate))


@contextmanager
def stopping_gently(recorder: Recorder) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM let the step finish and save; a second one stops at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        recorder.stop_signal = number
        signal.signal(number, before[number])

    numbers = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Callable | int | None] = {}
    try:
        for number in numbers:
            before[number] = signal.signal(number, ask)
    except ValueError:  # only the main thread may
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bar(epoch: int, settings: Any, num_steps: int, done: int) -> Any:
    from tqdm import tqdm

    return tqdm(
        desc=f"epoch {epoch + 1}/{settings.epochs}",
        total=num_steps * settings.batch_size,
        initial=done * settings.batch_size,
        unit="ex",
        leave=False,  # the line about the whole epoch takes its place
        file=sys.stderr,
        bar_format="{desc} {percentage:3.0f}% {rate_fmt}{postfix}",
        # Not a terminal: a line now and then instead of one redrawn ten times a second.
        mininterval=0.1 if sys.stderr.isatty() else 10,
    )


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), round(seconds / 3600, 1)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{hours} h"
