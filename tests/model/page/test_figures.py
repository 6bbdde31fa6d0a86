"""The figures of the page: valid, legible, the same every time."""

import re
import warnings
import xml.etree.ElementTree

import matplotlib
import numpy as np
import pytest

from model.page import figures, svg
from tests.support.hpa import CLASS_NAMES

NAMES = list(CLASS_NAMES)
AXES = {"row_label": "missed", "column_label": "predicted"}


def parse(drawing: str) -> xml.etree.ElementTree.Element:
    return xml.etree.ElementTree.fromstring(drawing)


def texts(drawing: str) -> list[str]:
    return [element.text for element in parse(drawing).iter("text")]


def bars(num: int = 28, label: str = "bars") -> str:
    counts = list(range(num))
    return figures.class_bars(NAMES[:num], [counts, counts[::-1]], num, label=label)


ALL = {
    "estimates": lambda: figures.estimates(
        [("run", [figures.Estimate(0.3, (0.2, 0.4), "0.30"), None])], 0.1, "guessing", "macro F1", label="l"
    ),
    "curves": lambda: figures.curves([[(1, 2.0), (2, 1.0)]], x_label="step", y_label="loss", label="l"),
    "reliability": lambda: figures.reliability([[(0.1, 0.2), (0.9, 0.8)]], label="l"),
    "class_bars": bars,
    "precision_recall": lambda: figures.precision_recall([(0, 1.0), (1, 0.2)], 0.1, label="l"),
    "error_matrix": lambda: figures.error_matrix(np.eye(28, dtype=int), NAMES, **AXES, label="l"),
}


@pytest.mark.parametrize("name", ALL)
def test_a_figure_is_the_same_every_time(name):
    assert ALL[name]() == ALL[name]()


@pytest.mark.parametrize("name", ALL)
def test_a_figure_does_not_depend_on_the_settings_of_the_user(name):
    expected = ALL[name]()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert ALL[name]() == expected


@pytest.mark.parametrize("name", ALL)
def test_letters_stay_legible_on_a_phone(name):
    root = parse(ALL[name]())
    width = float(root.attrib["viewBox"].split()[2])
    # The matrix scrolls; all others are shrunk to 340 pixels at most.
    shrink = 1.0 if name == "error_matrix" else min(1.0, 340 / width)
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", ALL[name]())]
    assert all(size * shrink >= 8 for size in sizes)
    assert len(sizes) == len(list(root.iter("text")))


def test_a_figure_is_an_element_without_anything_global():
    drawing = bars(label="<b> & \"'")
    root = parse(drawing)
    assert root.tag == "svg"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "<b> & \"'"
    assert not {element.tag for element in root.iter()} & {"metadata", "style", "clipPath", "script"}
    assert not re.search(r"xmlns|https?:|url\(|Date|Matplotlib", drawing)


def test_ids_differ_between_figures():
    points = [(1, 2.0), (2, 1.0)]
    ids = [
        element.attrib["id"]
        for label in ("first", "second")
        for element in parse(figures.curves([points], x_label="x", y_label="y", label=label)).iter()
        if "id" in element.attrib
    ]
    assert len(ids) == len(set(ids)) == 2


def test_points_that_are_not_finite_are_left_out():
    drawing = figures.curves(
        [[(1, float("nan")), (2, 1.0), (3, float("inf"))], []], x_label="x", y_label="y", label="l"
    )
    assert "nan" not in drawing
    assert "inf" not in drawing
    assert drawing.count("<use") == 1


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.curves([], x_label="x", y_label="y", label="l"),
        lambda: figures.curves([[]], x_label="x", y_label="y", from_zero=True, label="l"),
        lambda: figures.reliability([[]], label="l"),
        lambda: figures.class_bars(NAMES[:3], [[0, 0, 0]], 1, label="l"),
        lambda: figures.error_matrix([[0]], ["only"], **AXES, label="l"),
    ],
)
def test_a_figure_without_values_is_drawn(draw):
    parse(draw())


def test_a_curve_of_scores_starts_at_zero():
    drawing = figures.curves([[(1, 0.31), (2, 0.34)]], x_label="step", y_label="F1", from_zero=True, label="l")
    assert any(float(text) == 0 for text in texts(drawing) if re.fullmatch(r"[\d.]+", text))


def test_a_curve_without_points_says_that_there_are_no_examples():
    assert texts(figures.precision_recall([], 0.0, label="l")) == ["no examples"]


def test_every_class_is_named_in_both_halves_of_the_bars():
    assert [text for text in texts(bars()) if text in NAMES] == NAMES


def test_the_matrix_names_rows_and_columns_and_shows_counts():
    counts = np.zeros((28, 28), int)
    counts[3, 5] = 17
    shown = texts(figures.error_matrix(counts, NAMES, **AXES, label="l"))
    assert all(shown.count(name) == 2 for name in NAMES)
    assert {"17", *AXES.values()} <= set(shown)
    assert "0" not in shown


def test_a_long_name_of_a_run_is_wrapped_not_cut():
    name = "-".join(["pretrained"] * 12)
    drawing = figures.estimates([(name, [figures.Estimate(0.3, None, "0.30")])], 0.1, "guessing", "F1", label="l")
    assert name in "".join(texts(drawing))


def test_a_long_name_of_a_run_does_not_narrow_the_axes():
    rows = [figures.Estimate(0.3, (0.1, 0.5), "0.30")]
    short, long = (
        parse(figures.estimates([(name, rows)], 0.1, "guessing", "F1", label="l")) for name in ("a", "w" * 39)
    )
    places = [{e.text: e.attrib["x"] for e in root.iter("text") if "x" in e.attrib} for root in (short, long)]
    assert places[0]["0.30"] == places[1]["0.30"]


def test_estimates_show_their_values_in_one_column():
    rows = [figures.Estimate(0.1, (0.05, 0.2), "first"), figures.Estimate(0.4, (0.3, 0.6), "second")]
    root = parse(figures.estimates([("run", rows)], 0.1, "guessing", "F1", label="l"))
    places = {element.attrib["x"] for element in root.iter("text") if element.text in ("first", "second")}
    assert len(places) == 1


def test_text_is_never_a_formula_and_needs_no_glyph():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing = figures.class_bars(["$\\bad_{$ <i>", "核小体"], [[1, 2]], 2, label="l")
    assert {"$\\bad_{$ <i>", "核小体"} <= set(texts(drawing))


def test_colours_repeat_after_the_last():
    assert svg.colour(0) == svg.colour(8) == "#2f6690"
    assert len({svg.colour(index) for index in range(8)}) == 8
