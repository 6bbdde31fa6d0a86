"""The page of runs: complete in one file, with every text of the runs escaped."""

import html.parser
import json
import re
import shutil
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from model.report import main
from model.scores import intervals
from model.scores.evaluation import sealed

VOID = {"meta", "link", "img", "br", "hr", "input"}


def run_command(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


class Checker(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects ids, tags and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.tags, self.addresses, self.text, self.rows = [], [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        assert not [name for name in values if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def check(path: Path) -> Checker:
    text = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert "script" not in checker.tags
    assert all(one.startswith(("data:", "#")) for one in checker.addresses)
    assert not re.search(r"url\(|@import|https?://", text)
    assert {one[1:] for one in checker.addresses if one.startswith("#")} == set(checker.ids)
    assert len(checker.ids) == len(set(checker.ids))
    for drawing in re.findall(r"<svg.*?</svg>", text, re.S):
        assert xml.etree.ElementTree.fromstring(drawing).attrib["aria-label"]
        assert not re.search(r"\b(nan|inf)\b", re.sub(r">[^<]*<|aria-label=\"[^\"]*\"", "><", drawing))
    return checker


def sections_of(path: Path) -> dict[str, str]:
    found = re.findall(r'<section id="([^"]+)">(.*?)</section>', path.read_text(encoding="utf-8"), re.S)
    return dict(found)


def test_every_section_of_one_run_is_filled(evaluated_copy):
    result = run_command(evaluated_copy)
    assert result.exit_code == 0, result.output
    out = evaluated_copy / "report.html"
    assert result.output.startswith(f"report: {out} (")
    check(out)
    found = sections_of(out)
    assert list(found) == [
        *("scores", "curves", "correct", "classes", "precision-recall", "channels"),
        *("thresholds", "calibration", "errors", "gallery", "dataset", "repeat"),
    ]
    assert all(len(re.sub("<[^>]*>", "", body)) > 60 for body in found.values())
    assert found["curves"].count("<svg") == 3
    assert "moving statistics lag behind the weights" in found["curves"]
    assert found["correct"].count("<svg") == 2
    assert found["precision-recall"].count("<svg") == 28
    assert found["gallery"].count("data:image/png;base64,") % 5 == 0 < found["gallery"].count("data:image/png")
    assert "SYNTHETIC" in out.read_text()
    assert "no groups given" in found["dataset"]
    assert "quarantine is empty" in found["dataset"]
    assert f"{0:064x}" in found["dataset"]
    assert "--views one --splits train,dev,test" in found["repeat"]


def test_several_runs_are_compared_from_the_first_to_the_last(tmp_path, evaluated_copy):
    change_evaluation(evaluated_copy, set_limit(1200, "train"))
    other = Path(shutil.copytree(evaluated_copy, tmp_path / "second"))
    predictions = other / "evaluation" / "predictions-test.npz"
    with np.load(predictions) as file:
        arrays = dict(file)
    order = np.random.default_rng(0).permutation(len(arrays["ids"]))
    np.savez(predictions, **{name: array[order] for name, array in arrays.items()})
    out = tmp_path / "ladder.html"
    result = run_command(evaluated_copy, other, "--out", out, "--title", "A & B")
    assert result.exit_code == 0, result.output
    rows = check(out).rows
    assert "<title>A &amp; B</title>" in out.read_text()
    assert "Scored on only part of the examples: all runs on the first 1,200 of train." in out.read_text()
    # The same predictions in another order: no difference.
    assert ["evaluated", "second", "0.00", "[0.00, 0.00]", "no"] in rows
    assert "cannot be compared" not in out.read_text()


def test_differences_between_runs_resample_groups_together(tmp_path, evaluated_copy):
    from model import runs
    from model.page import evaluated as evaluated_runs

    other = Path(shutil.copytree(evaluated_copy, tmp_path / "second"))
    predictions = other / "evaluation" / "predictions-test.npz"
    with np.load(predictions) as file:
        arrays = dict(file)
    arrays["probabilities"] = arrays["labels"] * (arrays["ids"] < "synthetic-test-0030")[:, None]
    np.savez(predictions, **arrays)
    before, after = evaluated_runs.load([runs.open_run(evaluated_copy), runs.open_run(other)])
    alone = evaluated_runs.difference(before, after)
    for run in (before, after):
        run.__dict__["predictions"] = {
            key: (labels, probabilities, index // 8)
            for index, (key, (labels, probabilities, _)) in enumerate(sorted(run.predictions.items()))
        }
    grouped = evaluated_runs.difference(before, after)
    assert grouped.estimate == alone.estimate
    assert grouped.high - grouped.low > 1.03 * (alone.high - alone.low)


def test_runs_on_other_examples_are_not_compared(tmp_path, evaluated_copy):
    other = Path(shutil.copytree(evaluated_copy, tmp_path / "second"))
    predictions = other / "evaluation" / "predictions-test.npz"
    with np.load(predictions) as file:
        arrays = dict(file)
    arrays["ids"] = np.char.add(arrays["ids"], "-other")
    np.savez(predictions, **arrays)
    out = tmp_path / "ladder.html"
    assert run_command(evaluated_copy, other, "--out", out).exit_code == 0
    assert "Their figures cannot be compared with one another" in out.read_text()
    assert "Change of macro F1" not in out.read_text()


def test_texts_from_data_are_escaped(evaluated_copy):
    evil = "<script>alert('x')</script>&\"'"
    path = evaluated_copy / "evaluation" / "evaluation.json"
    found = json.loads(path.read_text())
    found["dataset"]["class_names"][0] = found["dataset"]["path"] = evil
    found["dataset"]["quarantine"] = [{"id": evil, "filter": "red", "code": "empty", "detail": evil}]
    found["dataset"]["num_quarantined"] = 1
    found["dataset"]["stains"] = {"red": evil}
    for entry in found["gallery"]:
        entry["id"] = evil
    for split in found["splits"].values():
        split["absent"] = [evil]
        for rule in split["rules"].values():
            rule["classes"][0]["name"] = evil
    path.write_text(json.dumps(sealed(found)))
    config = json.loads((evaluated_copy / "config.json").read_text())
    config["command"], config["git_commit"] = ["model/train.py", "--out", evil], evil
    (evaluated_copy / "config.json").write_text(json.dumps(config))
    result = run_command(evaluated_copy, "--title", evil)
    assert result.exit_code == 0, result.output
    checker = check(evaluated_copy / "report.html")
    assert "<script" not in (evaluated_copy / "report.html").read_text()
    assert sum("<script>alert('x')</script>" in one for one in checker.text) > 10


@pytest.mark.parametrize(
    ("called", "train", "evaluate"),
    [
        (["/some/where/model/train.py"], "python -m model.train", "python -m model.evaluate"),
        (["/some/where/bin/hpa-stacked", "train"], "hpa-stacked train", "hpa-stacked evaluate"),
        (["/some/where/hpa_cli/__main__.py", "train"], "python -m model.train", "python -m model.evaluate"),
    ],
)
def test_both_commands_of_the_run_are_shown_as_training_was_called(evaluated_copy, called, train, evaluate):
    change_config(evaluated_copy, lambda config: config.update(command=[*called, "--preset", "best", "--out", "a b"]))
    assert run_command(evaluated_copy).exit_code == 0
    commands = sections_of(evaluated_copy / "report.html")["repeat"]
    assert f"<pre>{train} --preset best --out &#39;a b&#39;\n{evaluate} {evaluated_copy} --views" in commands


@pytest.mark.parametrize(("preset", "shown"), [("best", False), ("green-128", True)])
def test_the_paper_has_a_column_if_it_has_a_score(evaluated_copy, preset, shown):
    change_config(evaluated_copy, lambda config: config["settings"].update(preset=preset))
    checker, _ = page_of(evaluated_copy)
    (header,) = (row for row in checker.rows if row[:4] == ["run", "split", "examples", "macro F1"])
    assert ("the paper, real images" in header) == shown
    assert (["evaluated", "test", "about 0.1"] in [[*row[:2], row[-1]] for row in checker.rows]) == shown


def test_a_run_that_was_not_evaluated_is_evaluated_first(run_copy):
    result = run_command(run_copy)
    assert result.exit_code == 0, result.output
    assert f"evaluating {run_copy}\n" in result.output
    assert (run_copy / "evaluation" / "evaluation.json").exists()
    again = run_command(run_copy)
    assert "evaluating" not in again.output


def test_a_run_without_checkpoint_is_refused(run_copy):
    (run_copy / "checkpoints" / "best.weights.h5").unlink()
    result = run_command(run_copy)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: run {run_copy}: no epoch is finished yet, so there is nothing to score: "
        f"'python -m model.train --resume --out {run_copy}' continues it\n"
    )


def test_a_run_given_twice_is_refused(evaluated_copy):
    result = run_command(evaluated_copy, evaluated_copy)
    assert result.exit_code == 1
    assert result.output == "Error: the same run was given twice\n"


def test_the_same_runs_give_the_same_page(tmp_path, evaluated):
    for name in ("a.html", "b.html"):
        assert run_command(evaluated, "--out", tmp_path / name).exit_code == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def change_evaluation(folder: Path, change) -> None:
    """Applies `change` to the contents of the run's `evaluation.json`."""
    path = folder / "evaluation" / "evaluation.json"
    evaluation = json.loads(path.read_text())
    change(evaluation)
    path.write_text(json.dumps(sealed(evaluation)))


def set_limit(limit: int, *splits: str):
    """Returns a change that makes the scored examples the first `limit` of larger splits."""

    def change(evaluation):
        evaluation["limit_examples"] = limit
        for split in splits:
            evaluation["dataset"]["num_examples"][split] = 10 * limit

    return change


def change_config(folder: Path, change) -> None:
    """Applies `change` to the contents of the run's `config.json`."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def page_of(folder: Path) -> tuple[Checker, str]:
    """Returns the checked page of one run, and its text with single spaces."""
    result = run_command(folder)
    assert result.exit_code == 0, result.output
    checker = check(folder / "report.html")
    return checker, " ".join("".join(checker.text).split())


def set_interval(low: float, high: float):
    def change(evaluation):
        rule = evaluation["splits"]["test"]["rules"]["fixed"]
        rule["macro_f1"], rule["interval"] = 0.3, {"estimate": 0.3, "low": low, "high": high}

    return change


def test_an_interval_around_the_score_is_shown(evaluated_copy):
    change_evaluation(evaluated_copy, set_interval(0.25, 0.36))
    checker, text = page_of(evaluated_copy)
    assert "0.30macro F1 of evaluated on test, 95% interval [0.25, 0.36]" in text
    assert ["evaluated", "test", "48", "0.30", "[0.25, 0.36]"] in [row[:5] for row in checker.rows]


def test_the_page_explains_its_intervals(evaluated):
    _, text = page_of(evaluated)
    assert intervals.EXPLANATION in text
    assert "of 28 classes have fewer than 10 examples" in text
    assert "many such classes put the score near the low end." in text


def test_the_gallery_has_a_heading_for_each_kind(evaluated_copy):
    page_of(evaluated_copy)
    gallery = sections_of(evaluated_copy / "report.html")["gallery"]
    wrong, missed, empty = gallery.split("<h3>")[1:]
    assert wrong.startswith("Most confident false positives</h3>")
    assert missed.startswith("Missed with the lowest probability</h3>")
    assert empty.startswith("Nearly empty green images</h3>")
    assert empty.count("<figure>") == 8


def test_notices_name_what_limits_the_figures(evaluated_copy):
    change_evaluation(evaluated_copy, lambda evaluation: evaluation.update(same_dataset=False))
    change_evaluation(evaluated_copy, set_limit(1200, "train", "test"))
    _, text = page_of(evaluated_copy)
    assert "SYNTHETIC data: the images are drawn by a program. No figure on this page says anything about real" in text
    assert "evaluated was scored on a different dataset from the one it was trained on." in text
    assert "Scored on only part of the examples: evaluated on the first 1,200 of train, test." in text
    assert "whole splits" not in text
    assert "Trained on only part" not in text


def test_a_limit_above_the_size_of_every_split_is_no_limit(evaluated_copy):
    change_config(evaluated_copy, lambda config: config["settings"].update(limit_examples=192))
    change_evaluation(evaluated_copy, lambda evaluation: evaluation.update(limit_examples=192))
    _, text = page_of(evaluated_copy)
    assert "Scored on only part" not in text
    assert "Trained on only part" not in text
    assert "F1 is computed over whole splits." in text


def test_a_split_of_a_single_group_has_a_notice_about_its_interval(evaluated_copy):
    def change(evaluation):
        evaluation["splits"]["test"]["num_groups"] = 1
        evaluation["dataset"]["group_columns"] = ["plate"]

    change_evaluation(evaluated_copy, change)
    _, text = page_of(evaluated_copy)
    assert (
        "Test is a single group (plate): its interval does not include differences between groups. "
        "split --folds tests every group."
    ) in text
    assert "The 48 examples of test are in 1 group; the simulations were of splits with many groups." in text


def test_classes_without_examples_are_listed_once_for_each_split(evaluated_copy):
    _, text = page_of(evaluated_copy)
    assert text.count("Classes without examples") == 1
    assert "their F1 counts as 0, and average precision leaves them out" in text


def test_the_section_of_channels_claims_reliance_only(evaluated_copy):
    _, text = page_of(evaluated_copy)
    assert "Reliance on each channel" in text
    assert "It does not show what the channel could add" in text


def test_a_run_without_ablation_says_so(evaluated_copy):
    change_evaluation(evaluated_copy, lambda evaluation: evaluation.pop("ablation"))
    _, text = page_of(evaluated_copy)
    assert "Not measured: the run was evaluated with --no-ablation." in text


def test_a_run_without_errors_has_an_empty_matrix(evaluated_copy):
    def change(evaluation):
        evaluation["splits"]["test"]["confusion"] = [[0] * 28] * 28

    change_evaluation(evaluated_copy, change)
    _, text = page_of(evaluated_copy)
    assert "No example has both a missed and a wrongly predicted class." in text


def test_the_matrix_of_errors_names_rows_and_columns(evaluated_copy):
    page_of(evaluated_copy)
    errors = sections_of(evaluated_copy / "report.html")["errors"]
    assert errors.count(">Endosomes</text>") == 2


def test_a_class_name_with_dollars_is_no_formula(evaluated_copy):
    name = "a$_b$ & $\\undefined$"

    def change(evaluation):
        evaluation["dataset"]["class_names"][0] = name

    change_evaluation(evaluated_copy, change)
    _, text = page_of(evaluated_copy)
    assert text.count(name) >= 3


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path, evaluated):
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = run_command(evaluated, "--out", blocked / "page.html")
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == [blocked]
