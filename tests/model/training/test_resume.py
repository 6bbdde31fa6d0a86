"""An interrupted and resumed run equals an uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from model import runs
from model.data.dataset import open_dataset
from pipeline.errors import DivergedError, InputError, MissingError, StoppedError
from tests.support.datasets import tiny_settings, train_tiny

SMALL = {"blocks": (1,), "width": 4}

HARD = {
    **SMALL,
    "ema": 0.5,
    "mixup": 0.2,
    "brightness": 0.1,
    "augment": "d4",
    "crop": 24,
    "rotation": 180.0,
    "scale": 0.1,
    "dropout": 0.2,
    "oversample": 0.6,
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "log_every": 4,
    "save_every": 5,
    "deterministic": True,
}
"""Everything that has state, depends on the step, or is random."""


class CrashError(Exception):
    """A crash in the middle of an epoch."""


def comparable(run: runs.Run) -> list:
    """Returns everything that a run records, except its speed."""
    rows = runs.read_rows(run.metrics_csv)
    timeless = [
        {k: v for k, v in row.items() if k not in ("seconds", "examples_per_second", "waiting")} for row in rows
    ]
    return [runs.read_rows(run.steps_csv), timeless, json.loads(run.metrics_json.read_text())]


def after_step(monkeypatch, step, action):
    """Calls `action(recorder)` after that step."""
    from model.training import recorder

    original = recorder.Recorder.on_train_batch_end

    def patched(self, batch, logs=None):
        original(self, batch, logs)
        if self.position.step == step:
            action(self)

    monkeypatch.setattr(recorder.Recorder, "on_train_batch_end", patched)


@pytest.fixture(scope="module")
def uninterrupted(tiny_data_dir, tmp_path_factory):
    return train_tiny(tiny_data_dir, tmp_path_factory.mktemp("whole") / "run", **HARD)


@pytest.fixture(scope="module")
def interrupted(tiny_data_dir, tmp_path_factory):
    """A run that crashes before its first periodic checkpoint, is stopped, and crashes in the second epoch.

    Returns the run and the step at which the signal left it.
    """
    path = tmp_path_factory.mktemp("interrupted") / "run"

    def crash(recorder):
        raise CrashError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(CrashError):
        after_step(patch, 3, crash)
        train_tiny(tiny_data_dir, path, **HARD)
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 6, lambda recorder: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(StoppedError, match=r"^stopped at step 7 \(epoch 1\); --resume continues there$"):
            train_tiny(tiny_data_dir, path, resume=True)
    stopped_at = position_in(path / "checkpoints" / "last.npz")["step"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(CrashError):
        after_step(patch, 19, crash)
        train_tiny(tiny_data_dir, path, resume=True)
    return train_tiny(tiny_data_dir, path, resume=True), stopped_at


def position_in(path):
    with np.load(path) as file:
        return json.loads(str(file["position"]))


def test_crashed_and_stopped_run_equals_an_uninterrupted_run_to_the_bit(interrupted, uninterrupted):
    assert comparable(interrupted[0]) == comparable(uninterrupted)


def test_stopped_run_saves_the_step_that_the_signal_interrupted(interrupted):
    assert interrupted[1] == 7


def test_killed_and_resumed_process_equals_an_uninterrupted_run(tiny_data_dir, uninterrupted, tmp_path):
    path = tmp_path / "run"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({k: v for k, v in tiny_settings(**HARD).to_json().items() if k != "preset"}))
    options = ["--data-dir", str(tiny_data_dir), "--out", str(path)]
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"}  # the setting overrides it, also of a resumed run
    process = subprocess.Popen(
        [sys.executable, "-m", "model.train", *options, "--config", str(config)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    wait_for_rows(path / "steps.csv", 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (path / "metrics.json").exists()
    leftover = path / "checkpoints" / ".tmp-1-last.npz"
    leftover.write_bytes(b"half a checkpoint")
    done = subprocess.run(
        [sys.executable, "-m", "model.train", *options, "--resume"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "resumed at step " in done.stdout
    assert not leftover.exists()
    assert comparable(runs.open_run(path)) == comparable(uninterrupted)


def test_a_stopped_command_names_the_one_that_continues(tiny_data_dir, tmp_path, monkeypatch):
    from model import train

    def interrupt(recorder):
        os.kill(os.getpid(), signal.SIGINT)

    path, config = tmp_path / "my run", tmp_path / "config.json"
    config.write_text(json.dumps({k: v for k, v in tiny_settings(**SMALL).to_json().items() if k != "preset"}))
    after_step(monkeypatch, 2, interrupt)
    options = ["--data-dir", str(tiny_data_dir), "--out", str(path)]
    done = CliRunner().invoke(train.main, [*options, "--config", str(config)])
    assert done.exit_code == 130, done.output
    assert done.stderr.splitlines()[-2:] == [
        "Error: stopped at step 3 (epoch 1); --resume continues there",
        f"next: python -m model.train --resume --out '{path}' --data-dir {tiny_data_dir}",
    ]


def test_the_progress_says_what_takes_long(tiny_data_dir, tmp_path, capsys):
    train_tiny(tiny_data_dir, tmp_path / "run", **SMALL, epochs=1)
    shown = capsys.readouterr().err
    assert "epoch 1/1 compiling" in shown
    assert "epoch 1/1 scoring dev" in shown


def test_a_stop_during_the_scores_of_the_last_epoch_is_not_forgotten(tiny_data_dir, tmp_path, monkeypatch):
    from model.training import loop

    def interrupted(session):
        os.kill(os.getpid(), signal.SIGINT)
        return score_dev(session)

    score_dev = loop.score_dev
    monkeypatch.setattr(loop, "score_dev", interrupted)
    with pytest.raises(StoppedError, match=r"^stopped at step \d+ \(epoch 1\); --resume continues there$"):
        train_tiny(tiny_data_dir, tmp_path / "run", **{**SMALL, "epochs": 1})
    monkeypatch.setattr(loop, "score_dev", score_dev)
    assert train_tiny(tiny_data_dir, tmp_path / "run", resume=True).metrics_json.exists()


def wait_for_rows(path: Path, num: int, process: subprocess.Popen) -> None:
    while len(runs.read_rows(path)) < num:
        assert process.poll() is None, "the run ended before it was killed"
        time.sleep(0.005)


def test_a_run_that_was_stopped_at_the_last_step_of_an_epoch_resumes(tiny_data_dir, tmp_path, monkeypatch):
    """Nothing of the epoch is left to train, and `fit` on no batch fails on JAX."""
    from model.training import loop

    settings = tiny_settings(**SMALL)
    order = loop.Order(settings.seed, settings.shuffle_buffer, None, settings.limit_examples)
    last_step = loop.count_steps(open_dataset(tiny_data_dir, 32), order, 0, settings.batch_size)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError, match=rf"^stopped at step {last_step} "):
        after_step(patch, last_step - 1, lambda recorder: os.kill(os.getpid(), signal.SIGTERM))
        train_tiny(tiny_data_dir, tmp_path / "run", **{**SMALL, "epochs": 2})
    position = position_in(tmp_path / "run/checkpoints/last.npz")
    assert (position["epoch"], position["step_in_epoch"]) == (0, last_step)
    batches, skipped = loop.data_batches.train_batches, []

    def recorded(*arguments, skip, **options):
        skipped.append(skip)
        return batches(*arguments, skip=skip, **options)

    monkeypatch.setattr(loop.data_batches, "train_batches", recorded)
    run = train_tiny(tiny_data_dir, tmp_path / "run", resume=True)
    assert skipped == [0]  # the second epoch
    rows = runs.read_rows(run.metrics_csv)
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", str(last_step)), ("2", str(2 * last_step))]
    assert np.isfinite(float(rows[0]["loss"]))


def test_rows_stay_if_their_removal_is_cut_short(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("step,epoch,loss,learning_rate\n4,1,0.5,0.001\n8,1,0.4,0.001\n")
    before = path.read_bytes()

    def crash(writer, rows):
        raise CrashError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(CrashError):
        patch.setattr(runs.csv.DictWriter, "writerows", crash)
        runs.drop_rows_after(path, 4)
    assert path.read_bytes() == before
    runs.drop_rows_after(path, 4)
    runs.append_row(path, {"step": 8, "epoch": 1, "loss": 0.3, "learning_rate": 0.001})
    assert [(row["step"], row["loss"]) for row in runs.read_rows(path)] == [("4", "0.5"), ("8", "0.3")]


def test_incomplete_row_of_a_killed_run_is_removed(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("step,epoch,loss,learning_rate\n4,1,0.5,0.001\n8,1,0.4,0.001\n12,1\n")
    runs.drop_rows_after(path, 4)
    assert path.read_text().replace("\r", "") == "step,epoch,loss,learning_rate\n4,1,0.5,0.001\n"


def test_a_run_stops_when_dev_loss_has_not_been_lower_for_as_many_epochs_as_patience(
    tiny_data_dir, tmp_path, monkeypatch
):
    from model.training import loop

    def never_better_than_the_first(session):
        result = score_dev(session)
        session.recorder.position.best_loss = 0.0
        return result

    score_dev = loop.score_dev
    monkeypatch.setattr(loop, "score_dev", never_better_than_the_first)
    run = train_tiny(tiny_data_dir, tmp_path / "run", **SMALL, epochs=9, patience=2)
    result = json.loads(run.metrics_json.read_text())
    assert (result["epochs"], result["stopped_early"], result["checkpoint"]["epoch"]) == (3, True, 1)


def test_nan_stops_the_run_and_is_not_saved(tiny_data_dir, tmp_path, monkeypatch):
    def poison(recorder):
        kernel = recorder.model.trainable_variables[0]
        kernel.assign(np.full(kernel.shape, np.nan, np.float32))

    path = tmp_path / "run"
    last = path / "checkpoints" / "last.npz"
    with monkeypatch.context() as patch:
        after_step(patch, 6, poison)
        message = f"loss is nan at step 8 (epoch 1): stopped; the last good checkpoint is {last}"
        with pytest.raises(DivergedError) as caught:
            train_tiny(tiny_data_dir, path, **SMALL, log_every=4, save_every=5)
    assert str(caught.value) == message
    with np.load(last) as file:
        assert position_in(last)["step"] == 5
        assert all(np.isfinite(file[key]).all() for key in file.files if key != "position")


def test_infinite_weights_are_not_saved(tiny_data_dir, tmp_path, monkeypatch):
    def poison_and_save(recorder):
        kernel = recorder.model.trainable_variables[0]
        kernel.assign(np.full(kernel.shape, np.inf, np.float32))
        recorder.save(0.5)

    after_step(monkeypatch, 6, poison_and_save)
    with pytest.raises(DivergedError, match=r"^weights are not finite at step 6 \(epoch 1\): stopped; the last good"):
        train_tiny(tiny_data_dir, tmp_path / "run", **SMALL, save_every=5)


def test_damaged_checkpoint_is_rejected(tiny_data_dir, tiny_dataset, uninterrupted, tmp_path):
    run = runs.create(tmp_path / "run", tiny_settings(**SMALL), tiny_dataset, {})
    run.last.write_bytes(uninterrupted.last.read_bytes()[:10_000])
    with pytest.raises(InputError, match=rf"^checkpoint {run.last} is damaged: "):
        train_tiny(tiny_data_dir, tmp_path / "run", resume=True)
    run.last.write_bytes(uninterrupted.last.read_bytes())  # another optimiser
    with pytest.raises(InputError, match=rf"^checkpoint {run.last} belongs to another network or optimiser$"):
        train_tiny(tiny_data_dir, tmp_path / "run", resume=True)


def test_run_without_a_finished_epoch_has_no_classifier(tiny_dataset, tmp_path):
    run = runs.create(tmp_path / "run", tiny_settings(), tiny_dataset, {})
    with pytest.raises(MissingError, match=r"run: no epoch is finished yet, so there is nothing to score: "):
        runs.load_classifier(run)
