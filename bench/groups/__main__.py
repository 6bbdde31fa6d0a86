"""Splits of tables with groups, and of tables that grow, compared with other splitters; prints Markdown tables.

python -m bench.groups                                   # four drawn tables
python -m bench.groups --cells mitocheck/cells.csv       # nuclei, grouped by plate
python -m bench.groups --growth hpa_train_labels.csv     # a real label table that grows
"""

import csv
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.groups import tables
from bench.groups.tables import Table
from pipeline.plan import compare, splits
from pipeline.plan.table import Example, read_labels

TABLES: dict[str, Callable[[], Table]] = {
    "12,815 antibodies": lambda: tables.by_group(12_815, 74_606),
    "1,392 plates": lambda: tables.by_plate(1_392, 74_606),
    "1,392 mixed plates": lambda: tables.by_mixed_plate(1_392, 74_606),
    "1,000,000 rows in groups of 1 to 20": lambda: tables.uniform(1_000_000),
}

ROWS_FOR_OTHERS = 100_000
"""Larger tables are not given to the other splitters."""

Split = tuple[np.ndarray, np.ndarray]
"""Examples of each class in each split, int `[3, classes]`, and of each split, int `[3]`."""


def stratified_groups(counts: np.ndarray, sizes: np.ndarray, table: Table) -> Split:
    """scikit-learn's `StratifiedGroupKFold`, which takes one label per row: here the rarest.

    Of 31 folds, 24 are train, 3 dev and 4 test.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    frequent = counts.sum(axis=0)
    rarest = np.array([min(example.labels, key=lambda label: frequent[label]) for example in table.examples])
    groups = [table.groups[example.id] for example in table.examples]
    part = np.zeros(len(rarest), int)
    folds = StratifiedGroupKFold(31, shuffle=True, random_state=0).split(np.zeros(len(rarest)), rarest, groups)
    for number, (_, fold) in enumerate(folds):
        part[fold] = 0 if number < 24 else 1 if number < 27 else 2
    every = np.zeros((3, counts.shape[1]), int)
    for example, split in zip(table.examples, part.tolist(), strict=True):
        every[split, list(example.labels)] += 1
    return every, np.bincount(part, minlength=3)


def methods(table: Table, num_classes: int) -> Iterator[tuple[str, float, Split, splits.Splits]]:
    """Yields (method, CPU seconds, its split, our split) of each method, ours first."""
    began = time.process_time()
    ours = splits.assign(
        table.examples, groups=table.groups, class_names=tuple(f"class {label}" for label in range(num_classes))
    )
    yield "this project", time.process_time() - began, (ours.counts, np.array(ours.sizes)), ours
    if len(table.examples) > ROWS_FOR_OTHERS:
        return
    counts, sizes = compare.group_counts(table.examples, table.groups, num_classes)
    began = time.process_time()
    others = compare.others(table.examples, table.groups, ours.wanted, num_classes, 0)
    seconds = time.process_time() - began  # the random split takes almost none of it
    for other in others:
        yield (
            other.name,
            seconds if other.name == "iterative-stratification" else 0.0,
            (other.counts, other.sizes),
            ours,
        )
    yield "StratifiedGroupKFold", *_timed(lambda: stratified_groups(counts, sizes, table)), ours


def _timed(split: Callable[[], Split]) -> tuple[float, Split]:
    began = time.process_time()
    found = split()
    return time.process_time() - began, found


def show(name: str, table: Table, num_classes: int = 28) -> None:
    """Prints a row for each method."""
    for method, seconds, (counts, sizes), ours in methods(table, num_classes):
        other = compare.Other(method, counts, sizes)
        total, largest = other.deviation(ours.wanted)
        times = f"{total / ours.bound:.2f}"
        off = int(np.abs(sizes - ours.wanted).sum())
        absent = other.num_absent(ours.wanted)
        click.echo(
            f"| {name} | {method} | {total:.2f} | {ours.bound:.2f} | {times} | {largest:.2f} | {off} | {absent} "
            f"| {seconds:.1f} |"
        )


def cells(path: Path) -> tuple[Table, int]:
    """Returns the nuclei of a table with columns file, phenotype and plate, by plate, and the number of classes."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    number = {name: k for k, name in enumerate(sorted({row["phenotype"] for row in rows}))}
    examples = [Example(row["file"], (number[row["phenotype"]],)) for row in rows]
    return Table(examples, {row["file"]: row["plate"] for row in rows}), len(number)


def growth(path: Path) -> None:
    """Prints two rows for each change of a label table: earlier splits kept, and split anew."""
    examples = read_labels(path)
    earlier = splits.assign(examples).of
    new = tables.by_group(1_000, 5_820, seed=1)
    changes: dict[str, tuple[list[Example], dict[str, str]]] = {
        "500 rows more": (examples + new.examples[:500], {}),
        "10 rows fewer": (examples[10:], {}),
        "1,000 groups more (5,820 rows)": (examples + new.examples, new.groups),
    }
    for name, (grown, groups) in changes.items():
        for kind, kept in (("kept", earlier), ("split anew", None)):
            click.echo(_growth_row(name, kind, splits.assign(grown, groups=groups, earlier=kept), earlier))


def _growth_row(name: str, kind: str, found: splits.Splits, earlier: Mapping[str, str]) -> str:
    moved = [i for i, split in earlier.items() if found.of.get(i, split) != split]
    leaked = sum(earlier[i] == "test" and found.of[i] == "train" for i in moved)
    cells: list[Any] = [name, kind, len(moved), leaked, f"{found.deviation:.2f}", f"{found.bound:.2f}"]
    cells += [f"{found.worst()[0]:.2f}", found.size_deviation]
    return "| " + " | ".join(map(str, cells)) + " |"


@click.command()
@click.option("--cells", "cells_path", type=click.Path(path_type=Path, exists=True), help="Table of nuclei by plate.")
@click.option("--growth", "growth_path", type=click.Path(path_type=Path, exists=True), help="Label table that grows.")
def main(cells_path: Path | None, growth_path: Path | None) -> None:
    """Split tables with groups by this project and by others."""
    if growth_path:
        click.echo("| change | | moved | from test to train | sum of deviations | bound | largest | sizes off |")
        click.echo("|---|---|---|---|---|---|---|---|")
        growth(growth_path)
        return
    click.echo("| table | method | sum of deviations | bound | ratio | largest | sizes off | classes absent | CPU s |")
    click.echo("|---|---|---|---|---|---|---|---|---|")
    if cells_path:
        table, num_classes = cells(cells_path)
        show("mitocheck by plate", table, num_classes)
        return
    for name, draw in TABLES.items():
        show(name, draw())


if __name__ == "__main__":
    main()
