"""The integer program of a split, solved by HiGHS: how many units of each kind go to each split.

Many splits are equally good and another version of HiGHS may return a different one, so `setup.cfg` pins the version.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.errors import JobError
from pipeline.plan.problem import SIZE_WEIGHT, Problem

SOLVER_OPTIONS = {"output_flag": False, "threads": 1, "mip_max_nodes": 2000, "mip_rel_gap": 1e-3}
"""The limit is on nodes, not on seconds: the answer must not depend on how busy the machine is."""


@dataclasses.dataclass(frozen=True, eq=False)
class Quotas:
    """What the solver is asked: to divide `units` of each kind so that counts come near their targets.

    Attributes:
      units: units of each kind, int `[kinds]`.
      counts: int `[kinds, classes]`, examples of each class in a unit.
      examples: int `[kinds]`, examples of a unit.
      sizes: examples wanted in each split, int `[splits]`.
      targets: examples of each class wanted in each split, float `[classes, splits]`.
      lower: least units of each kind in each split, float `[kinds, splits]`.
      upper: most units, same shape.
      exact: whether sizes must be met exactly.
    """

    units: np.ndarray
    counts: np.ndarray
    examples: np.ndarray
    sizes: np.ndarray
    targets: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    exact: bool


def in_proportion(problem: Problem) -> Quotas:
    """Returns what to ask for units of one example each: each kind within one of its exact share in every split.

    This also keeps label *sets* stratified. A solution with exact sizes exists: it is a transport problem with
    integral bounds.
    """
    share = np.array(problem.wanted) / sum(problem.wanted)
    exact = problem.units[:, None] * share
    return Quotas(
        units=problem.units,
        counts=problem.counts,
        examples=problem.examples,
        sizes=np.array(problem.wanted),
        targets=(np.array(problem.units, float) @ problem.counts)[:, None] * share,
        lower=np.floor(exact + 1e-9),
        upper=np.ceil(exact - 1e-9),
        exact=True,
    )


def remaining(problem: Problem, kinds: np.ndarray, quotas: np.ndarray) -> Quotas:
    """Returns what to ask for the free units of some `kinds` (their numbers), given the quotas of all other kinds."""
    others = quotas.copy()
    others[kinds] = 0
    units = problem.units[kinds]
    lower = np.zeros((len(kinds), len(problem.wanted)))
    return Quotas(
        units=units,
        counts=problem.counts[kinds],
        examples=problem.examples[kinds],
        sizes=np.array(problem.wanted) - problem.placed_sizes - others.T @ problem.examples,
        targets=(problem.shares - problem.counts_of(others)).T,
        lower=lower,
        upper=lower + units[:, None],
        exact=False,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Solved:
    """`quotas` is int `[kinds, splits]`; no solution costs less than `bound`."""

    quotas: np.ndarray
    bound: float


def solve(asked: Quotas, max_nodes: int | None = None) -> Solved:
    """Returns how many units of each kind go to each split.

    Args:
      asked: the order of its kinds breaks ties.
      max_nodes: of the search tree; `None` for those of `SOLVER_OPTIONS`.

    Raises:
      JobError: the solver found no solution.
    """
    import highspy  # imported here, so that reading a dataset does not need it

    solver = highspy.Highs()
    for name, value in (SOLVER_OPTIONS | ({"mip_max_nodes": max_nodes} if max_nodes else {})).items():
        solver.setOptionValue(name, value)
    solver.passModel(_program(asked).to_highs())
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        status = solver.modelStatusToString(solver.getModelStatus())
        raise JobError(f"no split found for {len(asked.units)} kinds into {tuple(asked.sizes.tolist())}: {status}")
    quotas = solver.getSolution().col_value[: asked.lower.size]
    return Solved(np.rint(quotas).astype(int).reshape(asked.lower.shape), info.mip_dual_bound)


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


def _program(asked: Quotas) -> _Program:
    """Returns the integer program.

    `x` is `[quotas | shortfalls | excesses]`. A quota is the number of units of one kind in one split. A shortfall and
    an excess belong to each count: the size of each split, then the examples of each (class, split). The cost is their
    sum, sizes weighted most.
    """
    (num_kinds, num_splits), num_classes = asked.lower.shape, asked.counts.shape[1]
    split, kind = np.arange(num_splits), np.arange(num_kinds)[:, None]
    count = np.arange(num_splits * (1 + num_classes))
    quota = num_splits * kind + split  # its column, int [kinds, splits]
    shortfall, excess = quota.size + count, quota.size + len(count) + count
    size_row, class_row = num_kinds + split, num_kinds + num_splits + split
    kind_of, label_of = np.nonzero(asked.counts)
    entries = [
        (kind, quota, 1.0),  # every unit goes to a split
        (size_row, quota, np.array(asked.examples, float)[:, None]),
        (class_row + num_splits * label_of[:, None], quota[kind_of], asked.counts[asked.counts > 0][:, None]),
        (num_kinds + count, shortfall, 1.0),
        (num_kinds + count, excess, -1.0),
    ]
    is_size = count < num_splits
    cost = np.where(is_size, SIZE_WEIGHT, 1.0)
    slack = np.where(is_size & asked.exact, 0, np.inf)
    none = np.zeros(2 * len(count))
    return _Program(
        entries=entries,
        targets=np.concatenate([np.array(asked.units, float), asked.sizes, asked.targets.ravel()]),
        cost=np.concatenate([np.zeros(quota.size), cost, cost]),
        lower=np.concatenate([asked.lower.ravel(), none]),
        upper=np.concatenate([asked.upper.ravel(), slack, slack]),
        num_whole=quota.size,
    )


def _rowwise(entries: Sequence[tuple[Any, Any, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (the start of each row, columns, values) of a sparse matrix given as in `_Program`."""
    flat = [[part.ravel() for part in np.broadcast_arrays(*entry)] for entry in entries]
    rows, columns, values = (np.concatenate(parts) for parts in zip(*flat, strict=True))
    order = np.lexsort((columns, rows))
    return np.searchsorted(rows[order], np.arange(rows.max() + 2)), columns[order], values[order]
