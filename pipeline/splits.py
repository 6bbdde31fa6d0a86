"""Which split does each example belong to?

Exact stratified assignment. Examples with the same label set are interchangeable, so what has to be decided
is only how many of each *kind* go to each split: a small integer program, solved exactly (HiGHS through
`scipy.optimize.milp`), in place of the greedy rounding of iterative stratification (Sechidis et al. 2011).
Which examples then fill a kind's quota is decided by a salted hash of the id. Nothing depends on the order of
the rows.

With groups (near-duplicates, fields of one well) the interchangeable things are whole groups with the same
multiset of label sets, so a group never crosses a split.
"""

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import InputError, JobError
from pipeline.manifest import Example
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
    counts = _solve(keys, [len(kinds[key]) for key in keys], sizes)
    of: dict[str, str] = {}
    for key, row in zip(keys, counts, strict=True):
        units = iter(kinds[key])
        for split, quota in zip(SPLITS, row, strict=True):
            for _ in range(quota):
                of.update(dict.fromkeys(next(units), split))
    return _summarise(examples, of)


def _check_sizes(sizes: tuple[int, ...], num_examples: int) -> None:
    if len(sizes) != len(SPLITS) or min(sizes) < 0 or sum(sizes) != num_examples or sizes[0] == 0:
        raise InputError(
            f"split sizes {','.join(map(str, sizes))} add up to {sum(sizes)}, expected three whole numbers "
            f"(train above 0) that add up to the {num_examples} examples of the label table"
        )


def _kinds(examples: Sequence[Example], groups: Mapping[str, str], seed: int) -> dict[Kind, list[list[str]]]:
    """Returns the units (lists of ids) of each kind, in the order in which they fill the splits."""
    members: dict[tuple[bool, str], list[Example]] = defaultdict(list)
    for example in examples:
        group = groups.get(example.id)
        members[(group is not None, example.id if group is None else group)].append(example)
    kinds: dict[Kind, list[tuple[bytes, list[str]]]] = defaultdict(list)
    for (_, name), unit in members.items():
        kind = tuple(sorted(example.labels for example in unit))
        kinds[kind].append((_hash(seed, "split", name), sorted(example.id for example in unit)))
    return {kind: [ids for _, ids in sorted(units)] for kind, units in kinds.items()}


def _hash(seed: int, purpose: str, name: str) -> bytes:
    # Salted with its purpose, so that the order within a shard says nothing about the split.
    return hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()


def _solve(kinds: Sequence[Kind], num_units: Sequence[int], sizes: tuple[int, ...]) -> np.ndarray:
    """Returns int `[kinds, 3]`: how many units of each kind go to each split.

    Minimises, in this order of weight, how far split sizes miss, and how far the count of each class in each
    split lies from its exact share. Each kind's own quota stays within one of its exact share, which also
    keeps label *sets* stratified. For single examples a solution with exact sizes always exists: it is a
    transport problem with integral bounds.
    """
    from scipy import optimize, sparse  # half a second to import, and `--help` should not wait for it

    units = np.array(num_units, float)
    per_kind = np.array([len(kind) for kind in kinds], float)  # examples in a unit
    classes = np.zeros((len(kinds), NUM_CLASSES))
    for row, kind in enumerate(kinds):
        for label in (label for labels in kind for label in labels):
            classes[row, label] += 1
    share = np.array(sizes) / sum(sizes)
    exact = units[:, None] * share
    num_splits = len(sizes)

    # x = [whole numbers per (kind, split) | size misses per split | class misses per (class, split)]
    num_x, num_s, num_c = len(kinds) * num_splits, num_splits, NUM_CLASSES * num_splits
    per_split = sparse.identity(num_splits)
    all_placed = sparse.kron(sparse.identity(len(kinds)), np.ones((1, num_splits)))
    size_of = sparse.kron(per_kind[None, :], per_split)
    class_of = sparse.kron(classes.T, per_split)

    def within(matrix: sparse.spmatrix, target: np.ndarray, slack: sparse.spmatrix) -> list:
        # |matrix @ x - target| <= slack @ x, as two one-sided constraints
        return [
            optimize.LinearConstraint(sparse.csr_matrix(sparse.hstack([matrix, -slack])), -np.inf, target),
            optimize.LinearConstraint(sparse.csr_matrix(sparse.hstack([matrix, slack])), target, np.inf),
        ]

    nothing = sparse.csr_matrix
    constraints = [
        optimize.LinearConstraint(
            sparse.csr_matrix(sparse.hstack([all_placed, nothing((len(kinds), num_s + num_c))])), units, units
        ),
        *within(
            size_of,
            np.array(sizes, float),
            sparse.hstack([sparse.identity(num_s), nothing((num_s, num_c))]),
        ),
        *within(
            class_of,
            ((units @ classes)[:, None] * share).ravel(),
            sparse.hstack([nothing((num_c, num_s)), sparse.identity(num_c)]),
        ),
    ]
    grouped = bool((per_kind > 1).any())
    result = optimize.milp(
        c=np.concatenate([np.zeros(num_x), np.full(num_s, 1e3), np.ones(num_c)]),
        integrality=np.concatenate([np.ones(num_x), np.zeros(num_s + num_c)]),
        bounds=optimize.Bounds(
            np.concatenate([np.floor(exact + 1e-9).ravel(), np.zeros(num_s + num_c)]),
            np.concatenate(
                [np.ceil(exact - 1e-9).ravel(), np.full(num_s, np.inf if grouped else 0), np.full(num_c, np.inf)]
            ),
        ),
        constraints=constraints,
        # A limit on nodes, not on seconds: the answer must not depend on how busy the machine is.
        options={"node_limit": 2000, "mip_rel_gap": 1e-3},
    )
    if result.x is None:
        raise JobError(f"no split found for {len(kinds)} kinds into {sizes}: {result.message}")
    return np.rint(result.x[:num_x]).astype(int).reshape(len(kinds), num_splits)


def _summarise(examples: Sequence[Example], of: Mapping[str, str]) -> Splits:
    counts = np.zeros((len(SPLITS), NUM_CLASSES), int)
    sizes = Counter(of.values())
    row = {split: k for k, split in enumerate(SPLITS)}
    for example in examples:
        counts[row[of[example.id]], list(example.labels)] += 1
    final = tuple(sizes[split] for split in SPLITS)
    shares = counts.sum(axis=0) * np.array(final)[:, None] / sum(final)
    return Splits(of, final, counts, shares)
