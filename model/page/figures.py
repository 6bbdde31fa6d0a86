"""The figures of the page, each at most `WIDTH` CSS pixels wide, so that text stays legible on a phone.

Wide screens show several figures side by side. Only the matrix of errors is wider; its container scrolls.
"""

import dataclasses
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from model.page.svg import colour, inline, new_figure

WIDTH = 380
CURVE_SIDE = 120
MATRIX_CELL = 18

INK, MUTED, EMPTY = "#1f2933", "#616e7c", "#f5f7fa"

NAME_WIDTH = 38
"""Characters of a class name on one line; longer names take several."""

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A score with the ends of its interval, if it has one, and its text."""

    value: float
    ends: Point | None
    text: str


@inline
def estimates(
    groups: Sequence[tuple[str, Sequence[Estimate | None]]], baseline: float, baseline_name: str, axis_label: str
) -> Figure:
    """Returns points with intervals: one group for each run, one row and colour for each split.

    The text of an estimate is in a column at the right; a dashed line marks the baseline.
    """
    names = [textwrap.wrap(name, 40) or [""] for name, _ in groups]
    top = sum(len(lines) + len(row) for lines, (_, row) in zip(names, groups, strict=True)) + 0.6 * len(groups)
    figure = new_figure(WIDTH, 17 * top + 66, layout="constrained")
    axes = figure.add_subplot()
    y = 0.0
    for lines, (_, row) in zip(names, groups, strict=True):
        place: dict[str, Any] = {
            "x": 0,
            "y": y + len(lines) / 2 - 0.5,
            "transform": axes.get_yaxis_transform(),
            "va": "center",
        }
        text = axes.text(s="\n".join(lines), bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, **place)
        text.set_in_layout(False)  # a long name may overlap the column at the right, and must not narrow the axes
        y += len(lines)
        for index, estimate in enumerate(row):
            if estimate:
                _draw_estimate(axes, estimate, y, colour(index))
            y += 1
        y += 0.6
    axes.axvline(baseline, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
    axes.set_title(f"dashed: {baseline_name}", color=MUTED, fontsize=10, loc="left")
    axes.set(ylim=(y - 0.5, -0.7), yticks=[], xlabel=axis_label)
    axes.set_xlim(0, None)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return figure


def _draw_estimate(axes: Axes, estimate: Estimate, y: float, fill: str) -> None:
    if estimate.ends:
        axes.plot(estimate.ends, [y, y], color=fill, linewidth=1.5)
    axes.plot([estimate.value], [y], "o", color=fill, markersize=6)
    axes.text(1.02, y, estimate.text, transform=axes.get_yaxis_transform(), va="center", color=fill)


@inline
def curves(series: Sequence[Sequence[Point]], *, x_label: str, y_label: str, from_zero: bool = False) -> Figure:
    """Returns a line through the points of each series, from left to right; points that are not finite are left out."""
    figure = new_figure(340, 250, layout="constrained")
    axes = figure.add_subplot()
    dots = max(map(len, series), default=0) <= 40
    for index, points in enumerate(series):
        finite = [point for point in points if math.isfinite(point[0]) and math.isfinite(point[1])]
        marker = "o" if dots or len(finite) == 1 else None
        if finite:
            axes.plot(*zip(*finite, strict=True), color=colour(index), marker=marker)
    axes.set(xlabel=x_label, ylabel=y_label)
    if from_zero:
        axes.set_ylim(0, max(axes.dataLim.y1, 0) * 1.05 or 1.0 if axes.lines else 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return figure


@inline
def reliability(series: Sequence[Sequence[Point]]) -> Figure:
    """Returns observed frequency by predicted probability, a line for each series; the dashed diagonal is perfect."""
    figure = new_figure(WIDTH, 350, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for index, points in enumerate(series):
        axes.plot([x for x, _ in points], [y for _, y in points], color=colour(index), marker="o")
    # A little more than 0 to 1, so that dots at the ends are not cut off.
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="predicted probability", ylabel="observed frequency")
    return figure


@inline
def class_bars(names: Sequence[str], series: Sequence[Sequence[int]], maximum: int) -> Figure:
    """Returns horizontal bars of counts, one for each class and series; `maximum` ends the axis."""
    labels = [textwrap.fill(name, NAME_WIDTH) for name in names]
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    row = max(13 * len(series) + 7, 13 * lines + 4)
    figure = new_figure(WIDTH, row * len(names) + 12, layout="constrained")
    axes = figure.add_subplot()
    thickness = 12 / row
    for index, values in enumerate(series):
        offset = (index - (len(series) - 1) / 2) * 13 / row
        places = [place + offset for place in range(len(names))]
        axes.barh(places, values, height=thickness, color=colour(index))
        for place, value in zip(places, values, strict=True):
            axes.text(value + maximum * 0.02, place, f"{value:,}", va="center", fontsize=10, color=MUTED)
    axes.set_yticks(range(len(names)), labels, color=INK)
    axes.set(xticks=[], xlim=(0, maximum * 1.18 or 1), ylim=(len(names) - 0.5, -0.5))
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    return figure


@inline
def precision_recall(points: Sequence[Point], prevalence: float) -> Figure:
    """Returns a small square, 0 to 1 both ways: precision by recall; the dashed line is the prevalence.

    Without points it says that the split has no examples of the class.
    """
    figure = new_figure(CURVE_SIDE, CURVE_SIDE)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98), xlim=(0, 1), ylim=(0, 1))
    if points:
        axes.plot([0, 1], [prevalence, prevalence], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot([x for x, _ in points], [y for _, y in points], color=colour(0), clip_on=False)
    else:
        axes.text(0.5, 0.5, "no examples", ha="center", va="center", color=MUTED)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(True)
    return figure


@inline
def error_matrix(values: Sequence[Sequence[int]], names: Sequence[str], *, row_label: str, column_label: str) -> Figure:
    """Returns a square of shaded counts, `values[i][j]` in row i and column j; both are named `names`."""
    counts = np.asarray(values, np.float64).reshape(len(names), len(names))
    labels = [textwrap.fill(name, NAME_WIDTH) for name in names]
    side = matrix_side(len(names))
    figure = new_figure(side, side, layout="constrained")
    axes = figure.add_subplot()
    shades = LinearSegmentedColormap.from_list("counts", ["#e3edf4", colour(0)]).with_extremes(bad=EMPTY)
    # Square roots: single errors stay visible beside hundreds.
    norm = PowerNorm(0.5, 0, max(counts.max(initial=0), 1))
    axes.imshow(np.ma.masked_equal(counts, 0), cmap=shades, norm=norm, interpolation="none")
    for i, j in np.argwhere(counts):
        ink = "white" if norm(counts[i, j]) > 0.6 else INK
        axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=8, color=ink)
    _name_both_axes(axes, labels)
    axes.set_xlabel(column_label, color=MUTED)
    axes.xaxis.set_label_position("top")
    axes.set_ylabel(row_label, color=MUTED)
    return figure


def matrix_side(num_classes: int) -> int:
    """Returns the side in CSS pixels of `error_matrix`."""
    return MATRIX_CELL * num_classes + 220


def _name_both_axes(axes: Axes, labels: Sequence[str]) -> None:
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=90, color=INK, fontsize=10)
    axes.set_yticks(places, labels, color=INK, fontsize=10)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.grid(False)
    # White lines between the cells.
    edges = [place + 0.5 for place in places][:-1]
    axes.hlines(edges, -0.5, len(labels) - 0.5, color="white", linewidth=1)
    axes.vlines(edges, -0.5, len(labels) - 0.5, color="white", linewidth=1)
    for spine in axes.spines.values():
        spine.set_visible(False)
