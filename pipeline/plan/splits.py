"""Exact stratified split of a label table.

Examples with the same label set are interchangeable: they form a *kind*. How many examples of each kind go to each
split is a small integer program, solved by HiGHS (`program`; iterative stratification, Sechidis et al. 2011, rounds
greedily). A salted hash of the id decides which examples fill a kind's quota. The order of the rows has no effect.

With groups (near-duplicates, fields of one well) the interchangeable units are whole groups with the same multiset
of label sets, so a group is never divided between splits; a local search solves it (`search`). Examples of an earlier
split stay where they are (`kept`), and only new ones are placed. `bounds` computes a lower bound on the deviations.
"""

import dataclasses
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import InputError, JobError
from pipeline.plan import bounds, kept, program, search
from pipeline.plan.problem import SIZE_WEIGHT, Problem
from pipeline.plan.table import Example
from pipeline.schema import HPA_KAGGLE_2018, SPLITS

PAPER_SIZES = (24_000, 3_000, 4_072)
"""Sizes of train, dev and test in the report that the project follows (Mylavarapu 2020, section 4.3)."""

SHORT, LONG = (0.1, 0.1, 0.1), (0.8, 0.8)
"""Efforts of the searches for a split of groups; the best counts. Long ones follow if it is not good enough."""

GOOD_ENOUGH = 1.1
"""A split of groups is good enough if its cost is within this factor of the lower bound."""

POLISHED_KINDS, POLISH_NODES = 1000, 20
"""How many kinds of several groups the integer program divides again after the search, and its search nodes."""

Unit = tuple[str, ...]
"""The ids of an example, or of all examples of a group: what goes to one split together."""

Kind = tuple[tuple[int, ...], ...]
"""The label sets of a unit's examples, ascending."""


@dataclasses.dataclass(frozen=True)
class Splits:
    """A split of all examples, and what is known about it.

    Attributes:
      of: `{id: split}`.
      wanted: examples wanted in each split.
      sizes: examples in each split.
      counts: int `[splits, classes]`, examples of each class.
      shares: the exact (fractional) shares at the wanted sizes, same shape.
      class_names: of all classes.
      names: of the splits.
      carriers: int `[classes]`, groups that have each class (an example without a group is one by itself).
      num_groups: groups in all.
      num_kinds: different multisets of label sets among them.
      bound: no split has a smaller sum of deviations.
      size_bound: no split has sizes that differ less from those wanted, in sum.
      num_kept: examples that are where an earlier split has them.
      num_moved: examples that are elsewhere; always 0.
      vanished: ids of the earlier split that no longer exist, ascending.
    """

    of: Mapping[str, str]
    wanted: tuple[int, ...]
    sizes: tuple[int, ...]
    counts: np.ndarray
    shares: np.ndarray
    class_names: Sequence[str]
    names: tuple[str, ...]
    carriers: np.ndarray
    num_groups: int
    num_kinds: int
    bound: float
    size_bound: int
    num_kept: int = 0
    num_moved: int = 0
    vanished: tuple[str, ...] = ()

    @property
    def deviation(self) -> float:
        """The sum of all classes' deviations from their exact shares, in examples."""
        return float(np.abs(self.counts - self.shares).sum())

    @property
    def size_deviation(self) -> int:
        return sum(abs(size - wanted) for size, wanted in zip(self.sizes, self.wanted, strict=True))

    @property
    def optimal(self) -> bool:
        """Whether the bounds prove that no split is better."""
        return self.size_deviation <= self.size_bound and self.deviation <= self.bound + 1e-6

    @property
    def grouped(self) -> bool:
        return self.num_groups < len(self.of)

    def worst(self) -> tuple[float, str, str]:
        """Returns (examples off the exact share, class name, split) where it is largest."""
        off = np.abs(self.counts - self.shares)
        split, label = np.unravel_index(off.argmax(), off.shape)
        return float(off[split, label]), self.class_names[label], self.names[split]

    def report(self) -> str:
        """Returns a table: one line per class with its count in each split; the deviations, and what is proven."""
        lines = [f"{'class':<34}" + "".join(f"{split:>8}" for split in self.names)]
        for label, name in enumerate(self.class_names):
            lines.append(f"{label:>2} {name:<31}" + "".join(f"{n:>8}" for n in self.counts[:, label]))
        lines.append(f"{'examples':<34}" + "".join(f"{n:>8}" for n in self.sizes))
        if self.sizes != self.wanted:
            lines.append(f"{'examples wanted':<34}" + "".join(f"{n:>8}" for n in self.wanted))
        if self.grouped:
            kinds = f" of {self.num_kinds} kinds" if self.num_kinds < self.num_groups else ""
            lines.append(f"{self.num_groups} groups{kinds}; none is divided")
        off, name, split = self.worst()
        lines.append(f"largest deviation from the exact share: {off:.2f} examples ({name} in {split})")
        return "\n".join([*lines, self.proof(), *self.kept_lines(), *self.empty(), *self.absent()])

    def proof(self) -> str:
        """Returns what is proven about the deviations, in one line."""
        found = f"sum of deviations: {self.deviation:.2f} examples"
        if self.optimal:
            return f"{found}; proven optimal"
        sizes = f"; sizes are {self.size_deviation} off, and no split has less than {self.size_bound}" if (
            self.size_deviation > self.size_bound
        ) else ""  # fmt: skip
        times = f" ({self.deviation / self.bound:.2f} times that bound)" if self.bound else ""
        return f"{found}; no split has less than {self.bound:.2f}{times}{sizes}"

    def kept_lines(self) -> list[str]:
        """Returns lines on what happened to the earlier split; empty if there was none."""
        if not self.num_kept and not self.vanished:
            return []
        new = len(self.of) - self.num_kept - self.num_moved
        lines = [f"earlier split: {self.num_kept} examples kept, {self.num_moved} moved; {new} new ones placed"]
        if self.vanished:
            lines.append(f"no longer in the label table: {kept.listed(self.vanished)}")
        return lines

    def empty(self) -> list[str]:
        """Returns a line for each split that is empty but should not be."""
        units = f"{self.num_groups} groups" if self.grouped else f"{len(self.of)} examples"
        stay = f", and {self.num_kept} examples stay where they were" if self.num_kept else ""
        return [
            f"{name} is empty: {units} for {sum(map(bool, self.wanted))} splits{stay}"
            for name, wanted, size in zip(self.names, self.wanted, self.sizes, strict=True)
            if wanted and not size
        ]

    def absent(self) -> list[str]:
        """Returns a line for each class that is not in every split, and why."""
        what = "groups" if self.grouped else "examples"
        lines = []
        for label, name in enumerate(self.class_names):
            needed = [k for k, size in enumerate(self.wanted) if size]
            missing = [k for k in needed if self.counts[k, label] == 0]
            if not missing or not self.carriers[label]:
                continue
            splits = ", ".join(self.names[k] for k in missing)
            if self.carriers[label] < len(needed):
                why = f"it has {self.carriers[label]} independent {what} for {len(needed)} splits"
            elif self.grouped or self.num_kept:
                why = "its groups are larger than the split, or are kept elsewhere"
            else:
                share = max(self.shares[k, label] for k in missing)
                why = f"its share is {share:.2f} examples, and the whole numbers nearest to all shares leave none"
            lines.append(f"not in {splits}: {name} ({why})")
        return lines


