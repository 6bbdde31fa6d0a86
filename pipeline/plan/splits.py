"""Which split does each example belong to?

Exact stratified assignment. Examples with the same label set are interchangeable, so what has to be decided
is only how many of each *kind* go to each split: a small integer program, solved exactly by HiGHS, in place of
the greedy rounding of iterative stratification (Sechidis et al. 2011). Many splits are equally good, and another
version of HiGHS may find another one: `setup.cfg` asks for one version. Which examples then fill a kind's quota is
decided by a salted hash of the id. Nothing depends on the order of the rows.

With groups (near-duplicates, fields of one well) the interchangeable things are whole groups with the same
multiset of label sets, so a group never crosses a split.
"""

import dataclasses
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.errors import InputError, JobError
from pipeline.plan.manifest import Example
from pipeline.schema import CLASS_NAMES, NUM_CLASSES, SPLITS

PAPER_SIZES = (24_000, 3_000, 4_072)
"""Sizes of train, dev and test in the report that the project follows (Mylavarapu 2020, section 4.3)."""

Kind = tuple[tuple[int, ...], ...]  # the label sets of a unit (an example or a group), ascending


@dataclasses.dataclass(frozen=True)
class Splits:
    """`of` maps id to split; `counts` is int `[3, 28]`, `shares` the exact (fractional) shares, same shape."""

    of: Mapping[str, str]
    sizes: tuple[int, ...]
    counts: np.ndarray
    shares: np.ndarray

    def worst(self) -> tuple[float, str, str]:
        """Returns (examples off the exact share, class name, split) where it is largest."""
        off = np.abs(self.counts - self.shares)
        split, label = np.unravel_index(off.argmax(), off.shape)
        return float(off[split, label]), CLASS_NAMES[label], SPLITS[split]

    def report(self) -> str:
        """Returns a table: one line per class with its count in each split, and the largest deviation."""
        lines = [f"{'class':<34}" + "".join(f"{split:>8}" for split in SPLITS)]
        for label, name in enumerate(CLASS_NAMES):
            lines.append(f"{label:>2} {name:<31}" + "".join(f"{n:>8}" for n in self.counts[:, label]))
        lines.append(f"{'examples':<34}" + "".join(f"{n:>8}" for n in self.sizes))
        off, name, split = self.worst()
        lines.append(f"largest deviation from the exact share: {off:.2f} examples ({name} in {split})")
        absent = [
            name
            for label, name in enumerate(CLASS_NAMES)
            if self.counts[:, label].sum() > 0 and not self.counts[:, label].all()
        ]
        if absent:
            lines.append(f"too rare to stand in every split: {', '.join(absent)}")
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
) -> Splits:
    """Assigns every example to train, dev or test.

    Sizes are met to the example (with groups: as nearly as whole groups allow), and the counts of each class
    in each split are as near their exact share as whole numbers allow.

    Args:
      examples: with unique ids.
      sizes: examples in train, dev, test; `None` for the paper's proportions.
      seed: another seed, another assignment of the same quality.
      groups: `{id: group}`; ids that are not in it stand alone.

    Raises:
      InputError: sizes that are not three whole numbers that add up to the number of examples.
    """
    sizes = tuple(sizes) if sizes is not None else proportional_sizes(len(examples))
    _check_sizes(sizes, len(examples))
    kinds = _kinds(examples, groups or {}, seed)
    keys = sorted(kinds, key=lambda kind: _hash(seed, "kind", repr(kind)))
    classes = _count_classes(keys)
    quotas = _solve(keys, classes, [len(kinds[key]) for key in keys], sizes)
    of: dict[str, str] = {}
    for key, row in zip(keys, quotas, strict=True):
        units = iter(kinds[key])
        for split, quota in zip(SPLITS, row, strict=True):
            for ids in itertools.islice(units, quota):
                of.update(dict.fromkeys(ids, split))
    found = quotas.T @ [len(key) for key in keys]
    counts = quotas.T @ classes
    return Splits(of, tuple(found.tolist()), counts, counts.sum(axis=0) * found[:, None] / found.sum())


def _check_sizes(sizes: tuple[int, ...], num_examples: int) -> None:
    if len(sizes) != len(SPLITS) or min(sizes) < 0 or sum(sizes) != num_examples or sizes[0] == 0:
        raise InputError(
            f"split sizes {','.join(map(str, sizes))} add up to {sum(sizes)}, expected three whole numbers "
            f"(train above 0) that add up to the {num_examples} examples of the label table"
        )


