"""What can be said of predictions? From probabilities and labels to plain values, with error bars and baselines."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model import runs
from model.scores import baselines, calibration, intervals, metrics, ranking, thresholds
from pipeline.errors import InputError, MissingError

FORMAT = 1
"""Version of the layout of `evaluation.json`."""

MIN_POSITIVES = 10
"""With fewer, the F1 of a class is mostly luck: its standard error is above 0.15."""


def describe_split(
    label_vectors: np.ndarray,
    probabilities: np.ndarray,
    chosen: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    *,
    codes: np.ndarray | None = None,
    frequencies: np.ndarray | None = None,
    min_positives: int = MIN_POSITIVES,
) -> dict[str, Any]:
    """Returns everything about one split, as plain values; `rules` has an entry for every rule in `chosen`.

    Args:
        label_vectors: `[N, 28]` of 0 and 1.
        probabilities: float `[N, 28]`.
        chosen: thresholds of each rule, float `[28]`.
        class_names: 28 names.
        codes: the group of each example, int `[N]`.
        frequencies: share of train that carries each class, float `[28]`; by default that of the split.
        min_positives: what a class needs in the split to count in `macro_f1_frequent`.
    """
    frequencies = label_vectors.mean(axis=0) if frequencies is None else frequencies
    precisions = ranking.average_precision(label_vectors, probabilities)
    frequent = label_vectors.sum(axis=0) >= min_positives
    rules = {
        name: _describe_rule(label_vectors, thresholds.predict(probabilities, values), class_names, codes, frequent)
        for name, values in chosen.items()
    }
    return {
        "num_examples": len(label_vectors),
        "num_groups": len(label_vectors) if codes is None else len(np.unique(codes)),
        "absent": metrics.count(label_vectors, label_vectors > 0).absent(class_names),
        "num_frequent": int(frequent.sum()),
        "rules": rules,
        "baselines": _describe_baselines(label_vectors, frequencies),
        "average_precision": [None if np.isnan(one) else float(one) for one in precisions],
        "mean_average_precision": float(np.nanmean(precisions)) if label_vectors.any() else None,
        "curves": [_curve(label_vectors[:, k], probabilities[:, k]) for k in range(len(class_names))],
        "calibration": _describe_calibration(label_vectors, probabilities, frequencies),
        "confusion": error_pairs(label_vectors, thresholds.predict(probabilities, chosen["fixed"])).tolist(),
    }


def _describe_rule(
    label_vectors: np.ndarray,
    predicted: np.ndarray,
    class_names: Sequence[str],
    codes: np.ndarray | None,
    frequent: np.ndarray,
) -> dict[str, Any]:
    counts = metrics.count(label_vectors, predicted)
    replicates = intervals.f1_replicates(label_vectors, predicted, codes)
    described = counts.to_json(class_names)
    low, high = np.quantile(replicates, [(1 - intervals.LEVEL) / 2, (1 + intervals.LEVEL) / 2], axis=0)
    for row, *ends in zip(described["classes"], low.tolist(), high.tolist(), strict=True):
        row["f1_low"], row["f1_high"] = ends
    described["interval"] = intervals.macro(counts.f1, replicates).to_json()
    described["macro_f1_frequent"] = intervals.macro(counts.f1, replicates, frequent).to_json()
    return described


def _describe_baselines(label_vectors: np.ndarray, frequencies: np.ndarray) -> dict[str, float]:
    return {
        "all_positive": baselines.all_positive(label_vectors).macro_f1,
        "drawn_by_frequency": float(baselines.drawn_by_frequency(label_vectors, frequencies).mean()),
        "constant_frequencies": baselines.constant(label_vectors, frequencies).macro_f1,
        "mean_average_precision": float(label_vectors.mean(axis=0)[label_vectors.any(axis=0)].mean())
        if label_vectors.any()
        else 0.0,
    }


def _describe_calibration(
    label_vectors: np.ndarray, probabilities: np.ndarray, frequencies: np.ndarray
) -> dict[str, Any]:
    found = calibration.reliability(label_vectors, probabilities)
    return {
        "expected_error": found.expected_error,
        "classwise_error": calibration.classwise_error(label_vectors, probabilities),
        "brier": calibration.brier(label_vectors, probabilities),
        "brier_of_frequencies": calibration.brier(
            label_vectors, np.broadcast_to(frequencies, label_vectors.shape).astype(np.float64)
        ),
        "bins": {"count": found.count.tolist(), "mean": found.mean.tolist(), "share": found.share.tolist()},
    }


def _curve(positive: np.ndarray, score: np.ndarray) -> list[list[float]]:
    return ranking.thinned(*ranking.precision_recall(positive, score)) if positive.any() else []


def error_pairs(label_vectors: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns int64 `[28, 28]`: in how many examples class i was missed while class j was said wrongly."""
    truth = label_vectors.astype(bool)
    missed, wrong = (truth & ~predicted).astype(np.int64), (~truth & predicted).astype(np.int64)
    return missed.T @ wrong


