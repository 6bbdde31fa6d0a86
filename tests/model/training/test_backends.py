"""TensorFlow, JAX and Torch compute the same step; several devices share a batch."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.datasets import tiny_settings, write_dataset
from tests.support.steps import step_losses

STEPS = """
import json
from tests.support.steps import step_losses
losses = step_losses()
import keras
print(json.dumps([keras.backend.backend(), losses]))
"""

LEARNING = """
import json
from pathlib import Path
from tests.support.datasets import LEARNING, train_tiny
for name in ("drawn", "shuffled"):
    run = train_tiny(Path({data!r}) / name, Path({out!r}) / name, **LEARNING)
    splits = json.loads(run.metrics_json.read_text())["splits"]
    print(json.dumps({{split: scores["macro_f1_present"] for split, scores in splits.items()}}))
"""

DEVICES = """
import sys
from pathlib import Path
from model import backend
backend.start()
from model import train
from model.training import loop
print(sorted({{"hpa_tfds", "apache_beam", "imagecodecs", "highspy"}} & set(sys.modules)))
print("imported", file=sys.stderr)
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from tests.support.datasets import train_tiny
train_tiny(
    Path({data!r}), Path({out!r}), augment="d4", brightness=0.1, mixup=0.2, ema=0.5, epochs=1, blocks=(1,), width=4
)
with backend.all_devices() as num:
    print(num)
"""


def run_code(backend: str, code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiles in two thirds of the time
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[float, ...]]:
    """The losses of TensorFlow, the backend of this process."""
    return step_losses()


@pytest.mark.parametrize("name", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_a_step_has_the_same_loss_on_every_backend(name, expected):
    done = run_code(name, STEPS)
    assert done.returncode == 0, done.stderr[-2000:]
    backend, losses = json.loads(done.stdout.splitlines()[-1])
    assert backend == name
    # Losses after an update are the same only if the gradients are the same too.
    for key in expected:
        np.testing.assert_allclose(losses[key], expected[key], atol=1e-4)


def test_accumulated_gradients_update_every_second_step(expected):
    first, second, third, averaged = expected["averaged"]
    assert first == pytest.approx(second, rel=1e-5)
    assert third < second
    assert averaged != pytest.approx(third)


# On TensorFlow, test_train.py does the same.
@pytest.mark.parametrize("name", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_a_tiny_network_learns_and_learns_nothing_from_shuffled_labels(name, tmp_path):
    write_dataset(tmp_path / "data" / "drawn")
    write_dataset(tmp_path / "data" / "shuffled", shuffle_labels=True)
    done = run_code(name, LEARNING.format(data=str(tmp_path / "data"), out=str(tmp_path)))
    assert done.returncode == 0, done.stderr[-2000:]
    drawn, shuffled = map(json.loads, done.stdout.splitlines()[-2:])
    assert drawn["test"] > 0.8
    # Every class predicted for every image scores 0.55.
    assert shuffled["test"] < 0.65


@pytest.fixture(scope="module")
def two_devices(tiny_data_dir, tmp_path_factory):
    """The folder and output of a run on two virtual CPUs, in a process that prints what it has imported first."""
    path = tmp_path_factory.mktemp("devices") / "run"
    done = run_code("tensorflow", DEVICES.format(data=str(tiny_data_dir), out=str(path)))
    assert done.returncode == 0, done.stderr[-2000:]
    return path, done


def test_two_devices_share_a_batch(two_devices):
    path, done = two_devices
    assert done.stdout.splitlines()[-1] == "2"
    assert json.loads((path / "metrics.json").read_text())["splits"]["train"]["num_examples"] == 192


def test_dev_loss_is_the_same_on_two_devices(two_devices, tiny_dataset):
    from model import runs
    from model.data.batches import eval_batches
    from model.network import classifier

    run = runs.open_run(two_devices[0])
    batches = eval_batches(tiny_dataset, "dev", channels=run.settings.channels, batch_size=48)
    labels, logits = classifier.predict(runs.load_classifier(run), batches)
    loss = classifier.loss_value(run.settings.loss, labels, logits, single_label=False)
    assert float(runs.read_rows(run.metrics_csv)[0]["dev_loss"]) == pytest.approx(loss, rel=1e-4)


def test_several_devices_of_tensorflow_are_said_to_lack_xla(tiny_dataset, tmp_path):
    from model import runs
    from model.training import loop

    lines = []
    run = runs.create(tmp_path / "run", tiny_settings(blocks=(1,), width=4), tiny_dataset, {})
    loop.prepare(run, tiny_dataset, 2, lines.append)
    assert lines[0] == "2 devices of TensorFlow, without XLA; KERAS_BACKEND=jax compiles for several"


def test_a_run_goes_on_with_another_backend_and_more_epochs(tiny_data_dir, trained, run_copy):
    config = json.loads((run_copy / "config.json").read_text())
    (run_copy / "config.json").write_text(json.dumps({**config, "versions": {"backend": "tensorflow"}}))
    arguments = ["--resume", "--out", str(run_copy), "--data-dir", str(tiny_data_dir), "--epochs", "3"]
    done = run_code("jax", f"from model.train import main; main({arguments!r})")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if not line.startswith("WARNING")]
    assert lines[1:3] == [
        "epochs 3 (was 2): the learning rate follows the schedule of 3 epochs from here",
        "started with tensorflow, continues with jax: the same training, with different rounding and random numbers",
    ]
    assert "resumed at step 24: epoch 3, 0 steps in" in lines
    from model import runs

    before, after = (runs.read_rows(path / "metrics.csv") for path in (trained, run_copy))
    assert [row["epoch"] for row in after] == ["1", "2", "3"]
    assert float(after[2]["loss"]) < float(before[0]["loss"])
    metrics = json.loads((run_copy / "metrics.json").read_text())
    assert (metrics["epochs"], metrics["stopped_early"]) == (3, False)


def test_trainer_imports_neither_the_builder_nor_beam_nor_image_libraries_and_is_silent(two_devices):
    _, done = two_devices
    assert done.stdout.splitlines()[0] == "[]"
    assert done.stderr.startswith("imported\n")
