"""The report is one complete page that needs nothing else, and shows what is in the runs as text, never as markup."""

import html.parser
import json
import re
import shutil
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from model.page import charts, document
from model.report import main

VOID = {"meta", "link", "img", "br", "hr", "input"}


def run_command(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


class Checker(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects ids, tags and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.tags, self.addresses, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        assert not [name for name in values if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check(path: Path) -> Checker:
    text = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert "script" not in checker.tags
    assert all(one.startswith(("data:", "#")) for one in checker.addresses)
    assert not re.search(r"url\(|@import|https?://", text)
    assert {one[1:] for one in checker.addresses if one.startswith("#")} == set(checker.ids)
    for drawing in re.findall(r"<svg.*?</svg>", text, re.S):
        xml.etree.ElementTree.fromstring(drawing)
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
    assert found["curves"].count("<polyline") >= 3
    assert found["precision-recall"].count("<svg") == 28
    assert found["gallery"].count("data:image/png;base64,") % 5 == 0 < found["gallery"].count("data:image/png")
    assert "SYNTHETIC" in out.read_text()
    assert "near-duplicates" in found["dataset"]
    assert "quarantine is empty" in found["dataset"]
    assert f"{0:064x}" in found["dataset"]
    assert "--views one --splits train,dev,test" in found["repeat"]


def test_several_runs_are_told_as_a_ladder(tmp_path, evaluated_copy):
    other = Path(shutil.copytree(evaluated_copy, tmp_path / "second"))
    predictions = other / "evaluation" / "predictions-test.npz"
    with np.load(predictions) as file:
        arrays = dict(file)
    order = np.random.default_rng(0).permutation(len(arrays["ids"]))
    np.savez(predictions, **{name: array[order] for name, array in arrays.items()})
    out = tmp_path / "ladder.html"
    result = run_command(evaluated_copy, other, "--out", out, "--title", "A & B")
    assert result.exit_code == 0, result.output
    check(out)
    assert "<title>A &amp; B</title>" in out.read_text()
    # The same predictions in another order: no difference.
    assert "evaluated to second</td><td>+0.0000</td><td>[0.000, 0.000]</td>" in out.read_text()
    assert "cannot be compared" not in out.read_text()


def test_runs_on_other_examples_are_not_compared(tmp_path, evaluated_copy):
    other = Path(shutil.copytree(evaluated_copy, tmp_path / "second"))
    predictions = other / "evaluation" / "predictions-test.npz"
    with np.load(predictions) as file:
        arrays = dict(file)
    arrays["ids"] = np.char.add(arrays["ids"], "-other")
    np.savez(predictions, **arrays)
    out = tmp_path / "ladder.html"
    assert run_command(evaluated_copy, other, "--out", out).exit_code == 0
    assert "their figures cannot be compared with one another" in out.read_text()
    assert "Steps of the ladder" not in out.read_text()


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
    path.write_text(json.dumps(found))
    config = json.loads((evaluated_copy / "config.json").read_text())
    config["command"], config["git_commit"] = ["model/train.py", "--out", evil], evil
    (evaluated_copy / "config.json").write_text(json.dumps(config))
    result = run_command(evaluated_copy, "--title", evil)
    assert result.exit_code == 0, result.output
    checker = check(evaluated_copy / "report.html")
    assert "<script" not in (evaluated_copy / "report.html").read_text()
    assert sum("<script>alert('x')</script>" in one for one in checker.text) > 10


def test_the_command_of_the_run_is_shown_as_it_was_typed(evaluated_copy):
    config = json.loads((evaluated_copy / "config.json").read_text())
    config["command"] = ["/some/where/model/train.py", "--preset", "best", "--out", "my runs/1"]
    (evaluated_copy / "config.json").write_text(json.dumps(config))
    assert run_command(evaluated_copy).exit_code == 0
    expected = "python -m model.train --preset best --out &#x27;my runs/1&#x27;"
    assert expected in (evaluated_copy / "report.html").read_text()


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
    assert result.output == f"Error: run {run_copy} has no checkpoint: no epoch of it was finished\n"


def test_a_run_given_twice_is_refused(evaluated_copy):
    result = run_command(evaluated_copy, evaluated_copy)
    assert result.exit_code == 1
    assert result.output == "Error: the same run was given twice\n"


def test_the_same_runs_give_the_same_page(tmp_path, evaluated):
    for name in ("a.html", "b.html"):
        assert run_command(evaluated, "--out", tmp_path / name).exit_code == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (3, 17, [5, 10, 15]), (0.01, 0.013, [0.01, 0.011, 0.012, 0.013])],
)
def test_ticks_are_round(low, high, expected):
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_charts_leave_out_what_is_not_finite_and_bear_having_nothing():
    drawing = charts.lines([[(1, float("nan")), (2, 1.0)], []], title="t", x_label="x", y_label="y")
    xml.etree.ElementTree.fromstring(drawing)
    assert "nan" not in drawing
    for drawing in (
        charts.lines([], title="t", x_label="x", y_label="y"),
        charts.bars([], title="t"),
        charts.small_curve([], title="t", fill="#000"),
    ):
        xml.etree.ElementTree.fromstring(drawing)


def test_a_table_sets_words_left_and_numbers_right():
    text = document.table(["a", "b"], [["x", 1234], [None, 0.5]])
    assert '<td class="text">x</td><td>1,234</td>' in text
    assert '<td class="text">–</td><td>0.5000</td>' in text
