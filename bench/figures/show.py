"""Results as tables in Markdown."""

import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.figures import results

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
    "limit ours": "limit: this project's decoder",
    "tfds.load": "`tfds.load().batch()`",
    "png_records": "PNG in TFRecords",
    "grain": "Grain on ArrayRecord",
    "data_source": "`tfds.data_source`, one thread",
    "grain data_source": "Grain on `tfds.data_source`",
    "torch data_source": "Torch's `DataLoader` on `tfds.data_source`",
    "numpy": "plain Python and NumPy",
    "sedpack": "sedpack",
    "four_pngs": "four PNGs decoded per example",
    "limit": "limit: files read and copied once",
}

ALONE = ("decoded by OpenCV alone",)
"""Entries of the profile that are not steps of building."""

MEMORY = ["peak MB", "without pages of files"]
"""Two columns, the memory figures of `measure.Run`."""

TIMES = "ours is x times as fast"
"""A column of ratios, each between two values of the same round."""

TIE, UNCLEAR = "about the same", "unclear"
"""Shown in place of a ratio whose spread includes 1; `UNCLEAR` if the spread reaches 0.5 or 2."""

BEGIN, END = "<!-- results -->", "<!-- end -->"


def tables(sections: dict[str, Any]) -> str:
    """Returns all sections as Markdown."""
    parts: list[str] = []
    versions: dict[str, str] = {}
    for name, table in TABLES.items():
        if name in sections:
            section = sections[name]
            parts.append(f"### {name.capitalize()}\n\n{table(section)}\n\n{_circumstances(section)}")
            versions |= section["versions"]
    if "repeat" in sections:
        parts.append(_repeat(sections["repeat"]))
    parts.append("Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".")
    return "\n\n".join(parts)


def insert(text: str, path: Path) -> bool:
    """Replaces the text between the lines `BEGIN` and `END` of a Markdown file; returns whether it has them."""
    old = path.read_text()
    block = re.compile(f"({BEGIN}\n).*?({END})", re.DOTALL)
    path.write_text(block.sub(lambda marks: f"{marks[1]}\n{text}\n\n{marks[2]}", old))
    return block.search(old) is not None


def name_of(key: str, section: dict[str, Any]) -> str:
    """Returns the name of a contender of this section, as Markdown."""
    return f"hpa_stacked at commit {section['before']}" if key == "before" else NAMES.get(key, key)


def ratio(contender: dict[str, Any]) -> str:
    """Returns how many times as fast as a contender this project is, or that neither is known to be faster."""
    ratios = contender.get("ratio", [])
    if not ratios:
        return ""
    if results.is_tie(ratios) and set(ratios) != {1.0}:
        low, high = results.spread(ratios)
        return f"{TIE if low > 0.5 and high < 2 else UNCLEAR} ({low:.2f} to {high:.2f})"
    return spread(ratios, ".2f")


def spread(values: list[float], form: str = ",.0f") -> str:
    """Returns the median and, if there is one, the spread."""
    median, low, high = (f"{value:{form}}" for value in (statistics.median(values), *results.spread(values)))
    return median if low == high else f"{median} ({low} to {high})"


def _circumstances(section: dict[str, Any]) -> str:
    began = sorted(section["began"])
    runs = f"1 run, begun {began[0]}" if len(began) == 1 else f"{len(began)} runs, begun {began[0]} to {began[-1]}"
    line = f"*{runs} UTC; {section['machine']}, {section['pixels']} pixels, commit {section['commit']}.*"
    return f"{line}\n\n{section['note']}" if "note" in section else line


def _repeat(repeat: dict[str, Any]) -> str:
    num, outside = repeat["num"], repeat["outside"]
    line = f"### Repeat\n\nA further run, begun {repeat['began']} UTC, was compared with the figures above: "
    line += f"{num - len(outside)} of {num} medians lie within their spread."
    return f"{line} Outside: {'; '.join(outside)}." if outside else line


def _failure(contender: dict[str, Any]) -> str:
    return contender["failed"][-60:].replace("|", "/")


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [" | ".join(header), " | ".join(["---", *["---:"] * (len(header) - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _memory(contender: dict[str, Any]) -> list[str]:
    return [spread(contender[key]) for key in ("peak_mb", "own_mb")]


def _startup(section: dict[str, Any]) -> str:
    contender = section["contenders"]["ours"]
    rows = {
        "`python -m pipeline --help`": contender["help"],
        "from the start of a build to its first shard": contender["first_shard"],
    }
    return _table(["", "seconds (spread)"], [[name, spread(values, ".2f")] for name, values in rows.items()])


def _build(section: dict[str, Any]) -> str:
    header = [f"{section['num']:,} examples", "examples/s (spread)", TIMES, *MEMORY, "written MB"]
    return _contenders(section, header, lambda contender: [*_memory(contender), spread(contender["written_mb"])])


def _read(section: dict[str, Any]) -> str:
    header = [f"{section['num']:,} examples of train", "examples/s (spread)", TIMES, *MEMORY]
    return _contenders(section, header, _memory)


def _contenders(section: dict[str, Any], header: list[str], rest: Callable[[dict[str, Any]], list[str]]) -> str:
    """Returns a table with a row for each contender: its speed, its ratio, and the columns of `rest`."""
    rows = []
    for key, contender in section["contenders"].items():
        name = name_of(key, section)
        if "failed" in contender:
            rows.append([name, _failure(contender), *[""] * (len(header) - 2)])
        else:
            rows.append([name, spread(contender["examples_per_second"]), ratio(contender), *rest(contender)])
    return _table(header, rows)


def _plan(section: dict[str, Any]) -> str:
    rows = []
    for num, contenders in section["sizes"].items():
        for key, contender in contenders.items():
            label = f"{name_of(key, section)}, {int(num):,} rows"
            if "failed" in contender:
                rows.append([label, _failure(contender), "", "", ""])
            else:
                off = spread(contender["worst_class"], ",.1f"), spread(contender["worst_size"])
                rows.append([label, spread(contender["seconds"], ",.2f"), ratio(contender), *off])
    return _table(["", "seconds (spread)", TIMES, "worst class: examples off", "worst split: examples off"], rows)


def _resume(section: dict[str, Any]) -> str:
    contender = section["contenders"]["ours"]
    rows = {
        "full build": contender["full_build"],
        "build until it is killed, half of its shards written": contender["killed_after"],
        "the same build continued": contender["resumed"],
        "full build once more, nothing to do": contender["unchanged"],
    }
    header = [f"{section['num']:,} examples", "seconds (spread)"]
    return _table(header, [[name, spread(values, ",.1f")] for name, values in rows.items()])


def _profile(section: dict[str, Any]) -> str:
    steps, stages = section["building"], section["reading"]
    median = {step: statistics.median(values) for step, values in steps.items()}
    total = sum(value for step, value in median.items() if step not in ALONE)
    building = [
        [step, spread(values, ".2f"), "" if step in ALONE else f"{median[step] / total:.0%}"]
        for step, values in steps.items()
    ]
    building.append(["all steps", f"{total:.2f}", ""])
    reading = [[stage, spread(values), f"{1e6 / statistics.median(values):.0f}"] for stage, values in stages.items()]
    return "\n\n".join(
        [
            _table(["steps of building, one thread", "ms an example", "share"], building),
            _table(["stages of reading, each with those above", "examples/s", "microseconds an example"], reading),
        ]
    )


def _sizes(section: dict[str, Any]) -> str:
    rows = []
    for side, rates in section["sides"].items():
        first, *_ = rates.values()
        for size, values in rates.items():
            shares = [value / base for value, base in zip(values, first, strict=True)]
            rows.append([f"{side} to {size} pixels", spread(values, ",.4g"), spread(shares, ".2f")])
    size = next(iter(next(iter(section["sides"].values()))))
    return _table(["decoding, resizing and stacking", "examples/s (spread)", f"share of the rate at {size}"], rows)


def _curve(section: dict[str, Any]) -> str:
    limits = list(dict.fromkeys(key for contenders in section["sizes"].values() for key in contenders if key != "ours"))
    rows = []
    for num, contenders in section["sizes"].items():
        ours = contenders["ours"]
        speed = spread(ours["seconds"], ",.1f"), spread(ours["examples_per_second"])
        ratios = [ratio(contenders.get(key, {})) for key in limits]
        rows.append([f"{int(num):,}", *speed, *ratios, *_memory(ours)])
    shares = [f"share of the {name_of(key, section)}" for key in limits]
    return _table(["examples", "seconds", "examples/s", *shares, *MEMORY], rows)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "startup": _startup,
    "build": _build,
    "read": _read,
    "plan": _plan,
    "resume": _resume,
    "profile": _profile,
    "sizes": _sizes,
    "curve": _curve,
}
"""Sections, in the order in which they are shown."""
