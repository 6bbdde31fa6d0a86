"""The ladder trains every model with the same budget, and compares each with the one before it."""

import itertools
import json
import subprocess

import pytest
from click.testing import CliRunner

from model import ladder, ladder_table, presets, rungs
from tests.support.datasets import Shape, write_dataset

FORM = {"size": 16, "width": 4, "precision": "float32"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("ladder")
    write_dataset(root, Shape(size=16, train=64, dev=16, test=24, num_shards=1))
    return root


@pytest.mark.parametrize("rung", rungs.RUNGS, ids=lambda rung: rung.name)
def test_every_model_sees_the_budget_to_within_half_an_epoch(rung, data_dir):
    settings = ladder.fit(rung.settings(), data_dir, budget=6000, seed=3, **FORM)
    assert abs(settings.epochs * 64 - 6000) <= 32
    assert (settings.seed, settings.width, settings.size) == (3, 4, 16)


def test_neighbours_differ_in_what_the_later_one_adds_alone(data_dir):
    fitted = [ladder.fit(rung.settings(), data_dir, budget=600, seed=0, **FORM).to_json() for rung in rungs.RUNGS]
    changed = [{name for name in a if a[name] != b[name]} - {"preset"} for a, b in itertools.pairwise(fitted)]
    assert changed == [{"downsample"}, {"extra_conv"}, {"channels"}, {"augment"}, {"channels"}]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_papers_models_have_the_input_and_network_of_its_presets(number):
    rung = next(rung for rung in rungs.RUNGS if rung.name == f"model-{number}")
    preset, settings = presets.load(rung.preset), rung.settings()
    for name in ("size", "channels", "blocks", "width", "extra_conv", "augment"):
        assert getattr(settings, name) == getattr(preset, name)


ROW = {
    "name": "model-1",
    "adds": "green alone",
    "pixels": 64,
    "width": 16,
    "seed": 0,
    "images_seen": 6272,
    "macro_f1": {"train": 0.5, "dev": 0.25, "test": 0.125, "test_matched": 0.2},
    "mean_average_precision": {"train": 0.5, "dev": 0.3, "test": 0.3},
    "without_model": {"macro_f1": 0.1, "mean_average_precision": 0.06},
    "step": None,
}
RESULTS = {
    "models": [
        ROW,
        {**ROW, "name": "model-2", "step": {"macro_f1_matched": {"estimate": 0.05, "low": -0.01, "high": 0.1}}},
    ],
    "num_examples": {"train": 4635, "dev": 579, "test": 786},
    "synthetic": True,
    "date": "2026-01-01",
    "hardware": "tensorflow on CPU; 2 cores, x86_64",
    "git_commit": "0123456789",
    "command": "python -m model.ladder",
}


def test_the_table_has_a_line_for_each_model_with_the_change_from_the_one_before():
    assert ladder_table.markdown(RESULTS["models"]).splitlines()[2:] == [
        "| model-1 | green alone | 64 | 6,272 | 0.300 | 0.125 | 0.200 |  |",
        "| model-2 | green alone | 64 | 6,272 | 0.300 | 0.125 | 0.200 | +0.050 [-0.010, +0.100] |",
    ]


def test_the_table_is_written_into_a_document(tmp_path):
    results, document = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text(json.dumps(RESULTS))
    document.write_text("before\n<!-- ladder -->\nstale\n<!-- end of ladder -->\nafter\n")
    done = CliRunner().invoke(ladder_table.main, [str(results), "--write", str(document)])
    assert done.exit_code == 0, done.output
    text = document.read_text()
    assert text.startswith("before\n<!-- ladder -->\n\n| model |")
    assert text.endswith("<!-- end of ladder -->\nafter\n")
    assert "stale" not in text
    assert "4,635 synthetic examples in train" in text


def test_a_document_without_a_place_for_the_table_is_refused(tmp_path):
    results, document = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text(json.dumps(RESULTS))
    document.write_text("nothing")
    done = CliRunner().invoke(ladder_table.main, [str(results), "--write", str(document)])
    assert done.exit_code == 1
    assert f"Error: {document}: expected the lines <!-- ladder --> and <!-- end of ladder -->" in done.output


def test_a_training_that_failed_stops_the_command(data_dir, tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess((), 1)
    monkeypatch.setattr(ladder.subprocess, "run", lambda *args, **settings: failed)
    arguments = ["--data-dir", data_dir, "--out", tmp_path, "--only", "model-1", "--budget", 100, "--size", 16]
    done = CliRunner().invoke(ladder.main, [str(argument) for argument in arguments])
    assert done.exit_code == 1
    assert "Error: model-1-0: training failed; the same command continues from its last checkpoint\n" in done.output
