"""Results of measurements: a file with the values of all rounds, and their statistics.

A results file is JSON: sections by name. A section holds

- figures, each a list of values, one for every round, in nested objects: `contenders` by name, `sizes` by number;
- `num`, the number of examples, if it is the same in the whole section;
- the circumstances: `machine`, `commit`, `pixels`, `versions`, and `before`, the commit measured for comparison;
- `began`, the times when its runs began.

Besides sections, the file may have `repeat`, the outcome of a comparison with a further run.
"""

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

Section = dict[str, Any]

CIRCUMSTANCES = ("num", "machine", "commit", "before", "pixels", "versions")


def load(path: Path) -> dict[str, Section]:
    """Returns the content of a results file; nothing if it does not exist."""
    return json.loads(path.read_text()) if path.exists() else {}


def save(sections: Mapping[str, Section], path: Path) -> None:
    """Writes a results file, with one line for each contender."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_dumps(sections) + "\n")


def _dumps(value: Any, indent: str = "") -> str:
    """Returns JSON with one line for each object that holds no other object."""
    if not isinstance(value, dict) or not any(isinstance(item, dict) for item in value.values()):
        return json.dumps(value)
    lines = [f"{indent} {json.dumps(key)}: {_dumps(item, indent + ' ')}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def add(earlier: Section | None, later: Section) -> Section:
    """Returns the values of both, or of the later one alone if their circumstances differ."""
    if earlier is None or any(earlier.get(key) != later.get(key) for key in CIRCUMSTANCES):
        return later
    return _joined(earlier, later)


def _joined(earlier: Any, later: Any) -> Any:
    if isinstance(earlier, list):
        return earlier + later
    if isinstance(earlier, dict):
        return earlier | {key: _joined(earlier[key], item) if key in earlier else item for key, item in later.items()}
    return later


def add_ratios(contenders: dict[str, Any], figure: str, *, low_is_fast: bool = False) -> None:
    """Adds `ratio` to each contender: how many times as fast this project is, round by round.

    The two values of a ratio are taken within minutes of each other, so a slow quarter of an hour affects both.
    """
    ours = contenders.get("ours", {}).get(figure, [])
    for contender in contenders.values():
        if ours and figure in contender:
            pairs = zip(ours, contender[figure], strict=False)
            contender["ratio"] = [float(f"{b / a if low_is_fast else a / b:.5g}") for a, b in pairs]


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % prediction interval of a further value, not below 0.

    For normally distributed values, by Student's t: it is wide when there are few values. (The range of the values
    would be too narrow: a fourth value lies outside the range of three in half of all cases.) The interval of a single
    value is that value.

    Source: G. J. Hahn, W. Q. Meeker, Statistical Intervals, Wiley 1991, chapter 4.
    """
    num = len(values)
    if num == 1:
        return values[0], values[0]
    mean = statistics.mean(values)
    half = float(stats.t.ppf(0.975, num - 1)) * statistics.stdev(values) * math.sqrt(1 + 1 / num)
    return max(0.0, mean - half), mean + half


def is_tie(ratios: Sequence[float]) -> bool:
    """Returns whether the prediction interval of several ratios includes 1: neither side is known to be faster."""
    low, high = spread(ratios)
    return len(ratios) > 1 and low <= 1 <= high


def figures(section: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[float]]]:
    """Yields the path to every figure, outermost key first, and its values."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from figures(value, (*path, key))
        elif isinstance(value, list) and key not in ("began", "outside"):
            yield (*path, key), value


def compare(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[float, float], float, bool]]:
    """Yields (name, spread of the first, median of the second, whether it lies within) of every figure in both.

    Values are compared with three digits, as tables show them. Figures of a single value are left out, because they
    have no spread, and so is the ratio of this project to itself.
    """
    values = dict(figures(first))
    for path, later in figures(second):
        if len(values.get(path, [])) > 1 and path[-2:] != ("ours", "ratio"):
            median, (low, high) = statistics.median(later), spread(values[path])
            yield " / ".join(path), (low, high), median, _rounded(low) <= _rounded(median) <= _rounded(high)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
