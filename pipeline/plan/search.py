"""Splits of whole groups, by local search.

Few groups are interchangeable, so the integer program over kinds has as many unknowns as there are groups, and its
linear relaxation is useless: it divides every group in proportion, without any deviation. Instead:

1. A greedy start: the largest units first, each to the split that lacks its classes most.
2. Annealing by swaps of two units, or moves of one. A random unit is compared with all those of another split (or
   1,024 of them), and one partner is drawn with Boltzmann's probability. First the cost is the sum of squared
   deviations, whose changes are one matrix product; then the sum of absolute deviations. Classes that few units have
   weigh more at first: they can be balanced only while large changes are still allowed.
3. Each class that has enough units is brought into every split, and stays there.

The search is limited by steps, not by time. Numbers are multiples of 1/4096, so that sums of float64 are exact in
whatever order a processor adds them, and random numbers come from NumPy's frozen `RandomState`: the same table and
seed give the same split on every machine.
"""

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np

from pipeline.plan.problem import SIZE_WEIGHT, Problem

WINDOW = 1024
"""Units of the other split that one step looks at."""

NEAREST = 48
"""The best of these by squared deviation, whose absolute deviation is computed."""

FEW_UNITS, LARGEST_WEIGHT = 400, 8
"""A class with fewer units than this weighs more, in proportion, up to eight times as much."""

FOCUS = 4
"""Every fourth step takes a unit of an uneven class: units of rare classes would seldom be drawn."""

ALL_STEPS = 400
"""With this many units or more, a stage has all its steps; with fewer, in proportion, but at least a sixtieth."""

EMPTY_SLOTS = 64
"""Places without a unit in each split: a swap with one is a move."""

STEP = 1 / 4096
NOISE_STEP = 1 / 64
PRESENCE_WEIGHT = 2.0**20


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stretch of annealing: `steps` steps while the temperature falls from `hot` to `cold`."""

    steps: int
    hot: float
    cold: float
    squared: bool = False
    weighted: bool = False
    size_weight: float = 1.0

    def scaled(self, num_units: int, effort: float) -> "Stage":
        """Returns the stage for a problem of `num_units` free units."""
        share = effort * max(min(num_units / ALL_STEPS, 1), 1 / 60)
        return dataclasses.replace(self, steps=max(1, int(self.steps * share)))

    def temperatures(self) -> Iterator[float]:
        """Yields a temperature for each step: it halves at equal intervals, and falls linearly in between.

        Multiples of `NOISE_STEP`, made without a power or a logarithm, which differ between machines.
        """
        halvings = next(n for n in range(64) if self.hot / 2**n <= self.cold)
        for step in range(self.steps):
            whole, part = divmod(halvings * step, self.steps)
            exact = self.hot / 2**whole * (1 - part / self.steps / 2)
            yield max(round(max(exact, self.cold) / NOISE_STEP), 1) * NOISE_STEP


STAGES = (
    Stage(30_000, 512, 8, squared=True, weighted=True),
    Stage(60_000, 5, 1, weighted=True),
    Stage(60_000, 1, 0.5),
    Stage(6_000, NOISE_STEP, NOISE_STEP, size_weight=SIZE_WEIGHT),
)


def search(problem: Problem, seed: int, chain: int = 0, effort: float = 1.0) -> np.ndarray:
    """Returns the quotas of a good solution, int `[kinds, splits]`.

    Args:
      problem: the order of its kinds breaks ties.
      seed: changes the answer, not its quality.
      chain: number of the search: another number gives another answer.
      effort: share of the steps to make.
    """
    random = _random(seed, chain)
    units = _Units(problem, random)
    part = _greedy(units)
    if len(part) > 1:
        noise = _gumbel(random)
        for stage in (stage.scaled(len(part), effort) for stage in STAGES):
            if not stage.squared:
                part = bring_into_every_split(problem, part)
            part = _anneal(units, part, stage, noise, random)
    return problem.quotas_of(bring_into_every_split(problem, part))


class _Units:
    """The free units, one by one: `rows` is int `[units, classes + 1]`, their counts and, last, their size.

    `order` is the order in which they are laid out: units of a kind must not be neighbours, or a window has few kinds.
    """

    def __init__(self, problem: Problem, random: np.random.RandomState):
        self.problem = problem
        table = np.column_stack([problem.counts, problem.examples]).astype(np.int64)
        self.rows = table[problem.kind_of()]
        self.order = random.permutation(len(self.rows))
        self.placed = np.column_stack([problem.placed_counts, problem.placed_sizes]).astype(np.int64)


def _random(seed: int, chain: int) -> np.random.RandomState:
    digest = hashlib.sha256(f"{seed}/search/{chain}".encode()).digest()
    return np.random.RandomState(int.from_bytes(digest[:4], "big"))


def _greedy(units: _Units) -> np.ndarray:
    """Returns a first split, int `[units]`: largest units first, each where its classes are furthest behind.

    Whole numbers throughout: `ahead` is each split's excess over its share of what is placed, times all examples.
    """
    rows, wanted = units.rows, np.array(units.problem.wanted, np.int64)
    ahead = units.placed * wanted.sum() - wanted[:, None] * units.placed.sum(axis=0)
    part = np.zeros(len(rows), np.int64)
    for unit in units.order[np.argsort(-rows[units.order, -1], kind="stable")].tolist():
        row = rows[unit]
        part[unit] = split = int((ahead @ row - wanted * (row @ row)).argmin())
        ahead -= wanted[:, None] * row
        ahead[split] += wanted.sum() * row
    return part


def _gumbel(random: np.random.RandomState, num: int = 1 << 16) -> np.ndarray:
    """Returns Gumbel-distributed noise: the smallest (cost - temperature * noise) is a draw by Boltzmann's law."""
    noise = np.round(-np.log(-np.log((np.arange(num) + 0.5) / num)) / NOISE_STEP) * NOISE_STEP
    random.shuffle(noise)
    return noise


