"""The table of labels that is published beside the shards of a dataset."""

import csv
from pathlib import Path

import numpy as np

from model.data.dataset import Dataset
from pipeline.errors import InputError

_LABELS = "labels.csv"


def read_published(dataset: Dataset, split: str) -> np.ndarray | None:
    """Returns the label vectors of the split from the table of labels, in storage order: uint8 `[N, classes]`.

    `None` if the dataset has no such table, because an earlier version of the pipeline built it.

    Raises:
        InputError: the table has another number of examples of the split than the metadata, or a row without labels.
    """
    if not (dataset.path / _LABELS).exists():
        return None
    where, num_classes = f"dataset {dataset.path}: {_LABELS}", len(dataset.class_names)
    advice = f"'python -m pipeline verify {dataset.path}' lists all damage"
    try:
        rows = _rows(dataset.path / _LABELS, split)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{where} cannot be read ({type(error).__name__}); {advice}") from None
    if len(rows) != dataset.num_examples[split]:
        raise InputError(
            f"{where} has {len(rows)} examples of {split}, expected {dataset.num_examples[split]}; {advice}"
        )
    ids = {str(label): label for label in range(num_classes)}
    vectors = np.zeros((len(rows), num_classes), np.uint8)
    for number, text in enumerate(rows):
        found = [ids.get(label, -1) for label in (text or "").split(" ")]
        if -1 in found:
            raise InputError(
                f"{where}: example {number} of {split} has labels {text!r}, expected class ids 0..{num_classes - 1}; {advice}"
            )
        vectors[number, found] = 1
    return vectors


def _rows(path: Path, split: str) -> list[str | None]:
    """Returns the labels of each example of the split, as they stand in the table."""
    with open(path, newline="", encoding="utf-8") as file:
        return [row.get("Labels") for row in csv.DictReader(file) if row.get("Split") == split]