def proportional_sizes(num_examples: int) -> tuple[int, ...]:
    """Returns sizes of train, dev, test in the paper's proportions, at least one example each.

    Raises:
      InputError: fewer than three examples.
    """
    if num_examples < len(SPLITS):
        raise InputError(f"{num_examples} examples, expected at least {len(SPLITS)}: one for each of {SPLITS}")
    exact = np.array(PAPER_SIZES) * num_examples / sum(PAPER_SIZES)
    sizes = np.floor(exact).astype(int)
    for k in np.argsort(sizes - exact, kind="stable")[: num_examples - sizes.sum()]:
        sizes[k] += 1  # largest remainders first
    while (sizes == 0).any():
        sizes[sizes.argmin()] += 1
        sizes[sizes.argmax()] -= 1
    return tuple(int(n) for n in sizes)


def assign(
    examples: Sequence[Example],
    sizes: Sequence[int] | None = None,
    *,
    seed: int = 0,
    groups: Mapping[str, str] | None = None,
    class_names: Sequence[str] = HPA_KAGGLE_2018.classes,
    earlier: Mapping[str, str] | None = None,
    names: tuple[str, ...] = SPLITS,
) -> Splits:
    """Assigns every example to a split: train, dev or test.

    Sizes are met exactly (with groups: as nearly as whole groups allow), and the counts of each class in each split
    are as near their exact share as whole numbers allow (with groups: as near as was found, `Splits.bound` says how
    much nearer they could be). With groups or an earlier split, each class is in every split if it has enough
    groups.

    Args:
      examples: with unique ids.
      sizes: examples in each split; `None` for the paper's proportions of train, dev and test.
      seed: changes the assignment, not its quality.
      groups: `{id: group}`; an id that is not in it is a group of its own.
      class_names: names of the classes of the labels.
      earlier: `{id: split}` of an earlier split: its examples stay, and new members of their groups follow them.
      names: of the splits.

    Raises:
      InputError: sizes that are not whole numbers that add up to the number of examples, or a group that is in two
        splits of the earlier split.
      JobError: the solver found no solution.
    """
    wanted = tuple(sizes) if sizes is not None else proportional_sizes(len(examples))
    _check_sizes(wanted, len(examples), names)
    fixed = kept.fixed(examples, groups or {}, earlier, names) if earlier else {}
    units, placed = _units_by_kind(examples, groups or {}, seed, fixed)
    kinds = sorted(units, key=lambda kind: _hash(seed, "kind", repr(kind)))
    problem = _problem(kinds, units, placed, wanted, len(class_names))
    quotas, bound = _divide(problem, seed)
    of = _fill_quotas(units, placed, kinds, quotas, names)
    return _describe(of, problem, quotas, bound, class_names, names, earlier or {})


