"""The files of an evaluation: `evaluation.json` and `classes.csv` in a run's folder."""

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model import runs
from model.scores import describe, thresholds
from pipeline.errors import InputError, MissingError

FORMAT = 4
"""Version of `evaluation.json`; 4 has the class frequencies of train, which thresholds are matched to."""


def checkpoint_digest(run: runs.Run) -> str:
    """Returns the SHA-256 of the run's best checkpoint, which identifies what was evaluated.

    Raises:
        MissingError: the run has no checkpoint.
    """
    with open(runs.best_checkpoint(run), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(folder: Path) -> dict[str, Any]:
    """Returns the evaluation in the run folder `folder`.

    Raises:
        MissingError: the run was not evaluated.
        InputError: the file is damaged or of another format.
    """
    path = folder / "evaluation" / "evaluation.json"
    if not path.exists():
        raise MissingError(f"run {folder} was not evaluated: 'python -m model.evaluate {folder}' does it")
    try:
        evaluation = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(evaluation, dict) or evaluation.get("format") != FORMAT:
        version = evaluation.get("format") if isinstance(evaluation, dict) else None
        raise InputError(
            f"{path}: expected format {FORMAT}, found {version}: run 'python -m model.evaluate {folder}' again"
        )
    if evaluation.pop("sha256", None) != _digest(evaluation):
        raise InputError(f"{path}: changed since it was written; run 'python -m model.evaluate {folder}' again")
    return evaluation


def sealed(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of `evaluation.json`: an evaluation and its checksum, by which `load` notices damage."""
    values = {name: value for name, value in evaluation.items() if name != "sha256"}
    return {**values, "sha256": _digest(values)}


def _digest(evaluation: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(evaluation))  # as `load` reads it
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def read_arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Returns arrays of a NumPy file of an evaluation.

    Raises:
        MissingError: the file does not exist.
        InputError: it is damaged.
    """
    again = "run 'python -m model.evaluate' again"
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            return [arrays[name] for name in names]
    except FileNotFoundError:
        raise MissingError(f"{path}: does not exist; {again}") from None
    except runs.DAMAGE as error:
        raise InputError(f"{path}: damaged ({runs.shortest(error)}); {again}") from None


def thresholds_of(run: runs.Run, rule: str, views: str) -> np.ndarray:
    """Returns the thresholds of the rule, float64 `[classes]`, as the run's evaluation chose them.

    Raises:
        MissingError: the run was not evaluated.
        InputError: they were chosen for another checkpoint or other views, or there was no dev to choose them on, or
            no train to match.
    """
    if rule == "fixed":
        return np.full(len(run.dataset["class_names"]), thresholds.FIXED)
    result = load(run.path)
    if result["checkpoint_sha256"] != checkpoint_digest(run) or result["views"] != views:
        raise InputError(
            f"run {run.path}: thresholds were chosen for another checkpoint or other views: "
            f"'python -m model.evaluate {run.path} --views {views}' chooses them again"
        )
    if rule == "matched" and result["frequencies"] is None:
        raise _no_frequencies(run, rule)
    if rule not in result["thresholds"]:
        raise InputError(f"run {run.path}: no {rule} thresholds, because it was evaluated without dev")
    return np.array(result["thresholds"][rule])


def frequencies_of(run: runs.Run) -> np.ndarray:
    """Returns the share of train examples with each class, float64 `[classes]`, as the run's evaluation recorded it.

    Raises:
        MissingError: the run was not evaluated.
        InputError: it was evaluated on a dataset without examples in train.
    """
    frequencies = load(run.path)["frequencies"]
    if frequencies is None:
        raise _no_frequencies(run, thresholds.MATCHED_SET)
    return np.array(frequencies)


def _no_frequencies(run: runs.Run, rule: str) -> InputError:
    return InputError(
        f"run {run.path}: no {rule} thresholds, because it was evaluated on a dataset without examples in train"
    )


def main_rule(evaluation: Mapping[str, Any]) -> str:
    """Returns the prediction rule for all scores that do not name another rule."""
    return describe.HIGHEST if evaluation["dataset"]["single_label"] else "fixed"


def cut_splits(evaluation: Mapping[str, Any]) -> list[str]:
    """Returns the scored splits of which only the first `limit_examples` were scored."""
    sizes = evaluation["dataset"]["num_examples"]
    return [split for split, scored in evaluation["splits"].items() if scored["num_examples"] < sizes[split]]


def single_group_notice(evaluation: Mapping[str, Any]) -> str:
    """Returns which scored splits are a single group, and what their intervals do not include; empty if none is."""
    splits = evaluation["splits"].items()
    single = [name for name, scored in splits if scored["num_groups"] == 1 < scored["num_examples"]]
    if not single:
        return ""
    columns = ", ".join(evaluation["dataset"].get("group_columns", []))  # older evaluations do not have them
    columns = f" ({columns})" if columns else ""
    if len(single) == 1:
        named_splits, consequence = f"{single[0]} is a single group", "its interval does not"
    else:
        named_splits = f"{', '.join(single[:-1])} and {single[-1]} are a single group each"
        consequence = "their intervals do not"
    return f"{named_splits.capitalize()}{columns}: {consequence} include differences between groups."


def is_current(run: runs.Run) -> bool:
    """Returns whether the run's best checkpoint is the one that was evaluated."""
    try:
        return load(run.path)["checkpoint_sha256"] == checkpoint_digest(run)
    except InputError:
        return False


def write_classes(path: Path, evaluation: Mapping[str, Any]) -> None:
    """Writes one CSV row for each split and class, by the main rule; an undefined average precision stays empty."""
    rows = [
        {"split": split, "class": index, **scores, "average_precision": "" if precision is None else precision}
        for split, description in evaluation["splits"].items()
        for index, (scores, precision) in enumerate(
            zip(description["rules"][main_rule(evaluation)]["classes"], description["average_precision"], strict=True)
        )
    ]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
