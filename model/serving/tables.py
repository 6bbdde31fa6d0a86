"""Tables of predictions, written row by row, so that any number of rows fits in memory."""

import contextlib
import csv
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model import runs
from pipeline.errors import InputError
from pipeline.schema import HPA_KAGGLE_2018, Schema
from pipeline.store import files

if TYPE_CHECKING:
    from model.serving.decisions import Decide  # imports Keras, which the backend must start first

Write = Callable[[Sequence[str], np.ndarray], None]


@dataclasses.dataclass(frozen=True)
class ClassTable:
    """A table of predicted classes to be written: `words` stand for the classes, with `separator` between them."""

    kind: str
    path: Path
    words: tuple[str, ...]
    separator: str


def class_tables(schema: Schema, *, by_name: Path | None = None, submission: Path | None = None) -> list[ClassTable]:
    """Returns the tables of predicted classes that were asked for: by name, and in the form of Kaggle's competition.

    Names are separated as in the label table, or by `|` if that has class ids.
    """
    separator = "|" if schema.table.numbers else schema.table.separator
    ids = tuple(str(index) for index in range(len(schema.classes)))
    tables = [ClassTable("classes", by_name, schema.classes, separator)] if by_name else []
    return tables + ([ClassTable("submission", submission, ids, " ")] if submission else [])


def check_name(path: Path) -> None:
    """Checks that a table's name ends in .csv or .parquet.

    Raises:
        InputError: another ending.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: expected a name that ends in .csv or .parquet")


def check(run: runs.Run, out: Path, by_name: Path | None, submission: Path | None) -> None:
    """Checks that the tables of probabilities and of classes can be written for the run.

    Raises:
        InputError: an unknown ending, two tables at the same path, or a submission for other classes than Kaggle's.
    """
    check_name(out)
    _check_submission(run, submission)
    given = [path.resolve() for path in (out, by_name, submission) if path]
    if double := [path for path in given if given.count(path) > 1]:
        raise InputError(f"{double[0]}: named for two tables, expected a file for each")


def _check_submission(run: runs.Run, path: Path | None) -> None:
    if path and run.schema.name != HPA_KAGGLE_2018.name:
        raise InputError(
            f"run {run.path}: a submission is for the classes of schema '{HPA_KAGGLE_2018.name}', and the run is of "
            f"'{run.schema.name}'; --classes writes the predicted classes by name"
        )


@contextlib.contextmanager
def writing(
    path: Path,
    class_names: Sequence[str],
    class_tables: Sequence[ClassTable] = (),
    decide: "Decide | None" = None,
    *,
    at_once: bool = False,
) -> Iterator[Write]:
    """Yields `write(ids, probabilities)`, which adds rows to the table of probabilities and to those of classes.

    `decide` gives the classes batch by batch or, with `at_once`, for all rows when the block ends.
    """
    with contextlib.ExitStack() as stack:
        write_probabilities = stack.enter_context(probabilities(path, class_names))
        write_classes = [stack.enter_context(predicted_classes(table)) for table in class_tables]

        def add_decisions(ids: Sequence[str], rows: np.ndarray) -> None:
            if decide:
                predicted = decide(rows)
                for add in write_classes:
                    add(ids, predicted)

        decided = stack.enter_context(_collected(add_decisions)) if at_once and write_classes else add_decisions

        def write(ids: Sequence[str], rows: np.ndarray) -> None:
            write_probabilities(ids, rows)
            decided(ids, rows)

        yield write


@contextlib.contextmanager
def _collected(write: Write) -> Iterator[Write]:
    """Yields a function that keeps the rows it is given; `write` gets all of them if the block succeeds."""
    ids: list[str] = []
    parts: list[np.ndarray] = []

    def keep(batch_ids: Sequence[str], rows: np.ndarray) -> None:
        ids.extend(batch_ids)
        parts.append(rows)

    yield keep
    if parts:
        write(ids, np.concatenate(parts))


@contextlib.contextmanager
def probabilities(path: Path, class_names: Sequence[str]) -> Iterator[Write]:
    """Yields `write(ids, probabilities)`, which adds rows: `Id` and one column for each class.

    The file appears if the block succeeds.
    """
    check_name(path)
    table = _parquet if path.suffix == ".parquet" else _csv
    with files.staged(path) as temporary, table(temporary, class_names) as write:
        yield write


@contextlib.contextmanager
def predicted_classes(table: ClassTable) -> Iterator[Write]:
    """Yields `write(ids, predicted)`, bool `[N, classes]`, which adds rows `Id,Predicted`.

    `Predicted` is empty where no class is predicted. The file appears if the block succeeds.
    """
    with files.staged(table.path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Id", "Predicted"])

        def write(ids: Sequence[str], predicted: np.ndarray) -> None:
            rows = (table.separator.join(table.words[index] for index in np.flatnonzero(row)) for row in predicted)
            writer.writerows(zip(ids, rows, strict=True))

        yield write


@contextlib.contextmanager
def _csv(path: Path, class_names: Sequence[str]) -> Iterator[Write]:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Id", *class_names])

        def write(ids: Sequence[str], rows: np.ndarray) -> None:
            # The shortest text that reads back as the same float32.
            writer.writerows([key, *map(str, row)] for key, row in zip(ids, rows.astype(np.float32), strict=True))

        yield write


@contextlib.contextmanager
def _parquet(path: Path, class_names: Sequence[str]) -> Iterator[Write]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{path}: Parquet needs pyarrow, which is not installed; .csv does without") from None
    schema = pa.schema([("Id", pa.string()), *((name, pa.float32()) for name in class_names)])
    with parquet.ParquetWriter(path, schema) as writer:

        def write(ids: Sequence[str], rows: np.ndarray) -> None:
            columns = [pa.array(list(ids), pa.string()), *(pa.array(column, pa.float32()) for column in rows.T)]
            writer.write_batch(pa.record_batch(columns, schema=schema))

        yield write
