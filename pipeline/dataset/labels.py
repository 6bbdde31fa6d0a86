"""The table of labels beside the shards: a row for each record, in the order of the records.

It gives the labels of a split without reading its images.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.dataset.metadata import by_split
from pipeline.store import files
from pipeline.write.reports import ShardReport
from pipeline.write.tasks import Task

HEADER = "Id,Split,Labels\n"


def line(example_id: str, split: str, labels: Iterable[int]) -> str:
    """Returns the row of an example; ids need no quotes (`images.names`)."""
    return f"{example_id},{split},{' '.join(map(str, labels))}\n"


def write(path: Path, tasks: Sequence[Task], reports: Sequence[ShardReport]) -> None:
    """Writes the table of all examples that were written, split by split."""
    labels = {example.id: sorted(example.labels) for task in tasks for example in task.plan.examples}
    with files.replacing(path) as file:
        file.write(HEADER.encode())
        for split, mine in by_split(tasks, reports).items():
            for report in mine:
                file.write("".join(line(i, split, labels[i]) for i in report.ids).encode())


class Digest:
    """The SHA-256 of the table of the records added so far; they are added split by split."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(HEADER.encode())

    def add(self, example_id: str, split: str, labels: Iterable[int]) -> None:
        """Adds the next record."""
        self._digest.update(line(example_id, split, labels).encode())

    def hexdigest(self) -> str:
        """Returns the digest of the table so far."""
        return self._digest.hexdigest()
