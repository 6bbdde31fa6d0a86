"""Tables of predictions, written row by row, so that any number of rows fits in memory."""

import contextlib
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from model import runs
from model.serving.decisions import Decide
from pipeline.errors import InputError
from pipeline.schema import HPA_KAGGLE_2018
from pipeline.store import files

Write = Callable[[Sequence[str], np.ndarray], None]


def check_name(path: Path) -> None:
    """Checks that a table's name says CSV or Parquet.

    Raises:
        InputError: another ending.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: expected a name that ends in .csv or .parquet")


def check_submission(run: runs.Run, path: Path | None) -> None:
    """Checks that the run predicts the classes of Kaggle's competition, if a submission is to be written to `path`.

    Raises:
        InputError: it is of another schema.
    """
    if path and run.schema.name != HPA_KAGGLE_2018.name:
        raise InputError(
            f"run {run.path}: a submission is for the classes of schema '{HPA_KAGGLE_2018.name}', and the run is of "
            f"'{run.schema.name}'; leave out --submission: the table of probabilities has every class"
        )


@contextlib.contextmanager
def writing(
    path: Path,
    class_names: Sequence[str],
    submission_path: Path | None = None,
    decide: Decide | None = None,
    *,
    at_once: bool = False,
) -> Iterator[Write]:
    """Yields `write(ids, probabilities)`, which adds rows to the table of probabilities and to the submission, if any.

    `decide` gives the classes of the submission, batch by batch, or `at_once` for all rows when the block ends.
    """
    with contextlib.ExitStack() as stack:
        write_probabilities = stack.enter_context(probabilities(path, class_names))
        write_classes = stack.enter_context(submission(submission_path)) if submission_path else None

        def add_decisions(ids: Sequence[str], rows: np.ndarray) -> None:
            if write_classes and decide:
                write_classes(ids, decide(rows))

        decided = stack.enter_context(_collected(add_decisions)) if at_once and write_classes else add_decisions

        def write(ids: Sequence[str], rows: np.ndarray) -> None:
            write_probabilities(ids, rows)
            decided(ids, rows)

        yield write


@contextlib.contextmanager
def _collected(write: Write) -> Iterator[Write]:
    """Yields a function that keeps the rows it is given; `write` gets all of them when the block ends well."""
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

    The file appears when the block ends well.
    """
    check_name(path)
    table = _parquet if path.suffix == ".parquet" else _csv
    with files.staged(path) as temporary, table(temporary, class_names) as write:
        yield write


@contextlib.contextmanager
def submission(path: Path) -> Iterator[Write]:
    """Yields `write(ids, predicted)`, bool `[N, classes]`, which adds rows in Kaggle's form: `Id,Predicted`.

    `Predicted` is the class ids with spaces between them; empty where no class is predicted.
    """
    with files.staged(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Id", "Predicted"])

        def write(ids: Sequence[str], predicted: np.ndarray) -> None:
            rows = (" ".join(map(str, np.flatnonzero(row))) for row in predicted)
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
