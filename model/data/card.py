"""The tables and metadata that are published beside the shards of a dataset."""

import csv
import json
from typing import Any

import numpy as np

from model.data.dataset import Dataset


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
        "stains": metadata.get("stains", {}),
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
    """Returns the share of train that carries each class, float64 `[28]`; `None` if the metadata has no counts."""
    counts = _metadata(dataset).get("label_counts", {}).get("train")
    return np.array(counts) / dataset.num_examples["train"] if counts else None


def read_groups(dataset: Dataset) -> dict[str, str]:
    """Returns `{id: group}` of near-duplicates; empty if the dataset was built without groups."""
    path = dataset.path / "groups.csv"
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if len(row) == 2]
    return {example_id: group.strip() for example_id, group in rows[1:]}


def _metadata(dataset: Dataset) -> dict[str, Any]:
    path = dataset.path / "metadata.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _quarantine(dataset: Dataset) -> list[dict[str, str]]:
    path = dataset.path / "quarantine.csv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