def describe_ablation(
    label_vectors: np.ndarray,
    full: np.ndarray,
    blanked: Mapping[tuple[str, ...], np.ndarray],
    codes: np.ndarray | None = None,
    threshold: float = thresholds.FIXED,
) -> list[dict[str, Any]]:
    """Returns one row for each set of blanked channels: macro F1, mAP, and the change with its interval.

    `full` and the values of `blanked` are probabilities `[N, 28]` for the same examples.
    """
    rows = []
    for channels, probabilities in {(): full, **blanked}.items():
        counts = metrics.at_threshold(label_vectors, probabilities, threshold)
        precisions = ranking.average_precision(label_vectors, probabilities)
        change = intervals.difference(label_vectors, full >= threshold, probabilities >= threshold, codes)
        rows.append(
            {
                "blanked": list(channels),
                "macro_f1": counts.macro_f1,
                "mean_average_precision": float(np.nanmean(precisions)) if label_vectors.any() else None,
                "change": change.to_json() if channels else None,
            }
        )
    return rows


def checkpoint_digest(run: runs.Run) -> str:
    """Returns the SHA-256 of the run's best checkpoint: what was evaluated.

    Raises:
        MissingError: there is none.
    """
    if not run.best.exists():
        raise MissingError(f"run {run.path} has no checkpoint: no epoch of it was finished")
    with open(run.best, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(folder: Path) -> dict[str, Any]:
    """Returns the evaluation in the run folder `folder`.

    Raises:
        MissingError: the run was not evaluated.
        InputError: the file is not one of ours.
    """
    path = folder / "evaluation" / "evaluation.json"
    if not path.exists():
        raise MissingError(f"run {folder} was not evaluated: 'python -m model.evaluate {folder}' does it")
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path}: not of format {FORMAT}: 'python -m model.evaluate {folder}' writes it anew")
    return found


def thresholds_of(run: runs.Run, rule: str, views: str) -> np.ndarray:
    """Returns the thresholds of the rule, float64 `[28]`, as the run's evaluation chose them.

    Raises:
        MissingError: the run was not evaluated.
        InputError: they were chosen for another checkpoint or other views, or there was no dev to choose them on.
    """
    if rule == "fixed":
        return np.full(len(run.dataset["class_names"]), thresholds.FIXED)
    result = load(run.path)
    if result["checkpoint_sha256"] != checkpoint_digest(run) or result["views"] != views:
        raise InputError(
            f"run {run.path}: thresholds were chosen for another checkpoint or other views: "
            f"'python -m model.evaluate {run.path} --views {views}' chooses them again"
        )
    if rule not in result["thresholds"]:
        raise InputError(f"run {run.path}: no {rule} thresholds, because it was evaluated without dev")
    return np.array(result["thresholds"][rule])


def is_current(run: runs.Run) -> bool:
    """Returns whether the run was evaluated as it stands now: its best checkpoint is the one that was scored."""
    try:
        return load(run.path)["checkpoint_sha256"] == checkpoint_digest(run)
    except InputError:
        return False


def write_classes(path: Path, evaluation: Mapping[str, Any]) -> None:
    """Writes one row for each split and class, at threshold 0.5; an average precision that is undefined stays empty."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = None
        for split, found in evaluation["splits"].items():
            rows = found["rules"]["fixed"]["classes"]
            for index, (row, precision) in enumerate(zip(rows, found["average_precision"], strict=True)):
                row = {"split": split, "class": index, **row, "average_precision": precision}
                if header is None:
                    header = list(row)
                    writer.writerow(header)
                writer.writerow(["" if value is None else value for value in row.values()])