def _kinds(examples: Sequence[Example], groups: Mapping[str, str], seed: int) -> dict[Kind, list[tuple[str, ...]]]:
    """Returns the units (their ids) of each kind, in the order in which they fill the splits."""
    kinds: dict[Kind, list[tuple[bytes, tuple[str, ...]]]] = defaultdict(list)
    members: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if example.id in groups:
            members[groups[example.id]].append(example)
        else:
            kinds[(example.labels,)].append((_hash(seed, "split", example.id), (example.id,)))
    for name, unit in members.items():
        kind = tuple(sorted(example.labels for example in unit))
        kinds[kind].append((_hash(seed, "split", name), tuple(sorted(example.id for example in unit))))
    return {kind: [ids for _, ids in sorted(units)] for kind, units in kinds.items()}


def _count_classes(kinds: Sequence[Kind]) -> np.ndarray:
    """Returns int `[kinds, 28]`: how often each class stands in a unit of each kind."""
    classes = np.zeros((len(kinds), NUM_CLASSES), int)
    for row, kind in enumerate(kinds):
        for label in itertools.chain(*kind):
            classes[row, label] += 1
    return classes


def _hash(seed: int, purpose: str, name: str) -> bytes:
    # Salted with its purpose, so that the order within a shard says nothing about the split.
    return hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()


def _solve(kinds: Sequence[Kind], classes: np.ndarray, num_units: Sequence[int], sizes: tuple[int, ...]) -> np.ndarray:
    """Returns int `[kinds, 3]`: how many units of each kind go to each split.

    Minimises, in this order of weight, how far split sizes miss, and how far the count of each class in each
    split lies from its exact share. Each kind's own quota stays within one of its exact share, which also
    keeps label *sets* stratified. For single examples a solution with exact sizes always exists: it is a
    transport problem with integral bounds.
    """
    import highspy  # only here: to read a dataset one must not need it

    units = np.array(num_units, float)
    per_kind = np.array([len(kind) for kind in kinds], float)  # examples in a unit
    share = np.array(sizes) / sum(sizes)
    exact = units[:, None] * share
    class_share = (units @ classes)[:, None] * share

    # x = [whole numbers per (kind, split) | what each count is short of its target | what it is over it],
    # counts being the size of each split, then those of each (class, split).
    num_splits, num_counts = len(sizes), len(sizes) * (1 + NUM_CLASSES)
    split, row = np.arange(num_splits), np.arange(len(kinds))[:, None]
    quota = num_splits * row + split  # columns, int [kinds, splits]
    num_x = quota.size
    count = len(kinds) + np.arange(num_counts)  # rows
    kind_of, label_of = np.nonzero(classes)
    matrix = _rowwise(
        [
            (row, quota, 1.0),  # every unit stands in some split
            (len(kinds) + split, quota, per_kind[:, None]),
            (len(kinds) + num_splits * (1 + label_of[:, None]) + split, quota[kind_of], classes[classes > 0][:, None]),
            (count, num_x + np.arange(num_counts), 1.0),
            (count, num_x + num_counts + np.arange(num_counts), -1.0),
        ]
    )
    targets = np.concatenate([units, sizes, class_share.ravel()])
    grouped = bool((per_kind > 1).any())
    weight = np.full(num_counts, 1.0)
    weight[:num_splits] = 1e3
    most = np.full(num_counts, np.inf)
    most[:num_splits] = np.inf if grouped else 0

    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = num_x + 2 * num_counts, len(targets)
    program.col_cost_ = np.concatenate([np.zeros(num_x), weight, weight])
    program.col_lower_ = np.concatenate([np.floor(exact + 1e-9).ravel(), np.zeros(2 * num_counts)])
    program.col_upper_ = np.concatenate([np.ceil(exact - 1e-9).ravel(), most, most])
    program.row_lower_ = program.row_upper_ = targets
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_, program.a_matrix_.index_, program.a_matrix_.value_ = matrix
    whole, real = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    program.integrality_ = [whole] * num_x + [real] * (2 * num_counts)
    solver = highspy.Highs()
    # A limit on nodes, not on seconds: the answer must not depend on how busy the machine is.
    options = {"output_flag": False, "threads": 1, "mip_max_nodes": 2000, "mip_rel_gap": 1e-3}
    for name, value in options.items():
        solver.setOptionValue(name, value)
    solver.passModel(program)
    solver.run()
    if solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        status = solver.modelStatusToString(solver.getModelStatus())
        raise JobError(f"no split found for {len(kinds)} kinds into {sizes}: {status}")
    return np.rint(solver.getSolution().col_value[:num_x]).astype(int).reshape(len(kinds), num_splits)


def _rowwise(parts: Sequence[tuple[Any, Any, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (where each row starts, columns, values) of a sparse matrix given as (rows, columns, values)."""
    flat = [[one.ravel() for one in np.broadcast_arrays(*part)] for part in parts]
    rows, columns, values = (np.concatenate(one) for one in zip(*flat, strict=True))
    order = np.lexsort((columns, rows))
    return np.searchsorted(rows[order], np.arange(rows.max() + 2)), columns[order], values[order]
