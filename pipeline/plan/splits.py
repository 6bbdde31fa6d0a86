"""Exact stratified split of a label table.

Examples with the same label set are interchangeable: they form a *kind*. How many examples of each kind go to each
split is a small integer program, solved exactly by HiGHS (iterative stratification, Sechidis et al. 2011, rounds
greedily). Many splits are equally good and another version of HiGHS may return a different one, so `setup.cfg` pins
the version. A salted hash of the id decides which examples fill a kind's quota. The order of the rows has no effect.

With groups (near-duplicates, fields of one well) the interchangeable units are whole groups with the same multiset
of label sets, so a group is never divided between splits.
"""

import dataclasses
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.errors import InputError, JobError
from pipeline.plan.table import Example
from pipeline.schema import HPA_KAGGLE_2018, SPLITS

PAPER_SIZES = (24_000, 3_000, 4_072)
"""Sizes of train, dev and test in the report that the project follows (Mylavarapu 2020, section 4.3)."""

SIZE_WEIGHT = 1e3
"""Cost of one example too many or too few in a split; of one too many or too few of a class, the cost is 1."""

SOLVER_OPTIONS = {"output_flag": False, "threads": 1, "mip_max_nodes": 2000, "mip_rel_gap": 1e-3}
"""The limit is on nodes, not on seconds: the answer must not depend on how busy the machine is."""

Unit = tuple[str, ...]
"""The ids of an example, or of all examples of a group: what goes to one split together."""

Kind = tuple[tuple[int, ...], ...]
"""The label sets of a unit's examples, ascending."""


@dataclasses.dataclass(frozen=True)
class Splits:
    """`of` maps id to split; `counts` is int `[3, classes]`, `shares` the exact (fractional) shares, same shape."""

    of: Mapping[str, str]
    sizes: tuple[int, ...]
    counts: np.ndarray
    shares: np.ndarray
    class_names: Sequence[str]

    def worst(self) -> tuple[float, str, str]:
        """Returns (examples off the exact share, class name, split) where it is largest."""
        off = np.abs(self.counts - self.shares)
        split, label = np.unravel_index(off.argmax(), off.shape)
        return float(off[split, label]), self.class_names[label], SPLITS[split]

    def report(self) -> str:
        """Returns a table: one line per class with its count in each split, and the largest deviation."""
        lines = [f"{'class':<34}" + "".join(f"{split:>8}" for split in SPLITS)]
        for label, name in enumerate(self.class_names):
            lines.append(f"{label:>2} {name:<31}" + "".join(f"{n:>8}" for n in self.counts[:, label]))
        lines.append(f"{'examples':<34}" + "".join(f"{n:>8}" for n in self.sizes))
        off, name, split = self.worst()
        lines.append(f"largest deviation from the exact share: {off:.2f} examples ({name} in {split})")
        absent = [
            name
            for label, name in enumerate(self.class_names)
            if self.counts[:, label].sum() > 0 and not self.counts[:, label].all()
        ]
        if absent:
            lines.append(f"too rare to be in every split: {', '.join(absent)}")
        return "\n".join(lines)


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
) -> Splits:
    """Assigns every example to train, dev or test.

    Sizes are met exactly (with groups: as nearly as whole groups allow), and the counts of each class in each split
    are as near their exact share as whole numbers allow.

    Args:
      examples: with unique ids.
      sizes: examples in train, dev, test; `None` for the paper's proportions.
      seed: changes the assignment, not its quality.
      groups: `{id: group}`; an id that is not in it is a group of its own.

    Raises:
      InputError: sizes that are not three whole numbers that add up to the number of examples.
      JobError: the solver found no solution.
    """
    sizes = tuple(sizes) if sizes is not None else proportional_sizes(len(examples))
    _check_sizes(sizes, len(examples))
    units = _units_by_kind(examples, groups or {}, seed)
    kinds = sorted(units, key=lambda kind: _hash(seed, "kind", repr(kind)))
    classes = _count_classes(kinds, len(class_names))
    quotas = _solve(kinds, classes, [len(units[kind]) for kind in kinds], sizes)
    actual = quotas.T @ [len(kind) for kind in kinds]
    counts = quotas.T @ classes
    shares = counts.sum(axis=0) * actual[:, None] / actual.sum()
    return Splits(_fill_quotas(units, kinds, quotas), tuple(actual.tolist()), counts, shares, class_names)


def _check_sizes(sizes: tuple[int, ...], num_examples: int) -> None:
    if len(sizes) != len(SPLITS) or min(sizes) < 0 or sum(sizes) != num_examples or sizes[0] == 0:
        raise InputError(
            f"split sizes {','.join(map(str, sizes))} add up to {sum(sizes)}, expected three whole numbers "
            f"(train above 0) that add up to the {num_examples} examples of the label table"
        )


def _units_by_kind(examples: Sequence[Example], groups: Mapping[str, str], seed: int) -> dict[Kind, list[Unit]]:
    """Returns the units of each kind, in the order in which they fill the splits."""
    members: dict[tuple[str, str], list[Example]] = defaultdict(list)
    for example in examples:
        key = ("group", groups[example.id]) if example.id in groups else ("id", example.id)
        members[key].append(example)
    units: dict[Kind, list[tuple[bytes, Unit]]] = defaultdict(list)
    for (_, name), unit in members.items():
        kind = tuple(sorted(example.labels for example in unit))
        units[kind].append((_hash(seed, "split", name), tuple(sorted(example.id for example in unit))))
    return {kind: [unit for _, unit in sorted(hashed)] for kind, hashed in units.items()}


