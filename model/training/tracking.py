"""Trackers: report the settings, epochs and scores of a run to MLflow or Weights & Biases as well.

The run folder has all of this in any case. A tracker is imported only if it is requested, and if it fails, training
continues without it.
"""

import contextlib
import importlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from model import runs
from pipeline.console import extras
from pipeline.errors import InputError, StoppedError
from pipeline.schema import NAME

IDS_FILE = "tracking.json"
"""File with each tracker's id for the run, so that a resumed run continues there."""


class Tracker(Protocol):
    """Takes named numbers by step, and at the end whether the run is finished, stopped or failed."""

    id: str

    def log(self, step: int, values: Mapping[str, float]) -> None: ...
    def close(self, status: str) -> None: ...


class Tracking:
    """What the training loop reports to: a tracker that cannot stop it, or none."""

    def __init__(self, tracker: Tracker | None, log: Callable[[str], None], step: int = 0) -> None:
        self._tracker, self._log, self._step = tracker, log, step

    def epoch(self, row: Mapping[str, float]) -> None:
        """Reports a row of `metrics.csv`."""
        self._step = int(row["step"])
        self._try(lambda tracker: tracker.log(self._step, _numbers("", row)))

    def scores(self, result: Mapping[str, Any]) -> None:
        """Reports the content of `metrics.json`."""
        for split, scores in result["splits"].items():
            self._try(
                lambda tracker, split=split, scores=scores: tracker.log(self._step, _numbers(f"{split}/", scores))
            )

    def close(self, status: str) -> None:
        """Ends the tracker's run as `finished`, `stopped` or `failed`."""
        self._try(lambda tracker: tracker.close(status))

    def _try(self, report: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            report(self._tracker)
        except Exception as error:  # any failure of a network, a server or a disk
            self._tracker = None
            self._log(f"tracking stopped, training goes on: {runs.shortest(error)}")


@contextlib.contextmanager
def tracked(name: str | None, run: runs.Run, log: Callable[[str], None]) -> Iterator[Tracking]:
    """Yields the `Tracking` of a run by the tracker `name`, or by none, and closes it at the end.

    Raises:
        InputError: the tracker is not installed, or does not start.
    """
    rows = runs.read_rows(run.metrics_csv)
    tracking = Tracking(_start(name, run, log) if name else None, log, int(rows[-1]["step"]) if rows else 0)
    try:
        yield tracking
    except BaseException as error:
        tracking.close("stopped" if isinstance(error, (StoppedError, KeyboardInterrupt)) else "failed")
        raise
    tracking.close("finished")


def _start(name: str, run: runs.Run, log: Callable[[str], None]) -> Tracker:
    path = run.path / IDS_FILE
    ids = json.loads(path.read_text()) if path.exists() else {}
    try:
        module = importlib.import_module(name)
    except ImportError:
        raise InputError(f"--track {name}: it is not installed: {extras.install(name)}") from None
    try:
        tracker = TRACKERS[name](module, run, ids.get(name), log)
    except Exception as error:
        raise InputError(
            f"--track {name}: it does not start ({runs.shortest(error)}); check its environment variables, or leave "
            "--track out"
        ) from error
    runs.write_json(path, {**ids, name: tracker.id})
    return tracker


class MLflow:
    """A run in MLflow: at `MLFLOW_TRACKING_URI`, without which MLflow uses a file in the working folder."""

    def __init__(self, mlflow: Any, run: runs.Run, known: str | None, log: Callable[[str], None]) -> None:
        self._mlflow, self._client = mlflow, mlflow.MlflowClient()
        if known:
            self._client.update_run(known, status="RUNNING")
            self.id = known
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", NAME)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self.id = self._client.create_run(number, run_name=run.path.name).info.run_id
        values = {key: str(value)[:500] for key, value in _parameters(run).items()}  # 500: MLflow's limit until 2.x
        self._client.log_batch(self.id, params=[mlflow.entities.Param(*item) for item in values.items()])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the values at the step."""
        now = int(time.time() * 1000)
        metrics = [self._mlflow.entities.Metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def close(self, status: str) -> None:
        """Sets the run's status."""
        self._client.set_terminated(self.id, {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}[status])


class Wandb:
    """A run in Weights & Biases: online if logged in and reachable, else in files for `wandb sync`."""

    def __init__(self, wandb: Any, run: runs.Run, known: str | None, log: Callable[[str], None]) -> None:
        self.id = known or secrets.token_hex(4)
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
        project = os.environ.get("WANDB_PROJECT", NAME)
        settings = {"project": project, "name": run.path.name, "id": self.id, "resume": "allow", "dir": str(run.path)}
        try:
            self._run = wandb.init(**settings, mode=mode, config=_parameters(run))
        except Exception as error:
            if mode != "online":
                raise
            log(f"wandb cannot be reached, offline instead: {runs.shortest(error)}")
            self._run = wandb.init(**settings, mode="offline", config=_parameters(run))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the values at the step."""
        self._run.log(dict(values), step=step)

    def close(self, status: str) -> None:
        """Ends the run; one that is not finished gets exit code 1."""
        self._run.finish(exit_code=0 if status == "finished" else 1)


TRACKERS: dict[str, Callable[[Any, runs.Run, str | None, Callable[[str], None]], Tracker]] = {
    "mlflow": MLflow,
    "wandb": Wandb,
}


def _parameters(run: runs.Run) -> dict[str, Any]:
    """Returns the settings and what else the scores depend on."""
    dataset = {f"dataset/{key}": run.dataset.get(key) for key in ("path", "fingerprint", "synthetic")}
    versions = {f"version/{key}": value for key, value in run.config.get("versions", {}).items()}
    return {**run.settings.to_json(), **dataset, **versions, "git_commit": run.config.get("git_commit")}


def _numbers(prefix: str, values: Mapping[str, Any]) -> dict[str, float]:
    return {f"{prefix}{name}": float(value) for name, value in values.items() if type(value) in (int, float)}
