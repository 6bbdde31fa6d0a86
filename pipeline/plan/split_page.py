"""The page of a split: one self-contained HTML document without scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from pipeline.plan.compare import Other
from pipeline.plan.splits import Splits
from pipeline.store import files


def write(path: Path, splits: Splits, others: Sequence[Other], *, title: str) -> None:
    """Writes the page; `title` says what was split."""
    with files.replacing(path) as file:
        file.write(html(splits, others, title=title).encode())


def html(splits: Splits, others: Sequence[Other], *, title: str) -> str:
    """Returns the page of a split, compared with splits of the same table by other methods."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("split_page.html.j2").render(content(splits, others, title))


def content(splits: Splits, others: Sequence[Other], title: str) -> dict[str, Any]:
    """Returns the values that the template shows."""
    return {
        "title": title,
        "splits": splits,
        "rows": [_row(splits, label) for label in range(len(splits.class_names))],
        "sizes": list(zip(splits.names, splits.wanted, splits.sizes, strict=True)),
        "worst": splits.worst(),
        "methods": [_method("this split", splits, Other("this split", splits.counts, np.array(splits.sizes)))]
        + [_method(other.name, splits, other) for other in others],
        "chart": _chart(splits, others),
    }


def _row(splits: Splits, label: int) -> dict[str, Any]:
    cells = [
        {"count": int(count), "share": float(share), "off": _signed(float(count - share)), "absent": count == 0 < size}
        for count, share, size in zip(splits.counts[:, label], splits.shares[:, label], splits.wanted, strict=True)
    ]
    return {
        "number": label,
        "name": splits.class_names[label],
        "total": int(splits.counts[:, label].sum()),
        "groups": int(splits.carriers[label]),
        "cells": cells,
    }


def _signed(deviation: float) -> str:
    """Returns a deviation to two places with its sign; 0.00 has none."""
    text = f"{deviation:+.2f}"
    return text if text.strip("+-0.") else "0.00"


def _method(name: str, splits: Splits, other: Other) -> dict[str, Any]:
    total, largest = other.deviation(splits.wanted)
    return {
        "name": name,
        "sizes": [int(size) for size in other.sizes],
        "off": int(np.abs(other.sizes - splits.wanted).sum()),
        "sum": total,
        "largest": largest,
        "absent": other.num_absent(splits.wanted),
    }


def _chart(splits: Splits, others: Sequence[Other]) -> dict[str, Any]:
    """Returns the positions of dots: the largest deviation of each class, on a square-root axis, 0 to 1."""
    series = [("this split", splits.counts)] + [(other.name, other.counts) for other in others]
    largest = [(name, np.abs(counts - splits.shares).max(axis=0)) for name, counts in series]
    top = max(1.0, max(float(off.max(initial=0)) for _, off in largest))
    step = 10 ** np.floor(np.log10(top))
    ticks = sorted({0.0, 0.5, 1.0, *(float(step * k) for k in (1, 2, 5) if step * k <= top)})
    return {
        "top": top,
        "ticks": [(tick, (tick / top) ** 0.5) for tick in ticks],
        "series": [(name, [(float(off), float((off / top) ** 0.5)) for off in offs]) for name, offs in largest],
    }
