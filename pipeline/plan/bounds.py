"""Lower bounds on the deviations of a split, for any solver.

Each class is bounded separately, and the bound of a split is their sum. The counts of a class are whole numbers that
add up to its total; fixed examples stay; and the count of a split is the sum of whole groups.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.plan.problem import Problem

LARGEST_SUMS = 40_000_000
"""Bits of work (units times examples) up to which the sums of a class's groups are listed."""


def of_classes(problem: Problem) -> float:
    """Returns a lower bound on the sum of the deviations of all classes from their shares."""
    grouped = bool((problem.examples > 1).any())
    return sum(
        max(
            _whole(problem.wanted, int(total), problem.placed_counts[:, label]),
            _sums(problem, int(total), problem.placed_counts[:, label], problem.counts[:, label]) if grouped else 0,
        )
        for label, total in enumerate(problem.totals)
    )


def of_sizes(problem: Problem) -> int:
    """Returns a lower bound on the sum of the deviations of the sizes."""
    total, placed = sum(problem.wanted), problem.placed_sizes
    return round(max(_whole(problem.wanted, total, placed), _sums(problem, total, placed, problem.examples)))


def _whole(wanted: Sequence[int], total: int, placed: np.ndarray) -> float:
    """Returns the smallest deviation of whole numbers of at least `placed` that add up to `total`.

    Deviations are whole multiples of one over the number of examples, and are added up as such.
    """
    num = sum(wanted)
    shares = [total * size for size in wanted]  # times num
    counts = [max(int(least), share // num) for least, share in zip(placed, shares, strict=True)]
    cost = sum(abs(count * num - share) for count, share in zip(counts, shares, strict=True))
    change = total - sum(counts)
    if change <= 0:  # a count above its placed number is at most its share: one less costs one
        return (cost - change * num) / num
    more = [
        abs((count + 1) * num - share) - abs(count * num - share) for count, share in zip(counts, shares, strict=True)
    ]
    cheapest = sorted(more)[:change]
    return (cost + sum(cheapest) + (change - len(cheapest)) * num) / num


def _sums(problem: Problem, total: int, placed: np.ndarray, counts: np.ndarray) -> float:
    """Returns the sum over splits of the distance from the share to the nearest sum of whole groups.

    `counts` is what a unit of each kind adds, int `[kinds]`.
    """
    units = np.repeat(counts, problem.units)
    units = units[units > 0]
    if len(units) * max(total, 1) > LARGEST_SUMS or (units == 1).sum() > total // 2:
        return 0.0
    reached = 1  # bit n: some of the groups have n examples together
    for count in units.tolist():
        reached |= reached << count
    num, cost = sum(problem.wanted), 0
    for least, size in zip(placed.tolist(), problem.wanted, strict=True):
        share = total * size - least * num  # times num, left for the free groups
        cost += min(abs(near * num - share) for near in _nearest(reached, share // num))
    return cost / num


def _nearest(reached: int, number: int) -> list[int]:
    """Returns the largest bit of `reached` at or below `number`, and the smallest above it."""
    if number < 0:
        return [0]
    below = reached & ((1 << (number + 1)) - 1)
    above = reached >> (number + 1)
    found = [below.bit_length() - 1]
    return [*found, number + (above & -above).bit_length()] if above else found
