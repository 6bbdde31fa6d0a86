"""What is kept of measuring: every value of every run, so that runs of one state, hours apart, count together.

A results file holds sections by name. A section holds what was measured, named figures with a list of values each,
one for every round; `num`, the number of examples, where there is one; and `runs`, the circumstances of each run.
"""

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

Section = dict[str, Any]


def add(earlier: Section | None, later: Section) -> Section:
    """Returns the values of both together, or the later ones alone if the earlier ran on something else.

    The same is: machine, versions, commit, pixels, and the number of examples.
    """
    if earlier is None or _same(earlier) != _same(later):
        return later
    return _joined(earlier, later)


def _same(section: Section) -> tuple[Any, ...]:
    return section.get("num"), {key: value for key, value in section["runs"][-1].items() if key != "began"}


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, list):
        return one + other
    if isinstance(one, dict):
        return one | {key: _joined(one[key], value) if key in one else value for key, value in other.items()}
    return other


def ratios(contenders: dict[str, Any], figure: str) -> None:
    """Adds to each contender how many times its figure ours is, round by round: `ours_is_times`.

    Both values of a ratio were taken within minutes, so ratios are steadier than what they are of.
    """
    ours = contenders.get("ours", {}).get(figure, [])
    for one in contenders.values():
        if ours and figure in one:
            one["ours_is_times"] = [round(mine / theirs, 4) for mine, theirs in zip(ours, one[figure], strict=False)]


def figures(found: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[float]]]:
    """Yields the path to every figure, section first, and its values."""
    for key, value in found.items():
        if isinstance(value, dict):
            yield from figures(value, (*path, key))
        elif isinstance(value, list) and key != "runs":
            yield (*path, key), value


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, list[float], float, bool]]:
    """Yields, of every figure in both: its name, the first values, the second median, whether it is within them.

    Compared are three digits, as many as are told. How many times ours is ours is left out.
    """
    values = dict(figures(first))
    for path, later in figures(second):
        if path in values and path[-2:] != ("ours", "ours_is_times"):
            median = statistics.median(later)
            inside = _told(min(values[path])) <= _told(median) <= _told(max(values[path]))
            yield " / ".join(path), values[path], median, inside


def _told(value: float) -> float:
    return float(f"{value:.3g}")