def _describe(
    of: Mapping[str, str],
    problem: Problem,
    quotas: np.ndarray,
    bound: float,
    class_names: Sequence[str],
    names: tuple[str, ...],
    earlier: Mapping[str, str],
) -> Splits:
    """Returns the split with what is known about it."""
    every = quotas + problem.placed
    num_kept = sum(of.get(example_id) == split for example_id, split in earlier.items())
    vanished = tuple(sorted(example_id for example_id in earlier if example_id not in of))
    return Splits(
        of=of,
        wanted=problem.wanted,
        sizes=tuple((every.T @ problem.examples).tolist()),
        counts=every.T @ problem.counts,
        shares=problem.shares,
        class_names=class_names,
        names=names,
        carriers=(problem.counts > 0).T @ every.sum(axis=1),
        num_groups=int(every.sum()),
        num_kinds=len(every),
        bound=bound,
        size_bound=bounds.of_sizes(problem),
        num_kept=num_kept,
        num_moved=len(earlier) - num_kept - len(vanished),
        vanished=vanished,
    )


def _check_sizes(sizes: tuple[int, ...], num_examples: int, names: tuple[str, ...]) -> None:
    if len(sizes) != len(names) or min(sizes) < 0 or sum(sizes) != num_examples or sizes[0] == 0:
        number = {3: "three"}.get(len(names), str(len(names)))
        raise InputError(
            f"split sizes {','.join(map(str, sizes))} add up to {sum(sizes)}, expected {number} whole numbers "
            f"({names[0]} above 0) that add up to the {num_examples} examples of the label table"
        )


def _units_by_kind(
    examples: Sequence[Example], groups: Mapping[str, str], seed: int, fixed: Mapping[str, int]
) -> tuple[dict[Kind, list[Unit]], dict[Kind, dict[int, list[Unit]]]]:
    """Returns the units of each kind in the order in which they fill the splits, and those that stay, by split.

    Both have the same kinds.
    """
    members: dict[str, list[Example]] = defaultdict(list)
    alone: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for example in examples:
        if example.id in groups:
            members[groups[example.id]].append(example)
        else:
            alone[example.labels].append(example.id)
    units: dict[Kind, list[Unit]] = {(labels,): [(i,) for i in ids] for labels, ids in alone.items()}
    del alone  # at ten million examples, memory counts
    for unit in members.values():
        kind = tuple(sorted(example.labels for example in unit))
        units.setdefault(kind, []).append(tuple(sorted(example.id for example in unit)))
    placed: dict[Kind, dict[int, list[Unit]]] = {}
    for kind, of_kind in units.items():
        of_kind.sort()  # decides between equal hashes, of an example and a group with its name
        of_kind.sort(key=lambda ids: _hash(seed, "split", groups.get(ids[0], ids[0])))
        placed[kind] = defaultdict(list)
        if fixed:
            units[kind] = [ids for ids in of_kind if ids[0] not in fixed]
            for ids in of_kind:
                if ids[0] in fixed:
                    placed[kind][fixed[ids[0]]].append(ids)
    return units, placed


def _fill_quotas(
    units: Mapping[Kind, Sequence[Unit]],
    placed: Mapping[Kind, Mapping[int, Sequence[Unit]]],
    kinds: Sequence[Kind],
    quotas: np.ndarray,
    names: Sequence[str],
) -> dict[str, str]:
    """Returns `{id: split}`; `quotas` is int `[kinds, splits]`."""
    of: dict[str, str] = {}
    for kind, row in zip(kinds, quotas.tolist(), strict=True):
        remaining = iter(units[kind])
        for split, quota in zip(names, row, strict=True):
            for ids in itertools.islice(remaining, quota):
                for example_id in ids:
                    of[example_id] = split
        for number, stay in placed[kind].items():
            for ids in stay:
                of.update(dict.fromkeys(ids, names[number]))
    return of


