"""Cross-validation: several splits of one label table, with each example in test exactly once."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import InputError
from pipeline.plan import kept, splits
from pipeline.plan.splits import PAPER_SIZES, Splits
from pipeline.plan.table import Example
from pipeline.schema import HPA_KAGGLE_2018, SPLITS
from pipeline.store.files import Place


@dataclasses.dataclass(frozen=True)
class Folds:
    """Several splits of one label table.

    Attributes:
      parts: all examples divided into one part for each fold, which is its test.
      of: for each fold `{id: train, dev or test}`, of all examples.
      counts: int `[folds, 3, classes]`, examples of each class in train, dev and test.
      sizes: int `[folds, 3]`, examples in train, dev and test.
    """

    parts: Splits
    of: tuple[Mapping[str, str], ...]
    counts: np.ndarray
    sizes: np.ndarray

    def report(self) -> str:
        """Returns the counts of each class in each part, the sizes of each fold, and a warning for absent classes."""
        lines = [self.parts.report(), "", f"{'':<8}" + "".join(f"{name:>8}" for name in SPLITS)]
        lines += [
            f"{name:<8}" + "".join(f"{size:>8}" for size in sizes)
            for name, sizes in zip(self.parts.names, self.sizes.tolist(), strict=True)
        ]
        return "\n".join([*lines, *self.absent()])

    def absent(self) -> list[str]:
        """Returns a warning for each split (train, dev or test) of a fold that lacks classes."""
        lines = []
        for name, counts in zip(self.parts.names, self.counts, strict=True):
            for split, row in zip(SPLITS, counts, strict=True):
                missing = np.flatnonzero((row == 0) & (self.parts.carriers > 0))
                if len(missing):
                    names = ", ".join(self.parts.class_names[label] for label in missing.tolist())
                    lines.append(f"warning: {name} has no example in {split} of {names}")
        return lines

    def write(self, folder: Place) -> list[Place]:
        """Writes the split of each fold as `fold-<number>.csv` with the columns Id,Split; returns the files."""
        paths = [folder / f"{name}.csv" for name in self.parts.names]
        for path, of in zip(paths, self.of, strict=True):
            kept.write(path, of)
        return paths


def assign(
    examples: Sequence[Example],
    num: int,
    *,
    seed: int = 0,
    groups: Mapping[str, str] | None = None,
    class_names: Sequence[str] = HPA_KAGGLE_2018.classes,
) -> Folds:
    """Returns `num` splits by `splits.assign`: in fold k, part k of all examples is test, and the rest train and dev.

    Parts have equal sizes, and dev is to train as in the paper; with groups, as nearly as whole groups allow.

    Args:
      examples: with unique ids.
      num: how many folds, two or more.
      seed: changes the assignment, not its quality.
      groups: `{id: group}`; an id that is not in it is a group of its own.
      class_names: names of the classes of the labels.

    Raises:
      InputError: fewer groups than folds, or a fold without train, dev or test.
      JobError: the solver found no solution.
    """
    groups = groups or {}
    _check_num(examples, num, groups)
    names = tuple(f"fold-{k}" for k in range(num))
    sizes = [len(examples) // num + (k < len(examples) % num) for k in range(num)]
    parts = splits.assign(examples, sizes, seed=seed, groups=groups, class_names=class_names, names=names)
    of = tuple(_fold(examples, parts, k, seed, groups) for k in range(num))
    number = {split: k for k, split in enumerate(SPLITS)}
    counts = np.zeros((num, len(SPLITS), len(class_names)), int)
    sizes_of = np.zeros((num, len(SPLITS)), int)
    for k, fold in enumerate(of):
        for example in examples:
            counts[k, number[fold[example.id]], list(example.labels)] += 1
            sizes_of[k, number[fold[example.id]]] += 1
    _check_sizes(sizes_of, names)
    return Folds(parts, of, counts, sizes_of)


def _fold(examples: Sequence[Example], parts: Splits, k: int, seed: int, groups: Mapping[str, str]) -> dict[str, str]:
    """Returns `{id: split}` of fold k."""
    rest = [example for example in examples if parts.of[example.id] != parts.names[k]]
    if len(rest) < 2:  # refused below: too few for train and dev
        return {example.id: SPLITS[0] if example in rest else SPLITS[2] for example in examples}
    num_dev = max(1, round(len(rest) * PAPER_SIZES[1] / sum(PAPER_SIZES[:2])))
    divided = splits.assign(
        rest,
        (len(rest) - num_dev, num_dev),
        # With one seed, the same examples would be in dev of every fold.
        seed=seed + k + 1,
        groups=groups,
        class_names=parts.class_names,
        names=SPLITS[:2],
    )
    return {example.id: divided.of.get(example.id, SPLITS[2]) for example in examples}


def _check_num(examples: Sequence[Example], num: int, groups: Mapping[str, str]) -> None:
    num_groups = len({(example.id in groups, groups.get(example.id, example.id)) for example in examples})
    if num_groups < max(num, len(SPLITS)):  # with two folds, the other part is train and dev
        what = "groups" if groups else "examples"
        raise InputError(
            f"{num} folds of {num_groups} {what}: a fold needs at least one for test, and others for train and dev; "
            f"choose at most {num_groups} folds, and label at least {len(SPLITS)} {what}"
        )


def _check_sizes(sizes: np.ndarray, names: Sequence[str]) -> None:
    for name, row in zip(names, sizes, strict=True):
        if not row.all():
            empty = " or ".join(split for split, size in zip(SPLITS, row, strict=True) if not size)
            raise InputError(
                f"{len(names)} folds: {name} has no example in {empty}, because whole groups are too large for it; "
                "choose fewer folds, or smaller groups"
            )
