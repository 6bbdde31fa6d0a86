"""Plain-value descriptions of the predictions on a split: scores with intervals, baselines, calibration, ablation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.scores import baselines, calibration, intervals, metrics, ranking, thresholds

HIGHEST = "highest"
"""The rule that predicts the most probable class, for single labels."""

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
    """Returns the description of one split, as it stands in `evaluation.json`.

    Args:
        label_vectors: `[N, classes]` of 0 and 1.
        probabilities: float `[N, classes]`, 0..1.
        chosen: thresholds of each rule, float `[classes]`, "fixed" among them; empty if examples have one label
            each, and the most probable class is predicted.
        class_names: in the order of the class ids.
        codes: the group of each example, int `[N]`.
        frequencies: share of train examples with each class, float `[classes]`; by default that of the split.
        min_positives: positives that a class needs in the split to count in `macro_f1_frequent`.
    """
    frequencies = label_vectors.mean(axis=0) if frequencies is None else frequencies
    precisions = ranking.average_precision(label_vectors, probabilities)
    frequent = label_vectors.sum(axis=0) >= min_positives
    predicted = predictions_by_rule(probabilities, chosen)
    rules = {
        name: _describe_rule(label_vectors, classes, class_names, codes, frequent)
        for name, classes in predicted.items()
    }
    described = {
        "num_examples": len(label_vectors),
        "num_groups": len(label_vectors) if codes is None else len(np.unique(codes)),
        "absent": metrics.count(label_vectors, label_vectors > 0).absent(class_names),
        "num_frequent": int(frequent.sum()),
        "rules": rules,
        "baselines": (_describe_baselines if chosen else _single_label_baselines)(label_vectors, frequencies),
        "average_precision": [None if np.isnan(value) else float(value) for value in precisions],
        "mean_average_precision": _mean_average_precision(precisions),
        "curves": [_curve(label_vectors[:, k], probabilities[:, k]) for k in range(len(class_names))],
        "calibration": _describe_calibration(label_vectors, probabilities, frequencies, single_label=not chosen),
    }
    if chosen:
        return described | {"confusion": error_pairs(label_vectors, predicted["fixed"]).tolist()}
    return described | _describe_single_label(label_vectors, predicted[HIGHEST], codes)


def predictions_by_rule(probabilities: np.ndarray, chosen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the predicted classes, bool `[N, classes]`, by each rule of thresholds, or by `HIGHEST` without any."""
    if not chosen:
        return {HIGHEST: thresholds.decide(probabilities, single_label=True)}
    return {name: thresholds.predict(probabilities, values) for name, values in chosen.items()}


def _describe_single_label(
    label_vectors: np.ndarray, predicted: np.ndarray, codes: np.ndarray | None
) -> dict[str, Any]:
    return {
        "accuracy": intervals.accuracy(label_vectors, predicted, codes).to_json(),
        "balanced_accuracy": intervals.balanced_accuracy(label_vectors, predicted, codes).to_json(),
        "confusion": confusion(label_vectors, predicted).tolist(),
    }


def _describe_rule(
    label_vectors: np.ndarray,
    predicted: np.ndarray,
    class_names: Sequence[str],
    codes: np.ndarray | None,
    frequent: np.ndarray,
) -> dict[str, Any]:
    description = metrics.count(label_vectors, predicted).to_json(class_names)
    resampled = intervals.resample_f1(label_vectors, predicted, codes)
    low, high = resampled.per_class()
    for row, *ends in zip(description["classes"], low.tolist(), high.tolist(), strict=True):
        row["f1_low"], row["f1_high"] = ends
    description["interval"] = resampled.macro().to_json()
    description["macro_f1_frequent"] = resampled.macro(frequent).to_json()
    return description


def _describe_baselines(label_vectors: np.ndarray, frequencies: np.ndarray) -> dict[str, float]:
    shares = label_vectors.mean(axis=0)[label_vectors.any(axis=0)]
    return {
        "all_positive": baselines.all_positive(label_vectors).macro_f1,
        "drawn_by_frequency": float(baselines.drawn_by_frequency(label_vectors, frequencies).mean()),
        "constant_frequencies": baselines.constant(label_vectors, frequencies).macro_f1,
        "mean_average_precision": float(shares.mean()) if len(shares) else 0.0,
    }


