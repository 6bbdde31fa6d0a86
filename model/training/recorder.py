"""What a run records while it trains: `steps.csv`, TensorBoard events, checkpoints, progress."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from model import runs
from model.network.averages import as_array
from model.training import checkpoints, stopping
from model.training.checkpoints import Position
from model.training.clock import Clock
from pipeline.errors import DivergedError, StoppedError
from pipeline.progress import Bar, say

PROGRESS = "{desc} {percentage:3.0f}% {rate_fmt}{postfix}"

COMPILING = "{desc} compiling"
"""The first step takes long, and the rate says nothing until the second one is done."""


class Events:
    """Scalars for TensorBoard, written without it: `tf.summary.scalar` needs TensorBoard installed."""

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(str(path))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Writes the scalars of one step."""
        import tensorflow as tf

        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        )
        with self._writer.as_default():
            for tag, value in values.items():
                tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)
        self._writer.flush()


class Recorder(keras.callbacks.Callback):
    """Writes `steps.csv`, events and checkpoints, shows progress, and stops at a NaN or a signal.

    Reading the loss waits for the device, so it is read once every `log_every` steps.
    """

    def __init__(self, run: runs.Run, events: Events, clock: Clock, num_steps: list[int]) -> None:
        super().__init__()
        self.run = run
        self.position = Position()
        self.events = events
        self.clock = clock
        self.num_steps = num_steps
        self.seconds = 0.0
        """Duration of the last epoch, or of the part of it that this process trained."""
        self.stop_requested = False
        self._bar: Bar | None = None
        self._steps_here = 0
        self._is_compiled = keras.backend.backend() == "torch"
        self._last_end: float | None = None
        self._restored_loss: list[Any] = []

    def restore(self) -> None:
        """Loads the last checkpoint into the model and the position."""
        self.position = checkpoints.restore(self.run.last, self.model)
        # `fit` resets the mean loss at the start of an epoch; `on_epoch_begin` sets it again.
        self._restored_loss = [as_array(variable) for variable in self.model.metrics_variables]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for variable, value in zip(self.model.metrics_variables, self._restored_loss, strict=False):
            variable.assign(value)
        self._restored_loss, self._last_end, self._steps_here = [], None, 0
        self._began, self.clock.waited = time.perf_counter(), 0.0
        self._bar = Bar(
            f"epoch {epoch + 1}/{self.run.settings.epochs}",
            leave=False,  # the summary of the epoch takes its place
            bar_format=PROGRESS if self._is_compiled else COMPILING,
        )
        self._show_progress()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._last_end is not None and keras.backend.backend() == "torch":
            # With Torch, `fit` fetches the batch before this call; with the others, `clock` measures it.
            self.clock.waited += time.perf_counter() - self._last_end

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        position, settings = self.position, self.run.settings
        position.step += 1
        position.step_in_epoch += 1
        self._steps_here += 1
        if self._steps_here == 1:
            self._first_end = time.perf_counter()
        if self._bar and self._steps_here == 2 and not self._is_compiled:
            self._is_compiled = True
            self._bar.show_as(PROGRESS)
        is_last = position.step_in_epoch == self.num_steps[position.epoch]
        note = ""
        if position.step_in_epoch % settings.log_every == 0 or is_last:
            note = self._record_loss(float(logs["loss"]))
        if (position.step % settings.save_every == 0 and not is_last) or self.stop_requested:
            self.save(float(logs["loss"]))
        self._show_progress(note)
        self.check_stop()
        self._last_end = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self._began
        self.close()

    def close(self) -> None:
        """Removes the progress bar."""
        if self._bar is not None:
            self._bar.close()

    def save(self, loss: float) -> None:
        """Writes the last checkpoint.

        Raises:
            DivergedError: the loss or a weight is not finite; the checkpoint stays as it was.
        """
        self._check_finite(loss)
        try:
            checkpoints.save(self.run.last, self.model, self.position)
        except FloatingPointError as error:
            raise self._diverged(str(error)) from None

    def speed(self) -> dict[str, float]:
        """Returns the columns of `metrics.csv` about the time that the last epoch took."""
        return {
            "seconds": round(self.seconds, 3),
            "examples_per_second": round(self._steps_here * self.run.settings.batch_size / max(self.seconds, 1e-9), 1),
            "waiting": round(self.clock.waited / max(self.seconds, 1e-9), 4),
        }

    @contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """At Ctrl-C or SIGTERM, lets the current step finish and saves it; the same signal again stops at once."""

        def request_stop() -> None:
            self.stop_requested = True

        try:
            with stopping.requested_by_signals(request_stop, say):
                yield
        finally:
            self.close()

    def check_stop(self) -> None:
        """Raises `StoppedError` if a signal has asked for it; the position must have been saved."""
        if self.stop_requested:
            epoch = min(self.position.epoch + 1, self.run.settings.epochs)
            raise StoppedError(f"stopped at step {self.position.step} (epoch {epoch}); --resume continues there")

    def _record_loss(self, loss: float) -> str:
        """Writes the mean loss since the last row of `steps.csv`, and returns a note for the progress bar."""
        self._check_finite(loss)
        position = self.position
        num_steps = (position.step_in_epoch - 1) % self.run.settings.log_every + 1
        position.loss_sum += loss * num_steps
        position.loss_steps += num_steps
        row = {"loss": loss, "learning_rate": learning_rate(self.model)}
        runs.append_row(self.run.steps_csv, {"step": position.step, "epoch": position.epoch + 1, **row})
        waiting = self.clock.waited / max(time.perf_counter() - self._began, 1e-9)
        self.events.write(position.step, {**row, "waiting": waiting})
        self.model.reset_metrics()
        return f"loss {loss:.4f}, waiting for data {waiting:.0%}, {self._time_left()} left"

    def _show_progress(self, note: str = "") -> None:
        position, batch_size = self.position, self.run.settings.batch_size
        self._bar(position.step_in_epoch * batch_size, self.num_steps[position.epoch] * batch_size, note)

    def _time_left(self) -> str:
        # Without the first step of the epoch, which compiles or fills the shuffle buffer.
        steps_left = sum(self.num_steps[self.position.epoch :]) - self.position.step_in_epoch
        per_step = (time.perf_counter() - self._first_end) / max(self._steps_here - 1, 1)
        return _duration(per_step * steps_left)

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise self._diverged(f"loss is {loss}")

    def _diverged(self, problem: str) -> DivergedError:
        position = self.position
        return DivergedError(
            f"{problem} at step {position.step} (epoch {position.epoch + 1}): stopped; "
            f"the last good checkpoint is {self.run.last}"
        )


def learning_rate(trainee: keras.Model) -> float:
    """Returns the learning rate of the next step."""
    return float(keras.ops.convert_to_numpy(trainee.optimizer.learning_rate))


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), round(seconds / 3600, 1)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{hours} h"
