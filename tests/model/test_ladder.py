"""The ladder trains every preset with the same budget, and prints a table of the results."""

import subprocess

import pytest
from click.testing import CliRunner

from model import ladder, presets
from tests.support.datasets import Shape, write_dataset

CHOICES = {"downsample": 4, "batch_size": None, "weights": None, "seed": 3}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("ladder")
    write_dataset(root, Shape(size=256, train=64, dev=4, test=4, num_shards=1))
    return root


@pytest.mark.parametrize("name", presets.ATLAS)
def test_every_preset_sees_the_budget_to_within_half_an_epoch(name, data_dir):
    settings, num_images = ladder.fit_to_budget(presets.load(name), data_dir, budget=6000, **CHOICES)
    per_epoch = num_images / settings.epochs
    assert abs(num_images - 6000) <= per_epoch / 2 + settings.batch_size * settings.epochs
    assert settings.seed == 3
    assert settings.weights is None


def test_green_128_sees_images_of_half_the_size(data_dir):
    sizes = {
        name: 256 // ladder.fit_to_budget(presets.load(name), data_dir, budget=100, **CHOICES)[0].downsample
        for name in presets.ATLAS
    }
    assert sizes == {"green-128": 32, "green-256": 64, "rgb-256": 64, "stacked-256": 64, "best": 64}


def test_table_has_a_line_for_each_model_and_one_without_a_model():
    row = {
        "preset": "green-128",
        "channels": ["green"],
        "pixels": 32,
        "images_seen": 6272,
        "macro_f1": {"train": 0.5, "dev": 0.25, "test": 0.125},
        "mean_average_precision": {"test": 0.2},
        "without_model": {"macro_f1": 0.1, "mean_average_precision": 0.06},
    }
    assert ladder.table([row, {**row, "preset": "best"}]).splitlines()[2:] == [
        "green-128   green                     32   6,272   0.500   0.250   0.125   0.200",
        "best        green                     32   6,272   0.500   0.250   0.125   0.200",
        "without a model                                                    0.100   0.060",
    ]


def test_a_training_that_failed_stops_the_command(data_dir, tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess((), 1)
    monkeypatch.setattr(ladder.subprocess, "run", lambda *args, **settings: failed)
    arguments = ["--data-dir", data_dir, "--out", tmp_path, "--only", "green-128", "--budget", 100, "--downsample", 4]
    done = CliRunner().invoke(ladder.main, [str(argument) for argument in arguments])
    assert done.exit_code == 1
    assert "Error: green-128: training failed; the same command continues from its last checkpoint\n" in done.output
