"""Contenders of the section `plan`: each splits a label table into train, dev and test.

python -m bench.planners NAME LABELS --num 31072
"""

import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

PARTS = (24_000, 3_000, 4_072)
"""Examples in train, dev and test, out of 31,072."""


def examples(labels: Path, num: int) -> list[tuple[str, tuple[int, ...]]]:
    """Returns (id, labels) of `num` rows: the table, repeated under other ids."""
    from pipeline.plan import table

    once = table.read_labels(labels)
    return [(f"{once[k % len(once)].id}-{k // len(once)}", once[k % len(once)].labels) for k in range(num)]


def vectors(table: list[tuple[str, tuple[int, ...]]]) -> np.ndarray:
    """Returns label vectors, uint8 `[N, 28]`."""
    matrix = np.zeros((len(table), 28), np.uint8)
    for row, (_, labels) in zip(matrix, table, strict=True):
        row[list(labels)] = 1
    return matrix


def ours(table: list[tuple[str, tuple[int, ...]]]) -> tuple[float, np.ndarray]:
    """Splits and plans shards, as a build does; the other contenders only split.

    Returns (seconds, int `[N]`: 0, 1, 2 for train, dev, test), like every planner.
    """
    from pipeline.plan import shards, splits
    from pipeline.plan.table import Example

    rows = [Example(example_id, labels) for example_id, labels in table]
    importlib.import_module("highspy")  # the others' libraries are also imported before the clock starts
    began = time.perf_counter()
    assigned = splits.assign(rows)
    shards.plan(rows, assigned.of, size=256)
    seconds = time.perf_counter() - began
    return seconds, np.array([("train", "dev", "test").index(assigned.of[example_id]) for example_id, _ in table])


def iterstrat(table: list[tuple[str, tuple[int, ...]]]) -> tuple[float, np.ndarray]:
    """`iterative-stratification`: splits off dev and test together, then one from the other."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    labels = vectors(table)
    part = np.zeros(len(labels), int)
    held, test = (PARTS[1] + PARTS[2]) / sum(PARTS), PARTS[2] / (PARTS[1] + PARTS[2])
    began = time.perf_counter()
    _, rest = next(MultilabelStratifiedShuffleSplit(1, test_size=held, random_state=0).split(labels, labels))
    dev, last = next(MultilabelStratifiedShuffleSplit(1, test_size=test, random_state=0).split(rest, labels[rest]))
    part[rest[dev]], part[rest[last]] = 1, 2
    return time.perf_counter() - began, part


def skmultilearn(table: list[tuple[str, tuple[int, ...]]]) -> tuple[float, np.ndarray]:
    """`scikit-multilearn`'s iterative stratification, with three folds of the wanted sizes."""
    from skmultilearn.model_selection import IterativeStratification

    labels = vectors(table).astype(int)
    part = np.zeros(len(labels), int)
    began = time.perf_counter()
    folds = IterativeStratification(
        n_splits=3, order=1, sample_distribution_per_fold=[part_size / sum(PARTS) for part_size in PARTS]
    )
    for number, (_, fold) in enumerate(folds.split(np.zeros((len(labels), 1)), labels)):
        part[fold] = number
    return time.perf_counter() - began, part


PLANNERS: dict[str, Callable[[list[tuple[str, tuple[int, ...]]]], tuple[float, np.ndarray]]] = {
    "ours": ours,
    "iterative-stratification": iterstrat,
    "scikit-multilearn": skmultilearn,
}


def worst(labels: np.ndarray, part: np.ndarray) -> tuple[float, int]:
    """Returns how many examples the worst class, and the worst split, are off their exact share."""
    shares = np.array(PARTS) / sum(PARTS)
    counts = np.stack([labels[part == k].sum(axis=0, dtype=np.int64) for k in range(3)])
    classes = np.abs(counts - shares[:, None] * labels.sum(axis=0, dtype=np.int64)).max()
    sizes = np.abs(np.bincount(part, minlength=3) - shares * len(part)).max()
    return float(classes), round(sizes)


@click.command()
@click.argument("name", type=click.Choice(list(PLANNERS)))
@click.argument("labels", type=click.Path(path_type=Path, exists=True))
@click.option("--num", default=31_072, show_default=True)
def main(name: str, labels: Path, num: int) -> None:
    """Split NUM rows of the table LABELS with the contender NAME; print its seconds and how even the split is."""
    table = examples(labels, num)
    seconds, part = PLANNERS[name](table)
    classes, sizes = worst(vectors(table), part)
    print(json.dumps({"seconds": seconds, "worst_class": classes, "worst_size": sizes}))


if __name__ == "__main__":
    main()