def _problem(
    kinds: Sequence[Kind],
    units: Mapping[Kind, Sequence[Unit]],
    placed: Mapping[Kind, Mapping[int, Sequence[Unit]]],
    wanted: tuple[int, ...],
    num_classes: int,
) -> Problem:
    """Returns the numbers that decide the split: what the units of each kind hold, and how many there are."""
    stay = [[len(placed[kind].get(split, ())) for split in range(len(wanted))] for kind in kinds]
    return Problem(
        counts=_count_classes(kinds, num_classes),
        examples=np.array([len(kind) for kind in kinds]),
        units=np.array([len(units[kind]) for kind in kinds]),
        placed=np.array(stay, int).reshape(len(kinds), len(wanted)),
        wanted=wanted,
    )


def _count_classes(kinds: Sequence[Kind], num_classes: int) -> np.ndarray:
    """Returns int `[kinds, classes]`: how many examples of a unit of each kind have each class."""
    classes = np.zeros((len(kinds), num_classes), int)
    for row, kind in enumerate(kinds):
        for label in itertools.chain(*kind):
            classes[row, label] += 1
    return classes


def _hash(seed: int, purpose: str, name: str) -> bytes:
    # The purpose is part of the salt, so that the order within a shard is independent of the split.
    return hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()


def _divide(problem: Problem, seed: int) -> tuple[np.ndarray, float]:
    """Returns (quotas of the free units, a lower bound on the sum of deviations).

    No split of a wanted size above 0 is empty if there are enough units: if the nearest sizes leave a split empty, the
    unit that suits it best is placed in it, and the other units are divided again.
    """
    quotas, bound = _divide_nearest(problem, seed)
    occupied = problem.placed.any(axis=0)
    needed = (np.array(problem.wanted) > 0) & ~occupied
    empty = np.flatnonzero(needed & ~quotas.any(axis=0))
    if len(empty) == 0 or problem.units.sum() < needed.sum():
        return quotas, bound
    first = np.zeros_like(problem.placed)
    first[_most_suitable(problem, int(empty[0])), empty[0]] = 1
    others = dataclasses.replace(problem, units=problem.units - first.sum(axis=1), placed=problem.placed + first)
    return first + _divide(others, seed)[0], bound


def _most_suitable(problem: Problem, split: int) -> int:
    """Returns the kind of free unit whose size, and then whose classes, are nearest to those wanted in a split."""
    off = np.abs(problem.counts - problem.shares[split]).sum(axis=1)
    cost = np.round(off, 6) + SIZE_WEIGHT * np.abs(problem.examples - problem.wanted[split])
    return int(np.where(problem.units > 0, cost, np.inf).argmin())


def _divide_nearest(problem: Problem, seed: int) -> tuple[np.ndarray, float]:
    """As `_divide`, but a split may be empty."""
    bound = bounds.of_classes(problem)
    if not problem.units.any():
        return np.zeros_like(problem.placed), bound
    if (problem.examples > 1).any():
        return _divide_groups(problem, seed, bound), bound
    if not problem.placed.any():
        return program.solve(program.in_proportion(problem)).quotas, bound
    return _divide_new(problem, bound)


def _divide_new(problem: Problem, bound: float) -> tuple[np.ndarray, float]:
    """As `_divide`, for new examples without groups, where others stay."""
    kinds = np.flatnonzero(problem.units)
    quotas = np.zeros_like(problem.placed)
    solved = program.solve(program.remaining(problem, kinds, quotas))
    quotas[kinds] = solved.quotas
    # The solver's bound is on sizes and classes together.
    proven = solved.bound - SIZE_WEIGHT * problem.size_deviation(quotas)
    bound = max(bound, min(proven, problem.deviation(quotas)))
    if problem.value(quotas)[0]:
        quotas = problem.quotas_of(search.bring_into_every_split(problem, problem.part_of(quotas)))
    return quotas, bound


def _divide_groups(problem: Problem, seed: int, bound: float) -> np.ndarray:
    best = problem.placed  # replaced by the first search
    for chain, effort in enumerate((*SHORT, *LONG)):
        found = _polished(problem, search.search(problem, seed, chain, effort), bound)
        best = min(best, found, key=problem.value) if chain else found
        reached = problem.value(best)
        if reached <= (0, bound + 1e-6) or (
            (effort in LONG or chain + 1 >= len(SHORT)) and reached <= (0, GOOD_ENOUGH * bound)
        ):
            break
    return best


def _polished(problem: Problem, quotas: np.ndarray, bound: float) -> np.ndarray:
    """Returns the quotas, with the kinds that have several units divided again if that is better."""
    several = np.flatnonzero(problem.units > 1)
    kinds = np.sort(several[np.argsort(problem.examples[several], kind="stable")][:POLISHED_KINDS])
    if len(kinds) == 0 or problem.value(quotas) <= (0, bound + 1e-6):
        return quotas
    polished = quotas.copy()
    try:
        polished[kinds] = program.solve(program.remaining(problem, kinds, quotas), POLISH_NODES).quotas
    except JobError:  # no solution within the limit: the one at hand stays
        return quotas
    return min(quotas, polished, key=problem.value)