class _Slots:
    """Which unit is in which place of which split, and how far each split is from its shares.

    `rows[split]` is float64 `[classes + 1, places]`, the counts and the size of the unit in each place, weighted;
    `ahead` is `[splits, classes + 1]`, weighted.
    """

    def __init__(self, units: _Units, part: np.ndarray, weights: np.ndarray):
        every = np.vstack([units.rows, np.zeros_like(units.rows[:1])]) * weights
        splits = range(len(units.problem.wanted))
        empty = np.full(EMPTY_SLOTS, -1)
        self.units = [np.concatenate([units.order[part[units.order] == split], empty]) for split in splits]
        self.rows = [np.ascontiguousarray(every[units].T) for units in self.units]
        self.squares = [(rows * rows).sum(axis=0) for rows in self.rows]
        shares = np.column_stack([units.problem.shares, units.problem.wanted])
        self.shares = np.round(shares / STEP) * STEP * weights
        self.ahead = np.stack([rows.sum(axis=1) for rows in self.rows]) + units.placed * weights - self.shares

    def swap(self, a: int, i: int, b: int, j: int) -> None:
        """Exchanges place `i` of split `a` and place `j` of split `b`."""
        change = self.rows[b][:, j] - self.rows[a][:, i]
        self.ahead[a] += change
        self.ahead[b] -= change
        self.rows[a][:, i] += change
        self.rows[b][:, j] -= change
        for values in (self.units, self.squares):
            values[a][i], values[b][j] = values[b][j], values[a][i]

    def uneven(self, first: int, second: int) -> tuple[int, int, int]:
        """Returns (split with too much of a class, place of a unit in it, split with too little of the class).

        The class is one of the four most uneven, and the unit has it; `first` and `second` are random numbers.
        """
        ahead = self.ahead[:, :-1]
        order = np.argsort(ahead.min(axis=0) - ahead.max(axis=0), kind="stable")
        label = int(order[: min(4, len(order))][first % min(4, len(order))])
        a, b = int(ahead[:, label].argmax()), int(ahead[:, label].argmin())
        places = np.flatnonzero(self.rows[a][label])
        if a == b or len(places) == 0:
            return a, second % len(self.units[a]), (a + 1) % len(self.units)
        return a, int(places[second % len(places)]), b

    def part(self) -> np.ndarray:
        """Returns the split of each unit, int `[units]`."""
        part = np.zeros(sum((units >= 0).sum() for units in self.units), np.int64)
        for split, units in enumerate(self.units):
            part[units[units >= 0]] = split
        return part


