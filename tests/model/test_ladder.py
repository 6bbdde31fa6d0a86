"""The ladder trains every model with the same budget, and compares each with the one before it."""

import itertools
import json

import pytest
from click.testing import CliRunner

from model import ladder, ladder_table, presets, rungs
from model.data.batches import read_labels
from model.data.dataset import open_dataset
from model.data.order import repeat_factors
from model.processes import Processes
from pipeline.errors import InputError
from tests.support.datasets import Shape, write_dataset

FORM = {"width": 4, "precision": "float32", "examples": None}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("ladder")
    write_dataset(root, Shape(size=16, train=64, dev=16, test=24, num_shards=1))
    return root


def fitted(kind, data_dir, budget=6000):
    return {
        rung.name: ladder.fit(rung.settings, data_dir, budget=budget, seed=3, **FORM)
        for rung in rungs.rungs(kind, 16, 1)
    }


@pytest.mark.parametrize("kind", rungs.CHOICES)
def test_every_model_sees_the_budget_to_within_half_an_epoch(kind, data_dir):
    for settings in fitted(kind, data_dir).values():
        per_epoch = 64.0
        if settings.oversample:
            labels = read_labels(open_dataset(data_dir, 16), "train")
            per_epoch = repeat_factors(labels, settings.oversample).sum()
        assert abs(settings.epochs * per_epoch - 6000) <= per_epoch / 2
        assert (settings.seed, settings.width, settings.size) == (3, 4, 16)


def test_epochs_of_a_part_of_train_are_shorter(data_dir):
    rung = rungs.rungs("ladder", 16, 1)[0]
    settings = ladder.fit(rung.settings, data_dir, budget=6000, seed=3, **{**FORM, "examples": 32})
    assert (settings.limit_examples, settings.epochs) == (32, round(6000 / 32))


def changed(first, second):
    values, others = first.to_json(), second.to_json()
    return {name for name in values if values[name] != others[name]} - {"preset", "epochs"}


def test_neighbours_differ_in_what_the_later_one_adds_alone(data_dir):
    pairs = itertools.pairwise(fitted("ladder", data_dir).values())
    expected = [{"downsample"}, {"extra_conv"}, {"channels"}, {"augment"}, {"channels"}]
    assert [changed(*pair) for pair in pairs] == expected


def test_every_model_of_the_ablation_differs_from_best_in_one_setting(data_dir):
    best, *variants = fitted("ablation", data_dir).values()
    assert all(len(changed(best, variant)) == 1 for variant in variants)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_papers_models_have_the_input_and_network_of_its_presets(number):
    name, _, preset, _ = next(row for row in rungs.LADDER if row[0] == f"model-{number}")
    expected = presets.load(preset)
    settings = next(rung.settings for rung in rungs.rungs("ladder", 256, 1) if rung.name == name)
    assert settings.size // settings.downsample == expected.size
    for field in ("channels", "blocks", "width", "extra_conv", "augment"):
        assert getattr(settings, field) == getattr(expected, field)


def test_a_model_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="--only model-5: no such model, expected model-1, model-1-full-size, model-2"):
        ladder.chosen(rungs.rungs("ladder", 128, 1), ["model-5"])


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
STEP = {
    "macro_f1": {"estimate": 0.05, "low": -0.01, "high": 0.1},
    "mean_average_precision": {"estimate": 0.02, "low": 0.01, "high": 0.03},
}
RESULTS = {
    "models": [
        ROW,
        {**ROW, "name": "model-2", "step": STEP},
    ],
    "num_examples": {"train": 4635, "dev": 579, "test": 786},
    "synthetic": True,
    "date": "2026-01-01",
    "hardware": "tensorflow on CPU; 2 cores, x86_64",
    "git_commit": "0123456789",
    "command": "python -m model.ladder",
}


def test_the_table_has_a_line_for_each_model_with_the_change_from_the_one_before():
    assert ladder_table.table(RESULTS["models"]).splitlines()[2:] == [
        "| model-1 | green alone | 64 | 6,272 | 0.300 |  | 0.125 | 0.200 |  |",
        "| model-2 | green alone | 64 | 6,272 | 0.300 | +0.020 [+0.010, +0.030] | 0.125 | 0.200 | +0.050 [-0.010, +0.100] |",
    ]


def test_the_table_is_written_into_a_document(tmp_path):
    results, document = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text(json.dumps(RESULTS))
    document.write_text("before\n<!-- ladder -->\nstale\n<!-- end -->\nafter\n")
    done = CliRunner().invoke(ladder_table.main, [str(results), "--write", str(document)])
    assert done.exit_code == 0, done.output
    text = document.read_text()
    assert text.startswith("before\n<!-- ladder -->\n\n| model |")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "stale" not in text
    assert "4,635 synthetic examples in train" in text


def test_a_limit_of_examples_is_said():
    limited = {**RESULTS, "models": [{**ROW, "limit_examples": 2304}]}
    assert "4,635 synthetic examples in train (each model was trained on 2,304 of them), 579" in ladder_table.document(
        limited
    )


def test_a_table_can_be_another_part_of_the_document(tmp_path):
    results, document = tmp_path / "results.json", tmp_path / "best.md"
    results.write_text(json.dumps(RESULTS))
    document.write_text("<!-- ladder -->\nkept\n<!-- end -->\n<!-- ablation -->\nstale\n<!-- end -->\n")
    done = CliRunner().invoke(ladder_table.main, [str(results), "--write", str(document), "--part", "ablation"])
    assert done.exit_code == 0, done.output
    assert document.read_text().startswith("<!-- ladder -->\nkept\n<!-- end -->\n<!-- ablation -->\n\n| model |")
    assert "stale" not in document.read_text()


def test_stopping_the_command_stops_its_trainings(data_dir, tmp_path, monkeypatch):
    ended = []

    def stopped(processes, command):
        raise KeyboardInterrupt

    monkeypatch.setattr(Processes, "call", stopped)
    monkeypatch.setattr(Processes, "terminate", lambda processes: ended.append(True))
    (model,) = ladder.chosen(rungs.rungs("ladder", 16, 1), ["model-1"])
    form = {"width": 4, "examples": None, "budget": 100, "precision": "float32"}
    with pytest.raises(KeyboardInterrupt):
        ladder.train_all([(model, 0)], data_dir, tmp_path, jobs=2, **form)
    assert ended


def test_a_training_that_failed_stops_the_command(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "call", lambda processes, command: 1)
    arguments = ["--data-dir", data_dir, "--out", tmp_path, "--only", "model-1", "--budget", 100, "--size", 16]
    done = CliRunner().invoke(ladder.main, [str(argument) for argument in arguments])
    assert done.exit_code == 1
    assert "Error: model-1-0: training failed; the same command continues from its last checkpoint\n" in done.output
