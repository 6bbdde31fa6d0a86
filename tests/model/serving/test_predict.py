"""Predictions from raw images, from shards and from the exported model are the same; what is bad is left out."""

import csv
import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from model import runs
from model.predict import main
from model.scores.evaluation import sealed
from model.serving import tables
from pipeline.console import extras
from pipeline.errors import InputError
from pipeline.schema import HPA_KAGGLE_2018
from tests.support.csv_files import read_rows
from tests.support.sources import draw_source, stacked


def run_command(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def read_table(path: Path) -> dict[str, np.ndarray]:
    with open(path, newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {row[0]: np.array(row[1:], np.float32) for row in rows}


@pytest.fixture(scope="session")
def raw_table(tmp_path_factory, raw_run, raw_source) -> Path:
    """The predictions for all raw images."""
    out = tmp_path_factory.mktemp("predicted") / "raw.csv"
    result = run_command(raw_run, "--images", raw_source.images, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"48 examples predicted, 0 left out: {out}" in result.output
    return out


def test_raw_images_and_shards_of_the_same_examples_give_the_same(tmp_path, raw_run, raw_table):
    raw, published = read_table(raw_table), {}
    for split in ("train", "dev", "test"):
        result = run_command(raw_run, "--split", split, "--out", tmp_path / f"{split}.csv")
        assert result.exit_code == 0, result.output
        published |= read_table(tmp_path / f"{split}.csv")
    assert set(raw) == set(published)
    worst = max(np.abs(raw[one] - published[one]).max() for one in raw)
    assert worst <= 1e-6


def test_predicting_a_split_reads_each_record_once(tmp_path, run_copy, records_read):
    assert run_command(run_copy, "--split", "test", "--out", tmp_path / "test.csv").exit_code == 0
    assert records_read == {"test": 48}


def test_a_zip_gives_what_its_folder_gives(tmp_path, raw_run, raw_source, raw_table):
    archive = tmp_path / "test.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(raw_source.images.iterdir()):
            file.write(path, f"test/{path.name}")
    out = tmp_path / "zip.csv"
    result = run_command(raw_run, "--images", archive, "--out", out)
    assert result.exit_code == 0, result.output
    assert out.read_bytes() == raw_table.read_bytes()


def test_parquet_holds_what_csv_holds(tmp_path, raw_run, raw_table):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "dev.parquet"
    assert run_command(raw_run, "--split", "dev", "--out", out).exit_code == 0
    table, expected = parquet.read_table(out).to_pydict(), read_table(raw_table)
    names = runs.open_run(raw_run).dataset["class_names"]
    assert list(table) == ["Id", *names]
    for row, example_id in enumerate(table["Id"]):
        np.testing.assert_allclose([table[name][row] for name in names], expected[example_id], atol=1e-6)


def test_a_corrupt_image_is_reported_and_left_out(tmp_path, raw_run, raw_source, raw_table):
    images = tmp_path / "images"
    shutil.copytree(raw_source.images, images)
    (images / "ex-0003_blue.png").write_bytes((images / "ex-0003_blue.png").read_bytes()[:60])
    (images / "ex-0007_yellow.png").unlink()
    out, submission = tmp_path / "out.csv", tmp_path / "submission.csv"
    result = run_command(raw_run, "--images", images, "--out", out, "--submission", submission)
    assert result.exit_code == 0, result.output
    assert "left out ex-0003: channel 'blue': truncated: the file ends at byte 60" in result.output
    assert "left out ex-0007: channel 'yellow': missing_filter: no file ex-0007_yellow.png" in result.output
    assert f"46 examples predicted, 2 left out: {out}" in result.output
    expected = read_table(raw_table)
    found = read_table(out)
    assert set(expected) - set(found) == {"ex-0003", "ex-0007"}
    assert all(np.abs(found[one] - expected[one]).max() <= 1e-6 for one in found)
    assert len(submission.read_text().splitlines()) == 47
    rows = read_rows(tmp_path / "out.bad.csv")
    assert [(row["id"], row["filter"], row["code"]) for row in rows] == [
        ("ex-0003", "blue", "truncated"),
        ("ex-0007", "yellow", "missing_filter"),
    ]


def test_decoding_stays_a_little_ahead_and_no_more(raw_source):
    from model.serving import raw
    from pipeline.images.sources import open_images

    images, started = open_images(raw_source.images), []

    class Counting:
        def together(self, names, max_bytes):
            started.append(names)
            return images.together(names, max_bytes)

    ids = sorted(raw_source.labels) * 10
    stream = raw.RawImages(raw_source.images, Counting(), HPA_KAGGLE_2018, ids)._good(32, lambda done, total: None)
    next(stream)
    assert 1 <= len(started) <= raw.LOOK_AHEAD < len(ids)
    assert [example_id for example_id, _ in stream] == ids[1:]


def test_the_submission_holds_the_classes_over_their_thresholds(tmp_path, evaluated):
    out, submission = tmp_path / "test.csv", tmp_path / "submission.csv"
    for rule in ("fixed", "matched"):
        result = run_command(evaluated, "--split", "test", "--out", out, "--submission", submission, "--rule", rule)
        assert result.exit_code == 0, result.output
        chosen = np.array(json.loads((evaluated / "evaluation/evaluation.json").read_text())["thresholds"][rule])
        with open(submission, newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["Id", "Predicted"]
        expected = {one: " ".join(map(str, np.flatnonzero(row >= chosen))) for one, row in read_table(out).items()}
        assert dict(rows[1:]) == expected


def test_thresholds_that_match_the_set_predict_each_class_for_its_share_of_train(tmp_path, evaluated):
    out, submission = tmp_path / "train.csv", tmp_path / "submission.csv"
    arguments = ["--split", "train", "--out", out, "--submission", submission, "--rule", "matched-set"]
    result = run_command(evaluated, *arguments)
    assert result.exit_code == 0, result.output
    assert f"submission: {submission} (matched-set thresholds, chosen for these 192 images as a whole)" in result.output
    frequencies = np.array(json.loads((evaluated / "evaluation/evaluation.json").read_text())["frequencies"])
    with open(submission, newline="") as file:
        rows = dict(list(csv.reader(file))[1:])
    assert list(rows) == list(read_table(out))
    counts = np.bincount(np.array(" ".join(rows.values()).split(), int), minlength=28)
    np.testing.assert_array_equal(counts, np.round(frequencies * 192))


def test_few_images_are_no_set_to_match(tmp_path, evaluated):
    out, submission = tmp_path / "test.csv", tmp_path / "submission.csv"
    arguments = ["--split", "test", "--out", out, "--submission", submission, "--rule", "matched-set"]
    result = run_command(evaluated, *arguments)
    assert result.exit_code == 1
    assert result.output.endswith(
        "Error: 48 examples: the rule matched-set needs 100 or more, because it predicts each class for the same share "
        "of them as of train; choose another --rule\n"
    )
    assert not out.exists()
    assert not submission.exists()


def test_an_empty_prediction_stays_empty_unless_told(tmp_path, evaluated):
    from model.scores import thresholds

    probabilities, chosen = np.array([[0.1, 0.3, 0.2]]), np.full(3, 0.5)
    predicted = thresholds.predict(probabilities, chosen)
    assert not predicted.any()
    assert thresholds.at_least_one(predicted, probabilities, chosen).tolist() == [[False, True, False]]
    (table,) = tables.class_tables(HPA_KAGGLE_2018, submission=tmp_path / "s.csv")
    with tables.predicted_classes(table) as write:
        write(["a", "b"], np.array([[False] * 28, [True] + [False] * 26 + [True]]))
    assert (tmp_path / "s.csv").read_text() == "Id,Predicted\na,\nb,0 27\n"


def test_the_table_of_classes_names_those_of_the_submission(tmp_path, evaluated):
    classes, submission = tmp_path / "classes.csv", tmp_path / "submission.csv"
    arguments = ["--split", "test", "--out", tmp_path / "p.csv", "--rule", "matched"]
    result = run_command(evaluated, *arguments, "--classes", classes, "--submission", submission)
    assert result.exit_code == 0, result.output
    assert f"classes: {classes} (matched thresholds)\n" in result.output
    by_id, by_name = ({row["Id"]: row["Predicted"] for row in read_rows(path)} for path in (submission, classes))
    names = HPA_KAGGLE_2018.classes
    assert any(by_id.values())
    assert {key: "|".join(names[int(label)] for label in row.split()) for key, row in by_id.items()} == by_name


def test_names_of_classes_are_separated_as_in_the_label_table(tmp_path):
    table = dataclasses.replace(HPA_KAGGLE_2018.table, numbers=False, separator=";")
    schema = dataclasses.replace(HPA_KAGGLE_2018, table=table)
    (found,) = tables.class_tables(schema, by_name=tmp_path / "c.csv")
    with tables.predicted_classes(found) as write:
        write(["a"], np.array([[True, True] + [False] * 26]))
    assert (tmp_path / "c.csv").read_text() == "Id,Predicted\na,Nucleoplasm;Nuclear membrane\n"


def test_a_split_and_images_of_its_name_have_tables_of_their_own(run_copy, raw_source, tmp_path):
    images = shutil.copytree(raw_source.images, tmp_path / "test")
    for arguments in (["--split", "test"], ["--images", images]):
        result = run_command(run_copy, *arguments)
        assert result.exit_code == 0, result.output
    written = sorted(path.name for path in (run_copy / "predictions").glob("*.csv"))
    assert written == ["split-test.csv", "test.csv"]


def test_rows_without_a_class_are_counted(tmp_path, run_copy, monkeypatch):
    from model.scores import thresholds

    monkeypatch.setattr(thresholds, "predict", lambda probabilities, _: probabilities >= 0.99)
    classes = tmp_path / "classes.csv"
    arguments = [run_copy, "--split", "test", "--out", tmp_path / "p.csv", "--classes", classes]
    result = run_command(*arguments)
    num = sum(not row["Predicted"] for row in read_rows(classes))
    assert num
    expected = f"{num} rows are empty, because no class is above its threshold: --at-least-one predicts the nearest\n"
    assert expected in result.output
    result = run_command(*arguments, "--at-least-one")
    assert result.exit_code == 0
    assert "rows are empty" not in result.output


def test_two_tables_do_not_share_a_file(tmp_path, run_copy):
    path = tmp_path / "p.csv"
    result = run_command(run_copy, "--split", "test", "--out", path, "--classes", path)
    assert result.exit_code == 1
    assert result.output.endswith(f"Error: {path}: named for two tables, expected a file for each\n")
    assert not path.exists()


def test_a_table_appears_only_when_it_is_complete(tmp_path):
    with pytest.raises(RuntimeError), tables.probabilities(tmp_path / "t.csv", ["a"]) as write:
        write(["x"], np.ones((1, 1)))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


FRESH = """
import json, sys
sys.path.insert(0, {site!r})
import importlib.util
assert importlib.util.find_spec("model") is None and importlib.util.find_spec("pipeline") is None
import numpy as np
images = np.load("images.npy")
import keras
loaded = keras.models.load_model("exported/model.keras")
np.save("keras.npy", loaded.predict(images, verbose=0))
import tensorflow as tf
saved = tf.saved_model.load("exported/saved_model")
np.save("saved.npy", saved.serve(images).numpy())
"""

MISSING_FOR_ONNX = [name for name in ("onnx", "onnxruntime", "tf2onnx") if not importlib.util.find_spec(name)]


def test_the_exported_model_without_this_repository_equals_predict(tmp_path, raw_run, raw_source, raw_table):
    """In an interpreter that sees the libraries, but neither the repository nor its editable install."""
    from pipeline.images.sources import open_images

    result = run_command(raw_run, "--export", tmp_path / "exported", "--input-size", 64)
    assert result.exit_code == 0, result.output
    assert "same probabilities as the run" in result.output
    source, ids = open_images(raw_source.images), sorted(raw_source.labels)[:5]
    np.save(tmp_path / "images.npy", np.stack([stacked(source, one, 64).image for one in ids]))
    code = FRESH.format(site=str(Path(np.__file__).parents[1]))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = np.stack([read_table(raw_table)[one] for one in ids])
    for name in ("keras", "saved"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, rtol=0, atol=1e-6)
    assert "channels red, green, blue, yellow" in (tmp_path / "exported" / "README.md").read_text()
    metadata = json.loads((tmp_path / "exported" / "metadata.json").read_text())
    assert (metadata["schema"], metadata["class_names"]) == ("hpa_kaggle_2018", list(HPA_KAGGLE_2018.classes))
    assert (metadata["input_size"], metadata["input_dtype"], metadata["single_label"]) == (64, "uint8", False)


@pytest.mark.skipif(bool(MISSING_FOR_ONNX), reason=f"needs the extra onnx: {', '.join(MISSING_FOR_ONNX)} missing")
def test_the_onnx_file_gives_the_probabilities_of_the_run(tmp_path, raw_run, raw_source, raw_table):
    import onnxruntime

    from pipeline.images.sources import open_images

    result = run_command(raw_run, "--export", tmp_path, "--input-size", 64)
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'model.onnx'}: same probabilities as the run, to " in result.output
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    source, ids = open_images(raw_source.images), sorted(raw_source.labels)[:5]
    images = np.stack([stacked(source, one, 64).image for one in ids])
    assert images.dtype == np.uint8
    expected = np.stack([read_table(raw_table)[one] for one in ids])
    np.testing.assert_allclose(session.run(None, {"image": images})[0], expected, rtol=0, atol=1e-6)
    assert "onnxruntime.InferenceSession" in (tmp_path / "README.md").read_text()


def test_without_the_extra_the_export_says_how_to_get_onnx(tmp_path, run_copy, monkeypatch):
    from model.serving import export

    monkeypatch.setattr(export, "FOR_ONNX", ("onnx_of_nobody",))
    result = run_command(run_copy, "--export", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.endswith(f"no model.onnx, without onnx_of_nobody: {extras.install('onnx')}\n")
    assert not (tmp_path / "model.onnx").exists()
    assert "onnxruntime" not in (tmp_path / "README.md").read_text()


# Bad input


def test_what_to_predict_must_be_said_once(run_copy):
    for given in ([], ["--split", "dev", "--images", "x"]):
        result = run_command(run_copy, *given)
        assert result.exit_code == 1
        assert result.output == "Error: choose one of --images DIR or ZIP, --split NAME, --export DIR\n"


def test_a_run_without_checkpoint_is_refused(tmp_path, run_copy):
    (run_copy / "checkpoints" / "best.weights.h5").unlink()
    for given in (["--split", "dev"], ["--export", tmp_path / "exported"]):
        result = run_command(run_copy, *given)
        assert result.exit_code == 1
        assert result.output == (
            f"Error: run {run_copy}: no epoch is finished yet, so there is nothing to score: "
            f"'python -m model.train --resume --out {run_copy}' continues it\n"
        )


def test_images_that_are_not_there_are_refused(tmp_path, run_copy):
    result = run_command(run_copy, "--images", tmp_path / "none")
    assert result.exit_code == 1
    expected = f"Error: {tmp_path / 'none'}: no such folder or zip, expected the images {{id}}_{{channel}}.png\n"
    assert result.output == expected
    (tmp_path / "empty").mkdir()
    result = run_command(run_copy, "--images", tmp_path / "empty")
    assert result.exit_code == 1
    assert result.output == (
        f"Error: {tmp_path / 'empty'}: no images named as schema 'hpa_kaggle_2018' says: {{id}}_red.png, "
        "{id}_green.png, {id}_blue.png, {id}_yellow.png\n"
    )


def test_images_in_the_folder_of_a_source_are_proposed(tmp_path, run_copy):
    source = draw_source(tmp_path / "my source", 2, side=64)
    result = run_command(run_copy, "--images", source.root)
    inner = source.root / "train"
    assert result.exit_code == 1
    assert result.output.endswith(f"{{id}}_yellow.png; they are in {inner}: --images '{inner}'\n")


def test_images_that_are_all_bad_are_refused_and_leave_no_table(tmp_path, run_copy):
    (tmp_path / "bad").mkdir()
    for name in ("red", "green", "blue", "yellow"):
        (tmp_path / "bad" / f"a_{name}.png").write_bytes(b"no image")
    result = run_command(run_copy, "--images", tmp_path / "bad", "--out", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert f"Error: {tmp_path / 'bad'}: no image could be used, 1 are bad\n" in result.output
    assert not (tmp_path / "out.csv").exists()
    assert len((tmp_path / "out.bad.csv").read_text().splitlines()) == 5


def test_a_table_of_another_kind_is_refused(tmp_path, run_copy):
    result = run_command(run_copy, "--split", "dev", "--out", tmp_path / "x.xlsx")
    assert result.exit_code == 1
    assert result.output == f"Error: {tmp_path / 'x.xlsx'}: expected a name that ends in .csv or .parquet\n"


def test_thresholds_that_were_not_chosen_are_refused(tmp_path, run_copy):
    arguments = (run_copy, "--split", "dev", "--submission", tmp_path / "s.csv", "--rule", "matched")
    result = run_command(*arguments)
    assert result.exit_code == 1
    expected = f"Error: run {run_copy} was not evaluated: 'python -m model.evaluate {run_copy}' does it\n"
    assert result.output == expected


def test_thresholds_for_other_views_are_refused(tmp_path, evaluated):
    arguments = (evaluated, "--split", "dev", "--submission", tmp_path / "s.csv", "--rule", "flat", "--views", "d4")
    result = run_command(*arguments)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: run {evaluated}: thresholds were chosen for another checkpoint or other views: "
        f"'python -m model.evaluate {evaluated} --views d4' chooses them again\n"
    )


def test_thresholds_chosen_without_dev_are_refused(tmp_path, evaluated_copy):
    path = evaluated_copy / "evaluation" / "evaluation.json"
    evaluation = json.loads(path.read_text())
    evaluation["thresholds"] = {"fixed": evaluation["thresholds"]["fixed"]}
    path.write_text(json.dumps(sealed(evaluation)))
    arguments = ("--split", "dev", "--submission", tmp_path / "s.csv", "--rule", "flat")
    result = run_command(evaluated_copy, *arguments)
    assert result.exit_code == 1
    assert result.output == f"Error: run {evaluated_copy}: no flat thresholds, because it was evaluated without dev\n"


def test_an_exported_file_with_other_probabilities_is_refused(tmp_path, run_copy, monkeypatch):
    from model.serving import export

    monkeypatch.setattr(export, "_probabilities", lambda path, images: np.full((len(images), 28), 2.0))
    result = run_command(run_copy, "--export", tmp_path / "exported")
    assert result.exit_code == 1
    assert f"Error: {tmp_path / 'exported' / 'model.keras'}: its probabilities differ by " in result.output


def test_a_model_that_cannot_be_converted_to_onnx_is_named(tmp_path, monkeypatch):
    from model.serving import export

    monkeypatch.setattr(export, "_CONVERT", "raise SystemExit('no such operation')")
    with pytest.raises(
        InputError,
        match=r"model.onnx: the model cannot be converted to ONNX \(no such operation\): pip uninstall tf2onnx leaves this",
    ):
        export._write_onnx(tmp_path / "model.keras", tmp_path / "model.onnx")


def test_an_input_size_that_does_not_divide_is_refused(tmp_path, run_copy):
    result = run_command(run_copy, "--export", tmp_path / "exported", "--input-size", 48)
    assert result.exit_code == 1
    assert result.output == (
        "Error: images of 48 pixels a side: expected a multiple of 32, which the run was trained on\n"
    )


def test_parquet_without_its_library_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(InputError, match=r"Parquet needs pyarrow, which is not installed; .csv does without"),
        tables.probabilities(tmp_path / "t.parquet", ["a"]),
    ):
        pass


def test_an_export_with_other_probabilities_is_refused(tmp_path, monkeypatch):
    from model import backend

    backend.start()
    import keras

    from model.serving import export

    image = keras.Input((2,))
    model = keras.Model(image, keras.layers.Identity()(image))
    path = tmp_path / export.KERAS_FILE
    monkeypatch.setattr(export, "_probabilities", lambda path, images: images + 0.25)
    with pytest.raises(InputError, match=f"^{path}: its probabilities differ by 0.25 from those of the run$"):
        export.check(model, [path], np.ones((1, 2), np.float32))


def test_names_that_are_no_ids_are_left_out_and_reach_no_table_as_formulas(tmp_path, raw_run, raw_source, raw_table):
    images = tmp_path / "images"
    shutil.copytree(raw_source.images, images)
    odd = [b"=1+cmd|'calc'!A0", b"-1", b"+1", b"@SUM(A1)", b"not UTF-8 \xff", b"\x1b[2J", b"a,b", b"two\nlines"]
    for name in odd:
        for filter_name in ("red", "green", "blue", "yellow"):
            source = raw_source.image("ex-0000", filter_name)
            shutil.copy(source, os.fsencode(images) + b"/" + name + b"_" + filter_name.encode() + b".png")
    out, submission = tmp_path / "out.csv", tmp_path / "submission.csv"
    result = run_command(raw_run, "--images", images, "--out", out, "--submission", submission)
    assert result.exit_code == 0, result.output
    assert f"48 examples predicted, {len(odd)} left out: {out}" in result.output
    assert "\x1b" not in result.output
    assert out.read_bytes() == raw_table.read_bytes()
    with open(tmp_path / "out.bad.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert {row[2] for row in rows} == {"bad_id"}
    assert all("cannot be part of a file name" in row[3] for row in rows)
    cells = {row[0] for row in rows}
    assert {"'=1+cmd|'calc'!A0", "'-1", "'+1", "'@SUM(A1)", r"\x1b[2J"} <= cells
    assert any(cell.startswith("not UTF-8 ") for cell in cells)
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
