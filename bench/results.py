"""What is kept of measuring: every value of every run, so that runs of one state, hours apart, count together.

A results file holds sections by name. A section holds what was measured, named figures with a list of values each,
one for every round; `num`, the number of examples, where there is one; and `runs`, the circumstances of each run.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy import stats

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


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Returns between what a further value is expected, 19 times of 20: a 95 % prediction interval, not below 0.

    It is that of normally distributed values, by Student's t, and so wider the fewer there are. The least and the
    greatest of a few values would be too narrow: half of the time, a further value lies outside three earlier ones.
    A single value has no spread, and is both of its ends.

    Source: G. J. Hahn, W. Q. Meeker, Statistical Intervals, Wiley 1991, chapter 4.
    """
    num = len(values)
    if num == 1:
        return values[0], values[0]
    mean = statistics.mean(values)
    half = float(stats.t.ppf(0.975, num - 1)) * statistics.stdev(values) * math.sqrt(1 + 1 / num)
    return max(0.0, mean - half), mean + half


def compare(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[float, float], float, bool]]:
    """Yields, of every figure in both: its name, the first spread, the second median, whether it is within it.

    Compared are three digits, as many as are told. Left out are figures of a single value, which have no spread, and
    how many times ours is ours.
    """
    values = dict(figures(first))
    for path, later in figures(second):
        if len(values.get(path, [])) > 1 and path[-2:] != ("ours", "ours_is_times"):
            median, (low, high) = statistics.median(later), spread(values[path])
            yield " / ".join(path), (low, high), median, _told(low) <= _told(median) <= _told(high)


def _told(value: float) -> float:
    return float(f"{value:.3g}")
