"""How are results shown? As tables in Markdown, and drawn."""

import re
import statistics
from pathlib import Path
from typing import Any

from bench import results

NAMES = {
    "ours": "**hpa_stacked**",
    "stock_tfds": "stock TFDS builder on Beam",
    "webdataset": "WebDataset",
    "mds": "MosaicML Streaming (MDS)",
    "limit opencv": "limit: OpenCV decodes",
    "limit pillow": "limit: Pillow decodes",
    "limit imagecodecs png": "limit: imagecodecs (libpng) decodes",
    "limit imagecodecs spng": "limit: imagecodecs (libspng) decodes",
    "limit kornia-rs": "limit: kornia-rs (Rust) decodes",
    "limit ours": "limit: this project decodes (ISA-L, OpenCV)",
    "tfds.load": "`tfds.load().batch()`",
    "png_records": "PNG in TFRecords",
    "grain": "Grain on ArrayRecord",
    "four_pngs": "four PNGs decoded per example",
    "limit": "limit: files read and copied once",
}

ALONE = ("decoded by OpenCV alone", "unpacked by ISA-L alone")
"""Parts of the profile that are no steps of building: what decoding would take otherwise, and a part of it."""


OURS, LIMIT, PEER = "#2f6690", "#9aa5b1", "#d9a05b"
"""Colours of what is compared."""

MEMORY = ["peak MB", "without pages of files"]
"""Two columns, of `measure.Run`'s figures."""

TIMES = "ours is x times"
"""A column of ratios, each of two values of one round."""