def _fill_quotas(units: Mapping[Kind, Sequence[Unit]], kinds: Sequence[Kind], quotas: np.ndarray) -> dict[str, str]:
    """Returns `{id: split}`; `quotas` is int `[kinds, 3]`."""
    of: dict[str, str] = {}
    for kind, row in zip(kinds, quotas, strict=True):
        remaining = iter(units[kind])
        for split, quota in zip(SPLITS, row, strict=True):
            for ids in itertools.islice(remaining, quota):
                of.update(dict.fromkeys(ids, split))
    return of


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


def _solve(kinds: Sequence[Kind], classes: np.ndarray, num_units: Sequence[int], sizes: tuple[int, ...]) -> np.ndarray:
    """Returns int `[kinds, 3]`: how many units of each kind go to each split.

    Args:
      kinds: in the order that breaks ties.
      classes: int `[kinds, classes]`, from `_count_classes`.
      num_units: units of each kind.
      sizes: examples wanted in each split.

    Raises:
      JobError: the solver found no solution.
    """
    import highspy  # imported here, so that reading a dataset does not need it

    program = _program(kinds, classes, np.array(num_units, float), sizes)
    solver = highspy.Highs()
    for name, value in SOLVER_OPTIONS.items():
        solver.setOptionValue(name, value)
    solver.passModel(program.to_highs())
    solver.run()
    if solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        status = solver.modelStatusToString(solver.getModelStatus())
        raise JobError(f"no split found for {len(kinds)} kinds into {sizes}: {status}")
    quotas = solver.getSolution().col_value[: program.num_whole]
    return np.rint(quotas).astype(int).reshape(len(kinds), len(sizes))


@dataclasses.dataclass(frozen=True, eq=False)
class _Program:
    """Minimise `cost @ x` with `matrix @ x == targets` and `lower <= x <= upper`.

    The first `num_whole` entries of `x` are whole numbers. `entries` are the matrix's nonzero entries: (rows, columns,
    values), arrays that broadcast to one shape.
    """

    entries: Sequence[tuple[Any, Any, Any]]
    targets: np.ndarray
    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    num_whole: int

    def to_highs(self) -> Any:
        """Returns the `highspy.HighsLp`."""
        import highspy

        whole, real = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = len(self.cost), len(self.targets)
        program.col_cost_, program.col_lower_, program.col_upper_ = self.cost, self.lower, self.upper
        program.row_lower_ = program.row_upper_ = self.targets
        program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        program.a_matrix_.start_, program.a_matrix_.index_, program.a_matrix_.value_ = _rowwise(self.entries)
        program.integrality_ = [whole] * self.num_whole + [real] * (len(self.cost) - self.num_whole)
        return program


def _program(kinds: Sequence[Kind], classes: np.ndarray, units: np.ndarray, sizes: tuple[int, ...]) -> _Program:
    """Returns the integer program of a split.

    `x` is `[quotas | shortfalls | excesses]`. A quota is the number of units of one kind in one split, within one of
    its exact share, which also keeps label *sets* stratified. A shortfall and an excess belong to each count: the
    size of each split, then the examples of each (class, split). The cost is their sum, sizes weighted most.

    Without groups a solution with exact sizes exists: it is a transport problem with integral bounds.
    """
    num_kinds, num_splits, num_classes = len(kinds), len(sizes), classes.shape[1]
    share = np.array(sizes) / sum(sizes)
    exact = units[:, None] * share
    examples = np.array([len(kind) for kind in kinds], float)  # in a unit of each kind

    split, kind, count = np.arange(num_splits), np.arange(num_kinds)[:, None], np.arange(num_splits * (1 + num_classes))
    quota = num_splits * kind + split  # its column, int [kinds, splits]
    shortfall, excess = exact.size + count, exact.size + len(count) + count
    size_row, class_row = num_kinds + split, num_kinds + num_splits + split
    kind_of, label_of = np.nonzero(classes)
    entries = [
        (kind, quota, 1.0),  # every unit goes to a split
        (size_row, quota, examples[:, None]),
        (class_row + num_splits * label_of[:, None], quota[kind_of], classes[classes > 0][:, None]),
        (num_kinds + count, shortfall, 1.0),
        (num_kinds + count, excess, -1.0),
    ]
    is_size = count < num_splits
    cost = np.where(is_size, SIZE_WEIGHT, 1.0)
    grouped = bool((examples > 1).any())
    slack = np.where(is_size & (not grouped), 0, np.inf)
    none = np.zeros(2 * len(count))
    return _Program(
        entries=entries,
        targets=np.concatenate([units, sizes, ((units @ classes)[:, None] * share).ravel()]),
        cost=np.concatenate([np.zeros(exact.size), cost, cost]),
        lower=np.concatenate([np.floor(exact + 1e-9).ravel(), none]),
        upper=np.concatenate([np.ceil(exact - 1e-9).ravel(), slack, slack]),
        num_whole=exact.size,
    )


def _rowwise(entries: Sequence[tuple[Any, Any, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (the start of each row, columns, values) of a sparse matrix given as in `_Program`."""
    flat = [[part.ravel() for part in np.broadcast_arrays(*entry)] for entry in entries]
    rows, columns, values = (np.concatenate(parts) for parts in zip(*flat, strict=True))
    order = np.lexsort((columns, rows))
    return np.searchsorted(rows[order], np.arange(rows.max() + 2)), columns[order], values[order]