def _weights(problem: Problem, stage: Stage) -> np.ndarray:
    """Returns the weight of each class and, last, of a size: multiples of 1/4, float `[classes + 1]`."""
    weights = np.ones(len(problem.totals) + 1)
    if stage.weighted:
        few = FEW_UNITS / np.maximum(problem.carriers, 1)
        weights[:-1] = np.round(np.clip(few, 1, LARGEST_WEIGHT) * 4) / 4
    weights[-1] = stage.size_weight
    return weights


def _anneal(
    units: _Units, part: np.ndarray, stage: Stage, noise: np.ndarray, random: np.random.RandomState
) -> np.ndarray:
    """Returns the split after a stage; after an unweighted stage, the best one that it went through."""
    weights = _weights(units.problem, stage)
    slots = _Slots(units, part, weights)
    watched = np.flatnonzero(units.problem.required.any(axis=0) & (units.problem.carriers < FEW_UNITS))
    draw = _draw_squared if stage.squared else _draw_absolute
    best, best_cost = part, np.inf if stage.weighted else _cost(slots, weights)
    numbers = random.randint(0, 1 << 30, (stage.steps, 4)).tolist()
    num_splits = len(slots.units)
    for step, temperature in enumerate(stage.temperatures()):
        first, second, third, fourth = numbers[step]
        if step % FOCUS:
            a = first % num_splits
            b = (a + 1 + second % (num_splits - 1)) % num_splits
            i = third % len(slots.units[a])
        else:
            a, i, b = slots.uneven(first, second)
        j = draw(slots, a, i, b, fourth, temperature, noise, watched)
        if j < 0 or slots.units[a][i] == slots.units[b][j]:
            continue
        slots.swap(a, i, b, j)
        if not stage.weighted and (cost := _cost(slots, weights)) < best_cost:
            best, best_cost = slots.part(), cost
    return slots.part() if stage.weighted else best


def _cost(slots: _Slots, weights: np.ndarray) -> float:
    of_classes, of_sizes = np.abs(slots.ahead[:, :-1]).sum(), np.abs(slots.ahead[:, -1]).sum()
    return float(of_classes + of_sizes / weights[-1] * SIZE_WEIGHT)


def _draw_squared(
    slots: _Slots,
    a: int,
    i: int,
    b: int,
    number: int,
    temperature: float,
    noise: np.ndarray,
    watched: np.ndarray,
) -> int:
    """Returns the place in `b` to exchange with place `i` of `a`, or -1 for none, by squared deviations."""
    start, stop = _window(slots, b, number)
    costs = _squared_costs(slots, a, i, b, start, stop)
    here = number % (len(noise) - WINDOW - 1)
    costs -= temperature * noise[here : here + stop - start]
    best = int(costs.argmin())
    row = slots.rows[a][:, i]
    stay = -(row @ (row + slots.ahead[b] - slots.ahead[a])) - temperature * noise[here + stop - start]
    return start + best if costs[best] < stay else -1


