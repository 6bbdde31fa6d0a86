"""Results as one short table for the project's README."""

import statistics
from typing import Any

from bench.figures import show

HEADER = ("", "`hpa_stacked`", "fastest peer", "stock TFDS", "limit")


def table(sections: dict[str, Any]) -> str:
    """Returns the table as Markdown: this project, its fastest peer, stock TFDS, and the limit."""
    rows = []
    if "build" in sections:
        rows += _speed(sections["build"], "building {num:,} examples, examples/s", tfds="stock_tfds")
    if "curve" in sections:
        rows += _whole_set(sections["curve"])
    if "read" in sections:
        rows += _speed(sections["read"], "reading batches of 64, examples/s", tfds="tfds.load")
    for num, contenders in sections.get("plan", {}).get("sizes", {}).items():
        rows += _plan(int(num), contenders)
    if "resume" in sections:
        seconds = sections["resume"]["contenders"]["ours"]["unchanged"]
        name = f"building {sections['resume']['num']:,} examples again, nothing to do, s"
        rows.append([name, f"{statistics.median(seconds):.1f}", "", "", ""])
    return "\n".join(f"| {' | '.join(row)} |" for row in [HEADER, ["---", *["---:"] * (len(HEADER) - 1)], *rows])


def _speed(section: dict[str, Any], label: str, tfds: str) -> list[list[str]]:
    """Returns the rows of speed and memory of a section of contenders."""
    finished = {key: values for key, values in section["contenders"].items() if "failed" not in values}
    rate = {key: statistics.median(values["examples_per_second"]) for key, values in finished.items()}
    memory = {key: f"{statistics.median(values['peak_mb']):,.0f}" for key, values in finished.items()}
    limits = [key for key in rate if key.startswith("limit")]
    peers = [key for key in rate if key not in ("ours", "before", tfds, *limits)]
    peer, limit = max(peers, key=rate.__getitem__, default=""), max(limits, key=rate.__getitem__, default="")
    rate_texts = {key: f"{value:,.0f}" for key, value in rate.items()}
    if peer:
        rate_texts[peer] += _named(show.name_of(peer, section), finished[peer])
    speed = [rate_texts.get(key, "") for key in ("ours", peer, tfds, limit)]
    return [
        [label.format(num=section["num"]), *speed],
        ["its peak memory, MB", *(memory.get(key, "") for key in ("ours", peer, tfds)), ""],
    ]


def _named(name: str, contender: dict[str, Any]) -> str:
    """Returns a peer's name in brackets, with a note if it is about as fast as this project."""
    return f" ({name}, {show.TIE})" if show.ratio(contender).startswith(show.TIE) else f" ({name})"


def _whole_set(section: dict[str, Any]) -> list[list[str]]:
    """Returns the rows of the largest build of the curve."""
    num, contenders = max(section["sizes"].items(), key=lambda item: int(item[0]))
    rate = {key: statistics.median(values["examples_per_second"]) for key, values in contenders.items()}
    limit = max(value for key, value in rate.items() if key != "ours")
    memory = statistics.median(contenders["ours"]["peak_mb"])
    return [
        [f"building {int(num):,} examples, examples/s", f"{rate['ours']:,.0f}", "", "", f"{limit:,.0f}"],
        ["its peak memory, MB", f"{memory:,.0f}", "", "", ""],
    ]


def _plan(num: int, contenders: dict[str, Any]) -> list[list[str]]:
    """Returns the row of splitting a table."""
    finished = {key: values for key, values in contenders.items() if "failed" not in values}
    seconds = {key: statistics.median(values["seconds"]) for key, values in finished.items()}
    peer = min((key for key in seconds if key != "ours"), key=seconds.__getitem__, default="")
    texts = {
        key: f"{seconds[key]:,.{2 if seconds[key] < 10 else 0}f}, {_sizes(values)}" for key, values in finished.items()
    }
    if peer:
        texts[peer] += _named(peer, contenders[peer])
    return [[f"splitting {num:,} rows, s", texts["ours"], texts.get(peer, ""), "", ""]]


def _sizes(contender: dict[str, Any]) -> str:
    off = statistics.median(contender["worst_size"])
    return f"sizes {off:,.0f} off" if off else "sizes exact"
