"""The tables and metadata that are published beside the shards of a dataset."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from model.data.channels import protein
from model.data.dataset import Dataset
from pipeline.errors import InputError
from pipeline.plan import grouping

_LABELS = "labels.csv"


def describe(dataset: Dataset, num_grouped: int) -> dict[str, Any]:
    """Returns the dataset's card as plain values; of the quarantine table the first 100 rows."""
    metadata = _metadata(dataset)
    return {
        "path": str(dataset.path),
        "fingerprint": dataset.fingerprint,
        "synthetic": dataset.synthetic,
        "size": dataset.size,
        "channels": list(dataset.channels),
        "class_names": list(dataset.class_names),
        "schema": dataset.schema.name,
        "single_label": dataset.schema.single_label,
        "max_value": dataset.schema.max_value,
        "stains": dataset.schema.stains,
        "protein": protein(dataset.schema),
        "colours": {channel.name: channel.colour for channel in dataset.schema.channels},
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "num_examples": dataset.num_examples,
        "label_counts": metadata.get("label_counts", {}),
        "seed": metadata.get("seed"),
        "dataset_version": metadata.get("dataset_version"),
        "num_quarantined": metadata.get("num_quarantined", 0),
        "quarantine": _quarantine(dataset)[:100],
        "num_grouped": num_grouped,
    }


def class_frequencies(dataset: Dataset) -> np.ndarray | None:
    """Returns the share of train that carries each class, float64 `[classes]`; `None` if train has no examples.

    Reads the records of train if the metadata has no counts of labels, as of a dataset that something else wrote.
    """
    if not dataset.num_examples.get("train"):
        return None
    if counts := _metadata(dataset).get("label_counts", {}).get("train"):
        return np.array(counts) / dataset.num_examples["train"]
    from model.data.batches import read_labels  # which imports this module

    return np.asarray(read_labels(dataset, "train").mean(axis=0))


def absent_classes(dataset: Dataset) -> list[str]:
    """Returns the names of the classes that no example of train has; empty if the metadata has no counts."""
    shares = class_frequencies(dataset)
    return (
        [] if shares is None else [name for name, share in zip(dataset.class_names, shares, strict=True) if not share]
    )


def read_label_vectors(dataset: Dataset, split: str) -> np.ndarray | None:
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
        rows = [row.get("Labels") for row in _read_table(dataset.path / _LABELS) if row.get("Split") == split]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{where} cannot be read ({type(error).__name__}); {advice}") from None
    if len(rows) != dataset.num_examples[split]:
        raise InputError(
            f"{where} has {len(rows)} examples of {split}, expected {dataset.num_examples[split]}; {advice}"
        )
    ids = {str(label): label for label in range(num_classes)}
    vectors = np.zeros((len(rows), num_classes), np.uint8)
    for number, text in enumerate(rows):
        found = [ids.get(label) for label in (text or "").split(" ")]
        if None in found:
            raise InputError(
                f"{where}: example {number} of {split} has labels {text!r}, expected class ids 0..{num_classes - 1}; {advice}"
            )
        vectors[number, found] = 1
    return vectors


def read_groups(dataset: Dataset) -> dict[str, str]:
    """Returns `{id: group}` of near-duplicates and of examples that share a group column of the schema.

    Empty if the dataset was built without groups. Of the columns, only those that the schema carries are published.
    """
    columns = _read_table(dataset.path / "columns.csv")
    carried = [name for name in dataset.schema.table.groups if columns and name in columns[0]]
    return grouping.join(
        {row["Id"]: row["Group"].strip() for row in _read_table(dataset.path / "groups.csv")},
        *({row["Id"]: row[name] for row in columns} for name in carried),
    )


def _metadata(dataset: Dataset) -> dict[str, Any]:
    path = dataset.path / "metadata.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _quarantine(dataset: Dataset) -> list[dict[str, str]]:
    return _read_table(dataset.path / "quarantine.csv")


def _read_table(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV; empty if it does not exist."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))