def tables(found: dict[str, Any]) -> str:
    """Returns everything as Markdown."""
    parts = []
    for name, table in {
        "startup": _startup,
        "build": _build,
        "read": _read,
        "plan": _plan,
        "resume": _resume,
        "profile": _profile,
        "curve": _curve,
    }.items():
        if name in found:
            section = found[name]
            parts.append(f"### {name.capitalize()}\n\n{table(section)}\n\n{_about(section['runs'])}")
    versions: dict[str, str] = {}
    for section in found.values():
        versions |= section["runs"][-1]["versions"]
    parts.append("Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".")
    return "\n\n".join(parts)


def _about(runs: list[dict[str, Any]]) -> str:
    last, began = runs[-1], sorted(run["began"] for run in runs)
    what = f"{last['machine']}, {last['pixels']} pixels, commit {last['commit']}"
    if len(runs) == 1:
        return f"*1 run, begun {began[0]} UTC; {what}.*"
    return f"*{len(runs)} runs, begun {began[0]} to {began[-1]} UTC; {what}.*"


def _spread(values: list[float], form: str = ",.0f") -> str:
    """Returns the median and, if it has one, the spread."""
    median, low, high = (f"{one:{form}}" for one in (statistics.median(values), *results.spread(values)))
    return median if low == high else f"{median} ({low} to {high})"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [" | ".join(header), " | ".join(["---", *["---:"] * (len(header) - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _memory(one: dict[str, Any]) -> list[str]:
    return [_spread(one[key]) for key in ("peak_mb", "own_mb")]


def _build(section: dict[str, Any]) -> str:
    contenders = section["contenders"]
    rows = []
    for name, one in contenders.items():
        if "failed" in one:
            rows.append([NAMES[name], "failed", *[""] * 4])
            continue
        rate, times = _spread(one["examples_per_second"]), _spread(one["ours_is_times"], ".2f")
        rows.append([NAMES[name], rate, times, *_memory(one), _spread(one["written_mb"])])
    return _table([f"{section['num']:,} examples", "examples/s (spread)", TIMES, *MEMORY, "written MB"], rows)


def _read(section: dict[str, Any]) -> str:
    rows = [
        [NAMES[name], "failed", *[""] * 3]
        if "failed" in one
        else [NAMES[name], _spread(one["examples_per_second"]), _spread(one["ours_is_times"], ".2f"), *_memory(one)]
        for name, one in section["contenders"].items()
    ]
    return _table([f"{section['num']:,} examples of train", "examples/s (spread)", TIMES, *MEMORY], rows)


def _plan(section: dict[str, Any]) -> str:
    rows = []
    for num, contenders in section["sizes"].items():
        for name, one in contenders.items():
            label = f"{NAMES.get(name, name)}, {int(num):,} rows"
            if "failed" in one:
                rows.append([label, one["failed"][-40:], "", ""])
            else:
                classes, sizes = _spread(one["worst_class"], ",.1f"), _spread(one["worst_size"])
                rows.append([label, _spread(one["seconds"], ",.2f"), classes, sizes])
    return _table(["", "seconds (spread)", "worst class: examples off", "worst split: examples off"], rows)


def _resume(section: dict[str, Any]) -> str:
    one = section["contenders"]["ours"]
    names = {
        "full_build": "full build",
        "killed_after": "until it was killed at half",
        "resumed": "the rest",
        "unchanged": "again, unchanged",
    }
    return _table(
        [f"{section['num']:,} examples", "seconds (spread)"],
        [[text, _spread(one[key], ",.1f")] for key, text in names.items()],
    )


def _startup(section: dict[str, Any]) -> str:
    one = section["contenders"]["ours"]
    return _table(
        ["", "seconds (spread)"],
        [
            ["`python -m pipeline --help`", _spread(one["help"], ".2f")],
            ["first shard begun", _spread(one["first_shard"], ".2f")],
        ],
    )


def _profile(section: dict[str, Any]) -> str:
    steps, stages = section["building"], section["reading"]
    median = {step: statistics.median(values) for step, values in steps.items()}
    total = sum(median.values()) - sum(median[step] for step in ALONE)
    building = [
        [step, _spread(values, ".2f"), "" if step in ALONE else f"{median[step] / total:.0%}"]
        for step, values in steps.items()
    ]
    reading = [[stage, _spread(values), f"{1e6 / statistics.median(values):.0f}"] for stage, values in stages.items()]
    return "\n\n".join(
        [
            _table(["building: an example on one thread", "ms", "share"], [*building, ["all", f"{total:.2f}", ""]]),
            _table(["reading: so far", "examples/s", "microseconds an example"], reading),
        ]
    )


def _curve(section: dict[str, Any]) -> str:
    rows = []
    for num, contenders in section["sizes"].items():
        ours, limit = contenders["ours"], contenders["limit opencv"]
        rows.append(
            [
                f"{int(num):,}",
                _spread(ours["seconds"], ",.1f"),
                _spread(ours["examples_per_second"]),
                _spread(limit["examples_per_second"]),
                _spread(limit["ours_is_times"], ".2f"),
                *_memory(ours),
            ]
        )
    return _table(["examples", "seconds", "examples/s", "limit: OpenCV decodes", "ratio", *MEMORY], rows)


def insert(found: dict[str, Any], readme: Path) -> None:
    """Puts the tables between the two marks in a Markdown file."""
    text = readme.read_text()
    replaced = re.sub(
        r"(<!-- results -->\n).*?(<!-- end -->)",
        lambda marks: f"{marks[1]}\n{tables(found)}\n\n{marks[2]}",
        text,
        flags=re.DOTALL,
    )
    readme.write_text(replaced)


def draw(found: dict[str, Any], path: Path) -> None:
    """Draws examples per second as bars, all values as dots, and below them the curve, to an SVG file."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    from matplotlib import pyplot

    sections = [(name, title) for name, title in (("build", "Building"), ("read", "Reading")) if name in found]
    num = len(sections) + ("curve" in found)
    figure, axes = pyplot.subplots(num, 1, figsize=(8, 3.8 * num), squeeze=False)
    for axis, (name, title) in zip(axes[:, 0], sections, strict=False):
        _draw_bars(axis, found[name]["contenders"])
        axis.set_title(f"{title}, {found[name]['num']:,} examples at 256 x 256")
    if "curve" in found:
        _draw_curve(axes[-1, 0], found["curve"]["sizes"])
    for axis in axes[:, 0]:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _draw_bars(axis: Any, contenders: dict[str, Any]) -> None:
    rates = {key: one["examples_per_second"] for key, one in contenders.items() if "failed" not in one}
    order = sorted(rates, key=lambda key: statistics.median(rates[key]))
    for row, key in enumerate(order):
        colour = OURS if key == "ours" else LIMIT if key.startswith("limit") else PEER
        axis.barh(row, statistics.median(rates[key]), color=colour)
        axis.plot(rates[key], [row] * len(rates[key]), "k.", markersize=3)
        axis.annotate(f" {statistics.median(rates[key]):,.0f}", (max(rates[key]), row), va="center")
    axis.set_yticks(range(len(order)), [NAMES[key].replace("*", "").replace("`", "") for key in order])
    axis.set_xlabel("examples per second")
    axis.margins(x=0.14)


def _draw_curve(axis: Any, sizes: dict[str, Any]) -> None:
    nums = [int(num) for num in sizes]
    for name, colour in (("limit opencv", LIMIT), ("ours", OURS)):
        rates = [contenders[name]["examples_per_second"] for contenders in sizes.values()]
        axis.plot(nums, [statistics.median(one) for one in rates], "o-", color=colour, label=NAMES[name].strip("*"))
        for num, values in zip(nums, rates, strict=True):
            axis.plot([num] * len(values), values, "k.", markersize=3)
    for num, contenders in zip(nums, sizes.values(), strict=True):
        place = (num, statistics.median(contenders["ours"]["examples_per_second"]))
        text = f"{statistics.median(contenders['ours']['peak_mb']):,.0f} MB"
        axis.annotate(text, place, xytext=(0, -14), textcoords="offset points", ha="center", fontsize=8)
    axis.set_xscale("log")
    axis.set_xticks(nums, [f"{num:,}" for num in nums])
    axis.minorticks_off()
    axis.set_ylim(0)
    axis.set_xlabel("examples built")
    axis.set_ylabel("examples per second")
    axis.set_title("Building ever more, and the memory it takes")
    axis.legend(loc="lower right", frameon=False)
