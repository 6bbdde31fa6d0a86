"""The examples of a source, checked, stacked and resized by this project: the input of every builder."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 256


def examples(source: Path) -> list[tuple[str, list[int]]]:
    """Returns (id, labels) of every row of the label table."""
    from pipeline.plan import table

    return [(row.id, list(row.labels)) for row in table.read_labels(source / "train.csv")]


@functools.cache
def _images(source: Path) -> Any:
    from pipeline.images import sources

    return sources.open_images(source / "train")


def load(example: tuple[str, list[int]], source: Path) -> tuple[str, np.ndarray, list[int]]:
    """Returns (id, image uint8 `[256, 256, 4]`, labels) of one row."""
    from pipeline.images import stack
    from pipeline.schema import HPA_KAGGLE_2018 as schema

    example_id, labels = example
    return example_id, stack.stack_example(_images(source), schema.files(example_id), schema, SIZE).image, labels
