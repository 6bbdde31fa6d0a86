"""Results as a chart: speeds of building and reading as bars, and the speed of builds by size as curves."""

import statistics
from pathlib import Path
from typing import Any

from bench.figures import results, show

OURS, LIMIT, PEER = "#2f6690", "#9aa5b1", "#d9a05b"
"""Colours of this project, of limits, and of all other contenders."""


def draw(sections: dict[str, Any], path: Path) -> None:
    """Draws medians as bars and curves, and all values as dots, to an SVG file."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"  # the same ids, and so the same file, every time
    from matplotlib import pyplot

    bars = [(name, title) for name, title in (("build", "Building"), ("read", "Reading")) if name in sections]
    num = len(bars) + ("curve" in sections)
    figure, axes = pyplot.subplots(num, 1, figsize=(8, 3.8 * num), squeeze=False)
    for axis, (name, title) in zip(axes[:, 0], bars, strict=False):
        _bars(axis, sections[name])
        axis.set_title(f"{title}, {sections[name]['num']:,} examples at 256 x 256")
    if "curve" in sections:
        _curve(axes[-1, 0], sections["curve"]["sizes"])
    for axis in axes[:, 0]:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(axis: Any, section: dict[str, Any]) -> None:
    contenders = {key: values for key, values in section["contenders"].items() if "failed" not in values}
    median = {key: statistics.median(values["examples_per_second"]) for key, values in contenders.items()}
    order = sorted(median, key=median.__getitem__)
    for row, key in enumerate(order):
        rates, ratios = contenders[key]["examples_per_second"], contenders[key].get("ratio", [])
        tie = key != "ours" and ratios and results.is_tie(ratios)
        colour = OURS if key == "ours" else LIMIT if key.startswith("limit") else PEER
        axis.barh(row, median[key], color=colour)
        axis.plot(rates, [row] * len(rates), "k.", markersize=3)
        text = f"{median[key]:,.0f}" + (f", {show.TIE}" if tie else "")
        axis.annotate(text, (max(rates), row), xytext=(7, 0), textcoords="offset points", va="center")
    axis.set_yticks(range(len(order)), [_plain(show.name_of(key, section)) for key in order])
    axis.set_xlabel("examples per second")
    axis.margins(x=0.2)


def _curve(axis: Any, sizes: dict[str, Any]) -> None:
    for name, colour in (("limit opencv", LIMIT), ("ours", OURS)):
        rates = {int(num): contenders[name]["examples_per_second"] for num, contenders in sizes.items()}
        medians = [statistics.median(values) for values in rates.values()]
        axis.plot(list(rates), medians, "o-", color=colour, label=_plain(show.NAMES[name]))
        for size, values in rates.items():
            axis.plot([size] * len(values), values, "k.", markersize=3)
    for num, contenders in sizes.items():
        place = (int(num), min(contenders["ours"]["examples_per_second"]))
        text = f"{statistics.median(contenders['ours']['peak_mb']):,.0f} MB"
        axis.annotate(text, place, xytext=(0, -7), textcoords="offset points", ha="center", va="top", fontsize=8)
    axis.set_xscale("log")
    axis.set_xticks([int(num) for num in sizes], [f"{int(num):,}" for num in sizes])
    axis.minorticks_off()
    axis.set_ylim(0)
    axis.set_xlabel("examples built")
    axis.set_ylabel("examples per second")
    axis.set_title("Speed and memory of building, by number of examples")
    axis.legend(loc="lower right", frameon=False)


def _plain(name: str) -> str:
    """Returns a name without the marks of Markdown."""
    return name.replace("*", "").replace("`", "")