def _draw_absolute(
    slots: _Slots,
    a: int,
    i: int,
    b: int,
    number: int,
    temperature: float,
    noise: np.ndarray,
    watched: np.ndarray,
) -> int:
    """As `_draw_squared`, by absolute deviations; an exchange never takes the last of a `watched` class away."""
    start, stop = _window(slots, b, number)
    near = _squared_costs(slots, a, i, b, start, stop)
    if len(near) > NEAREST:
        kth = np.partition(near, NEAREST)[NEAREST]
        places = start + np.flatnonzero(near <= kth)[:NEAREST]
    else:
        places = np.arange(start, stop)
    change = slots.rows[b][:, places] - slots.rows[a][:, i, None]
    ahead_a, ahead_b = slots.ahead[a][:, None], slots.ahead[b][:, None]
    costs = np.abs(ahead_a + change).sum(axis=0) + np.abs(ahead_b - change).sum(axis=0)
    costs -= np.abs(ahead_a).sum() + np.abs(ahead_b).sum()
    if len(watched):
        some = change[watched]
        for ahead, sign in ((ahead_a, 1), (ahead_b, -1)):
            split = a if sign > 0 else b
            has = ahead[watched] + slots.shares[split][watched, None]
            lost = (has > NOISE_STEP) & (has + sign * some < NOISE_STEP)
            costs += PRESENCE_WEIGHT * lost.sum(axis=0)
    here = number % (len(noise) - NEAREST - 2)
    costs -= temperature * noise[here : here + len(places)]
    best = int(costs.argmin())
    return int(places[best]) if costs[best] < -temperature * noise[here + len(places)] else -1


def _window(slots: _Slots, split: int, number: int) -> tuple[int, int]:
    num = len(slots.units[split])
    start = number % max(1, num - WINDOW + 1)
    return start, min(num, start + WINDOW)


def _squared_costs(slots: _Slots, a: int, i: int, b: int, start: int, stop: int) -> np.ndarray:
    """Returns half the change of the sum of squares for each place, less what all places have in common."""
    pull = slots.ahead[b] - slots.ahead[a] + 2 * slots.rows[a][:, i]
    return np.asarray(slots.squares[b][start:stop] - pull @ slots.rows[b][:, start:stop])


def bring_into_every_split(problem: Problem, part: np.ndarray) -> np.ndarray:
    """Returns the split (int `[units]`) with units moved so that classes are where they have to be, if possible."""
    part = part.copy()
    for _ in range(2 * problem.required.size):
        counts = problem.counts_of(problem.quotas_of(part))
        missing = np.argwhere(problem.required & (counts == 0)).tolist()
        moves = [move for split, label in missing if (move := _best_move(problem, part, counts, split, label))]
        if not moves or min(moves)[0] >= 0:
            break
        _, _, unit, split = min(moves)
        part[unit] = split
    return part


def _best_move(
    problem: Problem, part: np.ndarray, counts: np.ndarray, split: int, label: int
) -> tuple[int, float, int, int] | None:
    """Returns (change in missing classes, cost, unit, split) of the best move of one class into a split."""
    kind_of, required, shares = problem.kind_of(), problem.required, problem.shares
    fits = (problem.counts[:, label] > 0) & (problem.examples <= max(problem.wanted[split], 1))
    units = np.flatnonzero(fits[kind_of] & (part != split))
    if len(units) == 0:
        return None
    rows, here = problem.counts[kind_of[units]], part[units]
    before, after = counts[here], counts[here] - rows
    lost = ((before > 0) & (after == 0) & required[here]).sum(axis=1)
    won = ((counts[split] == 0) & required[split] & (rows > 0)).sum(axis=1)
    cost = np.abs(after - shares[here]).sum(axis=1) - np.abs(before - shares[here]).sum(axis=1)
    cost = np.round(cost + np.abs(counts[split] + rows - shares[split]).sum(axis=1), 6)
    best = np.lexsort((units, cost, lost - won))[0]
    return int((lost - won)[best]), float(cost[best]), int(units[best]), split
