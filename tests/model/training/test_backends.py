"""TensorFlow, JAX and Torch compute the same step; several devices share a batch."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.steps import step_losses

STEPS = """
import json
from tests.support.steps import step_losses
losses = step_losses()
import keras
print(json.dumps([keras.backend.backend(), losses]))
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
def expected() -> dict[str, tuple[float, float]]:
    """The losses of TensorFlow, the backend of this process."""
    return step_losses()


@pytest.mark.parametrize("name", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_a_step_has_the_same_loss_on_every_backend(name, expected):
    done = run_code(name, STEPS)
    assert done.returncode == 0, done.stderr[-2000:]
    backend, losses = json.loads(done.stdout.splitlines()[-1])
    assert backend == name
    # The second loss is that after an update: the same only if the gradients are the same too.
    for loss in expected:
        np.testing.assert_allclose(losses[loss], expected[loss], atol=1e-4)


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


def test_trainer_imports_neither_the_builder_nor_beam_nor_image_libraries_and_is_silent(two_devices):
    _, done = two_devices
    assert done.stdout.splitlines()[0] == "[]"
    assert done.stderr.startswith("imported\n")
