"""TensorFlow, JAX and Torch compute the same step; several devices compute what one does."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

STEP = """
import json, sys
from model import backend
backend.start()
import keras, numpy as np
from model.network import classifier, optimizers
from model.training import checkpoints
from tests.support.datasets import tiny_settings

found = {{}}
for loss in ("bce", "asymmetric"):
    settings = tiny_settings(optimizer="adamw", loss=loss, blocks=(1, 1), width=4)
    trainee = classifier.Trainee(classifier.build(settings, [0.1] * 4, [0.2] * 4), settings)
    trainee.build((None, 32, 32, 4))
    trainee.compile(optimizer=optimizers.make(settings, [10]), jit_compile=backend.jit_compile())
    rng = np.random.default_rng(0)
    for variable in trainee.classifier.variables:
        positive = "variance" in variable.path or "gamma" in variable.path
        variable.assign(1 + 0 * variable if positive else rng.normal(0, 0.1, variable.shape).astype(np.float32))
    images = rng.integers(0, 255, (16, 32, 32, 4), dtype=np.uint8)
    labels = (rng.random((16, 28)) < 0.1).astype(np.float32)
    first = float(trainee.train_on_batch(images, labels, return_dict=True)["loss"])
    trainee.reset_metrics()
    found[loss] = first, float(trainee.train_on_batch(images, labels, return_dict=True)["loss"])
print(json.dumps([keras.backend.backend(), found]))
"""


def in_process(name: str, code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def step_losses(name: str) -> dict[str, list[float]]:
    done = in_process(name, STEP.format())
    assert done.returncode == 0, done.stderr[-2000:]
    backend, losses = json.loads(done.stdout.splitlines()[-1])
    assert backend == name
    return losses


@pytest.fixture(scope="module")
def expected() -> dict[str, list[float]]:
    return step_losses("tensorflow")


@pytest.mark.parametrize("name", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_a_step_has_the_same_loss_on_every_backend(name, expected):
    found = step_losses(name)
    # The second loss is that after an update: the same only if the gradients are the same too.
    for loss in expected:
        np.testing.assert_allclose(found[loss], expected[loss], atol=1e-4)


DEVICES = """
import sys
from pathlib import Path
from model import backend
backend.start()
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
print(keras.distribution.list_devices("cpu"))
from tests.support.datasets import train_tiny
train_tiny(Path({data!r}), Path({out!r}), augment="d4", brightness=0.1, mixup=0.2, ema=0.5, epochs=1)
with backend.all_devices() as num:
    print(num)
"""


def test_two_devices_share_a_batch(tiny_data_dir, tmp_path):
    code = DEVICES.format(data=str(tiny_data_dir), out=str(tmp_path / "run"))
    done = in_process("tensorflow", code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "2"
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["splits"]["train"]["num_examples"] == 192
