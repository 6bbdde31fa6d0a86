"""Datasets of other schemas: trained, evaluated, shown, predicted and exported by what their metadata says."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from model import evaluate, predict, report, runs, train
from model.scores import evaluation
from pipeline import job
from pipeline.config import BuildConfig
from pipeline.errors import InputError
from tests.support.csv_files import read_rows
from tests.support.datasets import NUCLEI, PAINTING, Shape, tiny_settings, train_tiny, write_dataset

SMALL = {"preset": "any", "blocks": (1,), "width": 8, "batch_size": 16}


def run_command(module, *arguments: object):
    return CliRunner().invoke(module.main, [str(argument) for argument in arguments])


def text_of(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def nuclei_dir(tmp_path_factory) -> Path:
    """A data directory with one dataset: one channel, five classes, a single label."""
    data_dir = tmp_path_factory.mktemp("nuclei")
    path = write_dataset(data_dir, schema=NUCLEI)
    rows = [f"synthetic-test-{k:04d},P{k % 6}\n" for k in range(48)]
    (path / "columns.csv").write_text("Id,plate\n" + "".join(rows))
    return data_dir


@pytest.fixture(scope="module")
def nuclei_run(tmp_path_factory, nuclei_dir) -> Path:
    """A run that the command trained on it, evaluated."""
    folder = tmp_path_factory.mktemp("nuclei-run")
    values = tiny_settings(**SMALL, epochs=6, learning_rate=6e-3).to_json()
    del values["preset"], values["size"], values["channels"]
    (folder / "config.json").write_text(json.dumps(values))
    arguments = ("--preset", "any", "--data-dir", nuclei_dir, "--config", folder / "config.json")
    done = run_command(train, *arguments, "--out", folder / "run")
    assert done.exit_code == 0, done.output
    assert "balanced accuracy" in done.output
    done = run_command(evaluate, folder / "run")
    assert done.exit_code == 0, done.output
    (folder / "evaluate.txt").write_text(done.output)
    return folder / "run"


@pytest.fixture(scope="module")
def painting_source(tmp_path_factory) -> Path:
    """Forty examples of five 16-bit TIFFs of 32 x 32 pixels, with values below 4,096, and their label table."""
    root, rng = tmp_path_factory.mktemp("painting") / "source", np.random.default_rng(0)
    root.mkdir()
    rows = ["id,compounds"]
    for index in range(40):
        chosen = rng.choice(PAINTING.classes, size=rng.integers(1, 3), replace=False)
        rows.append(f"well{index:02d},{';'.join(sorted(chosen))}")
        for name in PAINTING.channel_names:
            pixels = rng.integers(0, 4096, (32, 32), dtype=np.uint16)
            tifffile.imwrite(root / f"well{index:02d}_{name}.tif", pixels)
    (root / "wells.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def painting_run(tmp_path_factory, painting_source) -> Path:
    """A run of two epochs on the dataset that the pipeline built from it; it sees two of the channels."""
    data_dir = tmp_path_factory.mktemp("built")
    labels = painting_source / "wells.csv"
    job.build(BuildConfig(labels, painting_source, data_dir, schema=PAINTING, size=32))
    path = tmp_path_factory.mktemp("painting-run") / "run"
    values = {**SMALL, "batch_size": 8, "brightness": 0.1, "augment": "d4"}
    return train_tiny(data_dir, path, channels=["Mito", "DNA"], **values).path


# Training


def test_the_preset_for_any_dataset_takes_size_and_channels_from_it_and_records_them(nuclei_run):
    run = runs.open_run(nuclei_run)
    assert (run.settings.preset, run.settings.size, run.settings.channels) == ("any", 32, ("dna",))
    assert run.schema == NUCLEI
    assert run.config["dataset"]["schema"]["classes"] == list(NUCLEI.classes)


def test_single_labels_are_learned_with_softmax_and_the_most_probable_class_is_predicted(nuclei_run):
    metrics = json.loads((nuclei_run / "metrics.json").read_text())
    assert metrics["threshold"] is None
    assert metrics["splits"]["test"]["balanced_accuracy"] > 0.8
    with np.load(nuclei_run / "evaluation/predictions-test.npz") as file:
        labels, probabilities = file["labels"], file["probabilities"]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    found = evaluation.load(nuclei_run)["splits"]["test"]
    right = probabilities.argmax(axis=1) == labels.argmax(axis=1)
    assert found["accuracy"]["estimate"] == pytest.approx(right.mean())
    assert np.trace(found["confusion"]) == right.sum()
    assert found["rules"]["highest"]["macro_f1"] == metrics["splits"]["test"]["macro_f1"]
    assert (found["num_examples"], found["num_groups"]) == (48, 6)
    assert evaluation.load(nuclei_run)["dataset"]["group_columns"] == ["plate"]


@pytest.mark.parametrize("preset", ["green-256", "rgb-256", "stacked-256", "best"])
def test_presets_of_the_paper_refuse_another_schema(nuclei_dir, tmp_path, preset):
    done = run_command(train, "--preset", preset, "--size", 32, "--data-dir", nuclei_dir, "--out", tmp_path / "run")
    path = nuclei_dir / "hpa_stacked/nuclei-32/1.1.0"
    assert done.exit_code == 1
    last = done.output.splitlines()[-1]
    assert last.startswith(f"Error: preset {preset}: channels ")
    assert last.endswith(f"but dataset {path} of schema 'nuclei' has dna: --preset any takes all, --channels chooses")
    assert not (tmp_path / "run").exists()


def test_a_loss_and_a_prior_for_several_labels_are_refused_for_a_single_one(nuclei_dir):
    both = ("--preset", "best", "--set", "loss=asymmetric", "--set", "prior=0.058")
    done = run_command(train, *both, "--size", 32, "--channels", "all", "--data-dir", nuclei_dir)
    path = nuclei_dir / "hpa_stacked/nuclei-32/1.1.0"
    assert done.output.splitlines()[-1] == (
        "Error: preset best: loss asymmetric, prior 0.058: only for examples with several labels, but dataset "
        f"{path} of schema 'nuclei' is single-label: --preset any suits both"
    )


def test_a_run_is_resumed_only_on_its_own_schema(nuclei_run, nuclei_dir, tmp_path):
    done = run_command(train, "--resume", "--out", nuclei_run, "--data-dir", nuclei_dir)
    assert done.exit_code == 0, done.output
    path = write_dataset(tmp_path, schema=dataclasses.replace(NUCLEI, name="cells"))
    done = run_command(train, "--resume", "--out", nuclei_run, "--data-dir", tmp_path, "--schema", "cells")
    assert done.output.splitlines()[-1] == f"Error: dataset {path}: schema 'cells', but 'nuclei' in run {nuclei_run}"
    done = run_command(train, "--resume", "--out", nuclei_run, "--data-dir", tmp_path)
    assert done.output.startswith(f"Error: no dataset hpa_stacked/nuclei-32 in {tmp_path} (it holds cells-32: add ")


# Evaluation


def test_the_summary_of_single_labels_has_accuracy_and_no_thresholds(nuclei_run):
    text = (nuclei_run.parent / "evaluate.txt").read_text()
    assert "balanced accuracy" in text
    assert "the most frequent class" in text
    assert "thresholds" not in text
    assert "at 0.5" not in text
    assert evaluation.load(nuclei_run)["thresholds"] == {}


def test_the_page_of_single_labels_has_a_confusion_matrix_and_no_thresholds(nuclei_run):
    done = run_command(report, nuclei_run)
    assert done.exit_code == 0, done.output
    text = text_of(nuclei_run / "report.html")
    assert "<h2>Confusion matrix</h2>" in text
    assert 'id="thresholds"' not in text
    assert "threshold 0.5" not in text
    assert all(text.split('id="errors"')[1].count(f">{name}</text>") == 2 for name in NUCLEI.classes)
    assert "balanced accuracy on test, 95% interval" in text
    assert "the channel dna: 5 classes, one for each image." in text
    assert "Darkest images" in text
    assert "The 48 examples of test are in 6 groups." in text
    assert "green" not in text


def test_runs_of_different_classes_are_not_put_on_one_page(nuclei_run, evaluated):
    done = run_command(report, nuclei_run, evaluated)
    assert done.output == (
        "Error: runs of different classes cannot be compared: run 5 of schema 'nuclei' and tiny 28 of schema "
        "'hpa_kaggle_2018'; make a page of each\n"
    )


def test_a_dataset_of_another_schema_is_refused_unless_told_and_alike(nuclei_run, tmp_path):
    other = write_dataset(tmp_path, schema=dataclasses.replace(NUCLEI, name="cells"), seed=1)
    done = run_command(evaluate, nuclei_run, "--data-dir", tmp_path)
    assert done.output.startswith(f"Error: no dataset hpa_stacked/nuclei-32 in {tmp_path} (it holds cells-32: add ")
    config = json.loads((nuclei_run / "config.json").read_text())
    config["dataset"]["path"] = str(other)
    moved = tmp_path / "moved"
    (moved / "checkpoints").mkdir(parents=True)
    (moved / "config.json").write_text(json.dumps(config))
    (moved / "checkpoints/best.weights.h5").write_bytes((nuclei_run / "checkpoints/best.weights.h5").read_bytes())
    done = run_command(evaluate, moved)
    expected = f"Error: dataset {other}: schema 'cells', but 'nuclei' in run {moved}; --other-dataset allows it\n"
    assert done.output == expected
    done = run_command(evaluate, moved, "--data-dir", tmp_path, "--other-dataset", "--splits", "dev", "--no-ablation")
    assert done.exit_code == 0, done.output
    assert evaluation.load(moved)["same_dataset"] is False


# Prediction


def read_probabilities(path: Path) -> dict[str, np.ndarray]:
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    assert header[0] == "Id"
    return {row[0]: np.array(row[1:], np.float32) for row in rows}


def test_raw_16_bit_images_of_five_channels_give_what_the_dataset_gives(painting_run, painting_source, tmp_path):
    done = run_command(predict, painting_run, "--images", painting_source, "--out", tmp_path / "raw.csv")
    assert done.exit_code == 0, done.output
    published = {}
    for split in ("train", "dev", "test"):
        done = run_command(predict, painting_run, "--split", split, "--out", tmp_path / f"{split}.csv")
        assert done.exit_code == 0, done.output
        published |= read_probabilities(tmp_path / f"{split}.csv")
    raw = read_probabilities(tmp_path / "raw.csv")
    assert set(raw) == set(published) == {f"well{k:02d}" for k in range(40)}
    assert max(np.abs(raw[name] - published[name]).max() for name in raw) <= 1e-6


def test_the_page_of_five_channels_shows_each_in_the_gallery(painting_run):
    assert run_command(evaluate, painting_run).exit_code == 0
    found = evaluation.load(painting_run)
    assert [row["blanked"] for row in found["ablation"]["rows"]] == [[], ["Mito"], ["DNA"]]
    with np.load(painting_run / "evaluation/gallery.npz") as file:
        pictures = file["images"]
    assert (pictures.dtype, pictures.shape[1:]) == (np.uint8, (32, 32, 5))
    # Values below 4,096 of 65,535 would be almost black.
    assert pictures.max() > 100
    assert run_command(report, painting_run).exit_code == 0
    gallery = text_of(painting_run / "report.html").split('id="gallery"')[1].split("</section>")[0]
    assert gallery.count("data:image/png;base64,") % 6 == 0 < gallery.count("data:image/png")
    assert "of 65535" in gallery


def test_an_exported_model_of_16_bit_images_has_them_as_input(painting_run, tmp_path):
    done = run_command(predict, painting_run, "--export", tmp_path / "exported", "--input-size", 64)
    assert done.exit_code == 0, done.output
    metadata = json.loads((tmp_path / "exported/metadata.json").read_text())
    assert metadata["channels"] == list(PAINTING.channel_names)
    assert (metadata["schema"], metadata["input_dtype"], metadata["input_size"]) == ("painting", "uint16", 64)
    text = (tmp_path / "exported/README.md").read_text()
    assert "uint16 `[B, 64, 64, 5]`, channels DNA, ER, RNA, AGP, Mito, 0..65535 as in the dataset." in text
    assert "float32 `[B, 6]`" in text


def test_the_card_of_single_labels_has_accuracies_and_no_thresholds(nuclei_run):
    from model.serving import card

    text = card.text(runs.open_run(nuclei_run), "one", 32, ["saved_model"])
    assert "| test | the most probable class | " in text
    assert re.search(r"\ntest: accuracy [01]\.\d+ \[", text)
    assert "| id | class | positives in test |" in text
    assert "Thresholds are by rule" not in text
    assert "Images: not stated by its schema." in text
    assert "The dataset names no citation." in text
    assert 'tf.saved_model.load("saved_model")' in text
    assert "onnxruntime" not in text


def test_a_submission_is_for_the_classes_of_the_competition_only(nuclei_run, tmp_path):
    done = run_command(predict, nuclei_run, "--split", "test", "--submission", tmp_path / "submission.csv")
    assert done.output == (
        f"Error: run {nuclei_run}: a submission is for the classes of schema 'hpa_kaggle_2018', and the run is of "
        "'nuclei'; --classes writes the predicted classes by name\n"
    )
    assert not (tmp_path / "submission.csv").exists()


def test_the_most_probable_class_is_predicted_by_name_and_without_thresholds(nuclei_run, tmp_path):
    out, classes = tmp_path / "test.csv", tmp_path / "classes.csv"
    arguments = (nuclei_run, "--split", "test", "--out", out, "--classes", classes)
    done = run_command(predict, *arguments)
    assert done.exit_code == 0, done.output
    assert f"classes: {classes} (the most probable class of each)\n" in done.output
    rows = {row.pop("Id"): row for row in read_rows(out)}
    best = {key: max(row, key=lambda name: float(row[name])) for key, row in rows.items()}
    assert {row["Id"]: row["Predicted"] for row in read_rows(classes)} == best
    done = run_command(predict, *arguments, "--rule", "matched")
    assert done.output == (
        "Error: --rule matched chooses thresholds, and examples of schema 'nuclei' have one label each: leave it out, "
        "the most probable class is predicted\n"
    )


def test_raw_images_whose_names_need_a_table_are_refused(tmp_path):
    from model.serving import raw

    schema = dataclasses.replace(NUCLEI, patterns=("{plate}/{id}.png",))
    with pytest.raises(
        InputError, match=r"^schema 'nuclei' names files by columns of its label table, {plate}/{id}.png"
    ):
        raw.open_raw(tmp_path, schema)


def test_ids_are_found_by_the_pattern_that_needs_no_table(tmp_path):
    from model.serving import raw

    (tmp_path / "P1").mkdir()
    for name in ("a.png", "b.png", "notes.txt", "P1/c.png"):
        (tmp_path / name).write_bytes(b"")
    schema = dataclasses.replace(NUCLEI, patterns=("{plate}/{id}.png", "{id}.png"))
    assert raw.open_raw(tmp_path, schema).ids == ["a", "b"]
    nested = dataclasses.replace(NUCLEI, patterns=("{id}/{id}.png",))
    (tmp_path / "P1/P1.png").write_bytes(b"")
    assert raw.open_raw(tmp_path, nested).ids == ["P1"]


def test_a_dataset_of_version_1_0_0_is_trained_on(tmp_path):
    write_dataset(tmp_path, Shape(train=16, dev=4, test=4), version="1.0.0")
    run = train_tiny(tmp_path, tmp_path / "run", **{**SMALL, "epochs": 1})
    assert run.settings.channels == ("red", "green", "blue", "yellow")
    assert json.loads(run.metrics_json.read_text())["threshold"] == 0.5
