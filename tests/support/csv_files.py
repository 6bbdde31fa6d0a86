"""Reads the tables that commands write."""

import csv
from pathlib import Path


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file with a header."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
