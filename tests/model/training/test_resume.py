"""A killed and resumed run is the undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from model import runs
from pipeline.errors import DivergedError, InputError, MissingError, StoppedError
from tests.support.datasets import tiny_settings, train_tiny

HARD = {
    "blocks": (1,),
    "width": 4,
    "ema": 0.5,
    "mixup": 0.2,
    "brightness": 0.1,
    "augment": "d4",
    "oversample": 0.6,
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "log_every": 4,
    "save_every": 5,
}
"""Everything that has a state, depends on the step or is drawn at random."""


class CrashError(Exception):
    """Stands for a crash in the middle of an epoch."""


def comparable(run: runs.Run) -> list:
    """Everything a run writes down, except how fast it was."""
    rows = runs.read_rows(run.metrics_csv)
    timeless = [
        {k: v for k, v in row.items() if k not in ("seconds", "examples_per_second", "waiting")} for row in rows
    ]
    return [runs.read_rows(run.steps_csv), timeless, json.loads(run.metrics_json.read_text())]


def after_step(monkeypatch, step, action):
    """Calls `action(recorder)` when the run has finished that step."""
    from model.training import recorder

    plain = recorder.Recorder.on_train_batch_end

    def patched(self, batch, logs=None):
        plain(self, batch, logs)
        if self.position.step == step:
            action(self)

    monkeypatch.setattr(recorder.Recorder, "on_train_batch_end", patched)


@pytest.fixture(scope="module")
def undisturbed(tiny_data_dir, tmp_path_factory):
    return train_tiny(tiny_data_dir, tmp_path_factory.mktemp("whole") / "run", **HARD)


def test_a_run_repeats_itself_to_the_bit(tiny_data_dir, undisturbed, tmp_path):
    assert comparable(train_tiny(tiny_data_dir, tmp_path / "run", **HARD)) == comparable(undisturbed)


@pytest.mark.parametrize("step", [3, 19])
def test_a_crashed_run_goes_on_as_if_nothing_had_happened(tiny_data_dir, undisturbed, tmp_path, monkeypatch, step):
    def crash(recorder):
        raise CrashError

    with monkeypatch.context() as patch:
        after_step(patch, step, crash)
        with pytest.raises(CrashError):
            train_tiny(tiny_data_dir, tmp_path / "run", **HARD)
    assert comparable(train_tiny(tiny_data_dir, tmp_path / "run", resume=True)) == comparable(undisturbed)


def test_a_stopped_run_saves_where_it_is_and_goes_on_there(tiny_data_dir, undisturbed, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        after_step(patch, 6, lambda recorder: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(StoppedError, match=r"^stopped at step 7 \(epoch 1\); --resume continues there$"):
            train_tiny(tiny_data_dir, tmp_path / "run", **HARD)
    with np.load(tmp_path / "run" / "checkpoints" / "last.npz") as file:
        assert json.loads(str(file["position"]))["step"] == 7
    assert comparable(train_tiny(tiny_data_dir, tmp_path / "run", resume=True)) == comparable(undisturbed)


def test_a_killed_process_goes_on_as_if_nothing_had_happened(tiny_data_dir, undisturbed, tmp_path):
    path = tmp_path / "run"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({k: v for k, v in tiny_settings(**HARD).to_json().items() if k != "preset"}))
    command = [sys.executable, "-m", "model.train", "--data-dir", str(tiny_data_dir), "--out", str(path)]
    process = subprocess.Popen(
        [*command, "--config", str(config)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    wait_for_rows(path / "steps.csv", 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (path / "metrics.json").exists()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)
    assert "resumed at step " in done.stdout
    assert comparable(runs.open_run(path)) == comparable(undisturbed)


def wait_for_rows(path: Path, num: int, process: subprocess.Popen) -> None:
    until = time.monotonic() + 120
    while len(runs.read_rows(path)) < num:
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < until
        time.sleep(0.005)


def test_half_a_row_of_a_killed_run_is_dropped(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("step,epoch,loss,learning_rate\n4,1,0.5,0.001\n8,1,0.4,0.001\n12,1\n")
    runs.drop_rows_after(path, 4)
    assert path.read_text().replace("\r", "") == "step,epoch,loss,learning_rate\n4,1,0.5,0.001\n"


def test_nan_stops_the_run_and_never_gets_into_a_checkpoint(tiny_data_dir, tmp_path, monkeypatch):
    def poison(recorder):
        kernel = recorder.model.trainable_variables[0]
        kernel.assign(np.full(kernel.shape, np.nan, np.float32))

    path = tmp_path / "run"
    last = path / "checkpoints" / "last.npz"
    with monkeypatch.context() as patch:
        after_step(patch, 6, poison)
        message = f"loss is nan at step 8 (epoch 1): stopped; the last good checkpoint is {last}"
        with pytest.raises(DivergedError) as caught:
            train_tiny(tiny_data_dir, path, log_every=4, save_every=5)
    assert str(caught.value) == message
    with np.load(last) as file:
        assert json.loads(str(file["position"]))["step"] == 5
        assert all(np.isfinite(file[key]).all() for key in file.files if key != "position")


def test_weights_that_are_not_finite_are_not_saved(tiny_data_dir, tmp_path, monkeypatch):
    def poison_and_save(recorder):
        kernel = recorder.model.trainable_variables[0]
        kernel.assign(np.full(kernel.shape, np.inf, np.float32))
        recorder.save(0.5)

    after_step(monkeypatch, 6, poison_and_save)
    with pytest.raises(DivergedError, match=r"^weights are not finite at step 6 \(epoch 1\): stopped; the last good"):
        train_tiny(tiny_data_dir, tmp_path / "run", save_every=5)


def test_a_damaged_checkpoint_is_refused(tiny_data_dir, undisturbed, tmp_path):
    from model.data.dataset import open_dataset

    dataset = open_dataset(tiny_data_dir, 32)
    run = runs.create(tmp_path / "run", tiny_settings(), dataset, {})
    run.last.write_bytes(undisturbed.last.read_bytes()[:10_000])
    with pytest.raises(InputError, match=rf"^checkpoint {run.last} is damaged: "):
        train_tiny(tiny_data_dir, tmp_path / "run", resume=True)
    run.last.write_bytes(undisturbed.last.read_bytes())  # another optimiser
    with pytest.raises(InputError, match=rf"^checkpoint {run.last} belongs to another network or optimiser$"):
        train_tiny(tiny_data_dir, tmp_path / "run", resume=True)


def test_a_run_without_a_finished_epoch_has_no_classifier(tiny_dataset, tmp_path):
    run = runs.create(tmp_path / "run", tiny_settings(), tiny_dataset, {})
    with pytest.raises(MissingError, match=r"run has no checkpoint: no epoch of it was finished$"):
        runs.load_classifier(run)
