"""The tables and metadata that are published beside the shards of a dataset."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from model.data.channels import protein
from model.data.dataset import Dataset
from pipeline.plan import grouping


def describe(dataset: Dataset, num_grouped: int) -> dict[str, Any]:
    """Returns the dataset's card as plain values, with the first 100 rows of the quarantine table."""
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
        "group_columns": list(dataset.schema.table.groups),
    }


def class_frequencies(dataset: Dataset) -> np.ndarray | None:
    """Returns the share of train examples with each class, float64 `[classes]`.

    `None` if train has no examples, or the metadata has no counts.
    """
    counts, num = _metadata(dataset).get("label_counts", {}).get("train"), dataset.num_examples.get("train")
    return np.array(counts) / num if counts and num else None


def absent_classes(dataset: Dataset, limit: int | None = None) -> list[str]:
    """Returns the names of the classes that have no example in train, or among its first `limit` examples.

    Without a limit, counts come from the metadata; the list is empty if it has none.
    """
    if limit is None:
        counts = _metadata(dataset).get("label_counts", {}).get("train", [])
    else:
        from model.data import batches  # imports TensorFlow

        counts = batches.read_labels(dataset, "train", limit).sum(axis=0)
    return [name for name, count in zip(dataset.class_names, counts, strict=False) if not count]


def read_groups(dataset: Dataset) -> dict[str, str]:
    """Returns `{id: group}` of near-duplicates and of examples that share a group column of the schema.

    Empty if the dataset was built without groups.
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