def _single_label_baselines(label_vectors: np.ndarray, frequencies: np.ndarray) -> dict[str, float]:
    shares = label_vectors.mean(axis=0)[label_vectors.any(axis=0)]
    majority = baselines.majority(label_vectors, frequencies)
    return {
        "majority": majority.macro_f1,
        "majority_accuracy": float(majority.true_positives.sum() / max(len(label_vectors), 1)),
        "drawn_by_frequency": float(baselines.drawn_by_frequency(label_vectors, frequencies).mean()),
        "balanced_accuracy": 1 / max(len(shares), 1),
        "mean_average_precision": float(shares.mean()) if len(shares) else 0.0,
    }


def _describe_calibration(
    label_vectors: np.ndarray, probabilities: np.ndarray, frequencies: np.ndarray, *, single_label: bool
) -> dict[str, Any]:
    reliability = (calibration.top_label if single_label else calibration.reliability)(label_vectors, probabilities)
    constant = np.broadcast_to(frequencies, label_vectors.shape).astype(np.float64)
    bins = {"count": reliability.count, "mean": reliability.mean, "share": reliability.share}
    return {
        "expected_error": reliability.expected_error,
        "classwise_error": calibration.classwise_error(label_vectors, probabilities),
        "brier": calibration.brier(label_vectors, probabilities),
        "brier_of_frequencies": calibration.brier(label_vectors, constant),
        "bins": {name: values.tolist() for name, values in bins.items()},
    }


def _mean_average_precision(precisions: np.ndarray) -> float | None:
    """Returns the mean over classes that have positives; None if no class has."""
    return None if np.isnan(precisions).all() else float(np.nanmean(precisions))


def _curve(positive: np.ndarray, score: np.ndarray) -> list[list[float]]:
    return ranking.thinned(*ranking.precision_recall(positive, score)) if positive.any() else []


def error_pairs(label_vectors: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns int64 `[classes, classes]`: in how many examples class i is missed and class j is predicted wrongly."""
    labels = label_vectors.astype(bool)
    missed, wrong = (labels & ~predicted).astype(np.int64), (~labels & predicted).astype(np.int64)
    return missed.T @ wrong


def confusion(label_vectors: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns int64 `[classes, classes]`: how many examples of class i, their only class, are predicted as class j."""
    return label_vectors.astype(np.int64).T @ predicted.astype(np.int64)


def describe_ablation(
    label_vectors: np.ndarray,
    full: np.ndarray,
    blanked: Mapping[tuple[str, ...], np.ndarray],
    codes: np.ndarray | None = None,
    *,
    single_label: bool = False,
    min_positives: int = MIN_POSITIVES,
) -> list[dict[str, Any]]:
    """Returns one row for the full predictions and one for each set of blanked channels.

    A row has macro F1, mean average precision, and the change of macro F1 with its interval, over all classes and
    over those with at least `min_positives` positives (None for the full predictions).

    Args:
        label_vectors: `[N, classes]` of 0 and 1.
        full: probabilities with all channels, float `[N, classes]`.
        blanked: probabilities of the same examples for each set of channel names.
        codes: the group of each example, int `[N]`.
        single_label: the most probable class is predicted; otherwise every class with at least 0.5.
        min_positives: positives that a class needs to count as frequent.
    """
    frequent = label_vectors.sum(axis=0) >= min_positives
    rows = []
    for channels, probabilities in {(): full, **blanked}.items():
        before, after = (thresholds.decide(p, single_label=single_label) for p in (full, probabilities))
        changes = {
            name: intervals.difference(label_vectors, before, after, codes, classes=classes).to_json()
            if channels
            else None
            for name, classes in (("change", None), ("change_frequent", frequent))
        }
        rows.append(
            {
                "blanked": list(channels),
                "macro_f1": metrics.count(label_vectors, after).macro_f1,
                "mean_average_precision": _mean_average_precision(
                    ranking.average_precision(label_vectors, probabilities)
                ),
                **changes,
            }
        )
    return rows
