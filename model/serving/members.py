"""The runs over which predictions are averaged."""

from collections.abc import Sequence
from pathlib import Path

from model import runs
from pipeline.errors import InputError


def open_runs(folders: Sequence[Path]) -> list[runs.Run]:
    """Returns the runs, which predict the same classes from the same images.

    Raises:
        MissingError: a folder holds no run.
        InputError: a run is given twice, or runs differ in what they see or predict.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("the same run was given twice; an average counts each run once")
    opened = [runs.open_run(folder) for folder in folders]
    for other in opened[1:]:
        _check_same(opened[0], other)
    return opened


def _check_same(first: runs.Run, other: runs.Run) -> None:
    """Checks that two runs see the same channels and predict the same classes."""
    facts = {
        "classes": lambda run: run.dataset["class_names"],
        "labels for each example": lambda run: "one" if run.schema.single_label else "several",
        "channels": lambda run: list(run.settings.channels),
        "pixels a side": lambda run: run.settings.size,
        "pixel values": lambda run: run.schema.dtype,
    }
    for name, of in facts.items():
        if of(first) != of(other):
            found = (f"{_shown(of(run))} of {run.path}" for run in (first, other))
            raise InputError(
                f"runs with other {name} cannot be averaged: {' and '.join(found)}; predict with each alone"
            )


def _shown(value: object) -> str:
    return f"{len(value)}: {', '.join(map(str, value[:5]))}" if isinstance(value, list) else str(value)
