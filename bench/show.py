"""How are results shown? As tables in Markdown, and drawn."""

import re
from pathlib import Path
from typing import Any

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
    "tfds.load": "`tfds.load().batch()`",
    "png_records": "PNG in TFRecords",
    "grain": "Grain on ArrayRecord",
    "four_pngs": "four PNGs decoded per example",
    "limit": "limit: files read and copied once",
}

ALONE = "decoded by OpenCV alone"
"""The one step of the profile that is not a step of building."""


OURS, LIMIT, PEER = "#2f6690", "#9aa5b1", "#d9a05b"
"""Colours of what is compared."""

MEMORY = ["peak MB", "without pages of files"]
"""Two columns, of `measure.Run`'s figures."""


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
            parts.append(
                f"### {name.capitalize()}\n\n{table(section)}\n\n*{section['date']}, {section['machine']}, "
                f"{section['pixels']} pixels, commit {section['commit']}.*"
            )
    versions: dict[str, str] = {}
    for section in found.values():
        versions |= section["versions"]
    parts.append("Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".")
    return "\n\n".join(parts)


def _spread(one: dict[str, Any], form: str = ",.0f") -> str:
    values = one["values"]
    return f"{one['median']:{form}} ({min(values):{form}} to {max(values):{form}})"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [" | ".join(header), " | ".join(["---", *["---:"] * (len(header) - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _memory(one: dict[str, Any]) -> list[str]:
    return [f"{one[key]['median']:,.0f}" for key in ("peak_mb", "own_mb")]


def _build(section: dict[str, Any]) -> str:
    contenders = section["contenders"]
    ours = contenders["ours"]["examples_per_second"]["median"]
    best = _best_limit(contenders)
    rows = []
    for name, one in contenders.items():
        if "failed" in one:
            rows.append([NAMES[name], "failed", *[""] * 4])
            continue
        rate = one["examples_per_second"]
        against = "" if name.startswith("limit") and name != best else f"{ours / rate['median']:.2f}"
        rows.append(
            [
                NAMES[name],
                _spread(rate),
                against,
                *_memory(one),
                f"{one['written_mb']['median']:,.0f}",
            ]
        )
    header = [f"{section['num']:,} examples", "examples/s (spread)", "ours is x times", *MEMORY, "written MB"]
    return _table(header, rows)


def _best_limit(contenders: dict[str, Any]) -> str:
    limits = {name: one for name, one in contenders.items() if name.startswith("limit") and "failed" not in one}
    return max(limits, key=lambda name: limits[name]["examples_per_second"]["median"])


def _read(section: dict[str, Any]) -> str:
    contenders = section["contenders"]
    ours = contenders["ours"]["examples_per_second"]["median"]
    rows = [
        [NAMES[name], "failed", *[""] * 3]
        if "failed" in one
        else [
            NAMES[name],
            _spread(one["examples_per_second"]),
            f"{ours / one['examples_per_second']['median']:.2f}",
            *_memory(one),
        ]
        for name, one in contenders.items()
    ]
    return _table([f"{section['num']:,} examples of train", "examples/s (spread)", "ours is x times", *MEMORY], rows)


def _plan(section: dict[str, Any]) -> str:
    rows = []
    for num, contenders in section["sizes"].items():
        for name, one in contenders.items():
            label = f"{NAMES.get(name, name)}, {int(num):,} rows"
            if "failed" in one:
                rows.append([label, one["failed"][-40:], "", ""])
            else:
                rows.append(
                    [
                        label,
                        _spread(one["seconds"], ",.2f"),
                        f"{one['worst_class']['median']:,.1f}",
                        f"{one['worst_size']['median']:,.0f}",
                    ]
                )
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
    total = sum(steps.values()) - steps[ALONE]
    building = [
        [step, f"{value:.2f}", "of the line below" if step == ALONE else f"{value / total:.0%}"]
        for step, value in steps.items()
    ]
    reading = [[stage, f"{value:,.0f}", f"{1e6 / value:.0f}"] for stage, value in stages.items()]
    return "\n\n".join(
        [
            _table(["building: an example on one thread", "ms", "share"], [*building, ["all", f"{total:.2f}", ""]]),
            _table(["reading: so far", "examples/s", "microseconds an example"], reading),
        ]
    )


def _curve(section: dict[str, Any]) -> str:
    rows = [
        [
            f"{point['num']:,}",
            f"{point['seconds']:,.1f}",
            f"{point['num'] / point['seconds']:,.0f}",
            f"{point['num'] / point['limit_seconds']:,.0f}",
            f"{point['limit_seconds'] / point['seconds']:.2f}",
            f"{point['peak_mb']:,.0f}",
            f"{point['own_mb']:,.0f}",
        ]
        for point in section["points"]
    ]
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
    curve = found.get("curve", {}).get("points", [])
    num = len(sections) + bool(curve)
    figure, axes = pyplot.subplots(num, 1, figsize=(8, 3.8 * num), squeeze=False)
    for axis, (name, title) in zip(axes[:, 0], sections, strict=False):
        _draw_bars(axis, found[name]["contenders"])
        axis.set_title(f"{title}, {found[name]['num']:,} examples at 256 x 256")
    if curve:
        _draw_curve(axes[-1, 0], curve)
    for axis in axes[:, 0]:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _draw_bars(axis: Any, contenders: dict[str, Any]) -> None:
    rates = {key: one["examples_per_second"] for key, one in contenders.items() if "failed" not in one}
    order = sorted(rates, key=lambda key: rates[key]["median"])
    for row, key in enumerate(order):
        colour = OURS if key == "ours" else LIMIT if key.startswith("limit") else PEER
        axis.barh(row, rates[key]["median"], color=colour)
        axis.plot(rates[key]["values"], [row] * len(rates[key]["values"]), "k.", markersize=3)
        axis.annotate(f" {rates[key]['median']:,.0f}", (max(rates[key]["values"]), row), va="center")
    axis.set_yticks(range(len(order)), [NAMES[key].replace("*", "").replace("`", "") for key in order])
    axis.set_xlabel("examples per second")
    axis.margins(x=0.14)


def _draw_curve(axis: Any, points: list[dict[str, Any]]) -> None:
    nums = [point["num"] for point in points]
    for key, label, colour in (("limit_seconds", "limit: OpenCV decodes", LIMIT), ("seconds", "hpa_stacked", OURS)):
        axis.plot(nums, [point["num"] / point[key] for point in points], "o-", color=colour, label=label)
    for point in points:
        place = (point["num"], point["num"] / point["seconds"])
        text = f"{point['peak_mb']:,.0f} MB"
        axis.annotate(text, place, xytext=(0, -14), textcoords="offset points", ha="center", fontsize=8)
    axis.set_xscale("log")
    axis.set_xticks(nums, [f"{num:,}" for num in nums])
    axis.minorticks_off()
    axis.set_ylim(0)
    axis.set_xlabel("examples built")
    axis.set_ylabel("examples per second")
    axis.set_title("Building ever more, and the memory it takes")
    axis.legend(loc="lower right", frameon=False)
