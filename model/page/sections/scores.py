"""Scores of whole runs: macro F1 with intervals, differences, learning curves, ablation, thresholds, calibration."""

import itertools
from collections.abc import Sequence
from typing import Any

from model import runs, settings
from model.page import evaluated, figures, formats
from model.page.evaluated import SPLITS, EvaluatedRun
from model.scores import intervals

PAPER = {"green-128": "about 0.1", "green-256": "about 0.16", "stacked-256": "about 0.33"}
"""Macro F1 on test that the paper reports for its models, by preset; on real images of the atlas."""

BASELINES = {
    False: ("all_positive", "every class predicted for every image"),
    True: ("drawn_by_frequency", "classes drawn at random by their frequency"),
}
"""Whether examples have a single label -> the baseline's name in the evaluation, and in words."""

MIN_BIN = 10
"""Predictions that a bin of the reliability diagram needs: the frequency among fewer is mostly chance."""


def scores(loaded: Sequence[EvaluatedRun]) -> dict[str, Any]:
    """Returns the tiles, the figure and the table of macro F1, and what limits them."""
    last = loaded[-1]
    digits = formats.decimals(last.shown["num_examples"])
    macro = last.shown["rules"][last.rule]
    key, baseline_name = BASELINES[last.single_label]
    return {
        "run": last.name,
        "split": last.shown_split,
        "digits": digits,
        "macro_f1": macro["macro_f1"],
        "interval": macro["interval"],
        "single_label": last.single_label,
        "accuracy": last.shown.get("accuracy"),
        "balanced_accuracy": last.shown.get("balanced_accuracy"),
        "baselines": last.shown["baselines"],
        "baseline": last.shown["baselines"][key],
        "baseline_name": baseline_name,
        "mean_average_precision": last.shown["mean_average_precision"],
        "calibration_digits": _calibration_digits(last),
        "calibration_error": last.shown["calibration"]["expected_error"],
        "num_classes": len(last.class_names),
        "intervals": intervals.EXPLANATION,
        "num_examples": last.shown["num_examples"],
        "num_groups": last.shown["num_groups"],
        "min_positives": last.evaluation["min_positives"],
        "num_frequent": last.shown["num_frequent"],
        "splits": present_splits(loaded),
        "figure": _score_figure(loaded),
        "rows": [_score_row(run, split) for run in loaded for split in SPLITS if split in run.splits],
        "absent": _absent(loaded),
    }


def present_splits(loaded: Sequence[EvaluatedRun]) -> list[str]:
    """Returns the splits that any run was scored on, in the order train, dev, test."""
    return [split for split in SPLITS if any(split in run.splits for run in loaded)]


def _score_figure(loaded: Sequence[EvaluatedRun]) -> str:
    splits = present_splits(loaded)
    groups = [(run.name, [_estimate(run, split) for split in splits]) for run in loaded]
    described = "; ".join(
        f"{name}: " + ", ".join(f"{split} {row.text}" for split, row in zip(splits, rows, strict=True) if row)
        for name, rows in groups
    )
    key, baseline_name = BASELINES[loaded[-1].single_label]
    return figures.estimates(
        groups,
        loaded[-1].shown["baselines"][key],
        baseline_name,
        "macro F1",
        label=f"Macro F1 of each run with 95% intervals. {described}",
    )


def _estimate(run: EvaluatedRun, split: str) -> figures.Estimate | None:
    if split not in run.splits:
        return None
    scored = run.splits[split]
    rule = scored["rules"][run.rule]
    interval = rule["interval"]
    ends = (interval["low"], interval["high"])
    text = formats.fixed(rule["macro_f1"], formats.decimals(scored["num_examples"]))
    return figures.Estimate(rule["macro_f1"], ends, text)


def _score_row(run: EvaluatedRun, split: str) -> dict[str, Any]:
    scored = run.splits[split]
    rule = scored["rules"][run.rule]
    return {
        "run": run.name,
        "split": split,
        "num_examples": scored["num_examples"],
        "digits": formats.decimals(scored["num_examples"]),
        "macro_f1": rule["macro_f1"],
        "interval": rule["interval"],
        "num_frequent": scored["num_frequent"],
        "frequent": rule["macro_f1_frequent"] if scored["num_frequent"] else None,
        "precision": rule["macro_precision"],
        "recall": rule["macro_recall"],
        "accuracy": scored.get("accuracy"),
        "balanced_accuracy": scored.get("balanced_accuracy"),
        "mean_average_precision": scored["mean_average_precision"],
        "paper": PAPER.get(run.run.settings.preset) if split == "test" else None,
    }


def _absent(loaded: Sequence[EvaluatedRun]) -> list[tuple[str, list[str]]]:
    """Returns the splits without examples of some classes, and these classes; runs that agree share an entry."""
    found: dict[tuple[str, ...], list[str]] = {}
    for run in loaded:
        for split, scored in run.splits.items():
            if scored["absent"]:
                found.setdefault((split, *scored["absent"]), []).append(run.name)
    return [
        (key[0] if len(names) == len(loaded) else f"{key[0]} of {', '.join(names)}", list(key[1:]))
        for key, names in found.items()
    ]


def differences(loaded: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """Returns the change of macro F1 from each run to the next; empty if they were scored on different examples."""
    if len(loaded) < 2 or not evaluated.comparable(loaded):
        return []
    rows = []
    for before, after in itertools.pairwise(loaded):
        change = evaluated.difference(before, after)
        rows.append(
            {
                "before": before.name,
                "after": after.name,
                "digits": formats.decimals(after.shown["num_examples"]),
                "change": change.estimate,
                "interval": change.to_json(),
                "excludes_zero": change.low > 0 or change.high < 0,
            }
        )
    return rows


def learning_curves(loaded: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """Returns a figure and its caption for the loss on train and on dev and the macro F1 on dev, by training step."""
    steps = [runs.read_rows(run.run.steps_csv) for run in loaded]
    epochs = [runs.read_rows(run.run.metrics_csv) for run in loaded]
    columns = [
        ("Loss on train", "loss", steps, "loss"),
        ("Loss on dev", "loss", epochs, "dev_loss"),
        ("Macro F1 on dev", "macro F1", epochs, "dev_macro_f1"),
    ]
    drawn = []
    for caption, y_label, tables, column in columns:
        series = [[(float(row["step"]), float(row[column])) for row in rows] for rows in tables]
        label = f"{caption} by training step. {_last_values(loaded, series)}"
        is_score = y_label == "macro F1"
        figure = figures.curves(series, x_label="step", y_label=y_label, from_zero=is_score, label=label)
        drawn.append({"caption": caption, "figure": figure})
    return drawn


def _last_values(loaded: Sequence[EvaluatedRun], series: Sequence[Sequence[figures.Point]]) -> str:
    ends = [f"{run.name} ends at {points[-1][1]:.3g}" for run, points in zip(loaded, series, strict=True) if points]
    return "; ".join(ends) or "No steps are recorded"


def dev_losses(loaded: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """Returns the loss on dev with moving and with batch statistics, of the runs that recorded both at their end."""
    rows = []
    for run in loaded:
        recorded = settings.read_config(run.run.metrics_json) if run.run.metrics_json.exists() else {}
        checkpoint = recorded.get("checkpoint", {})
        if "dev_loss_batch_statistics" in checkpoint:
            moving, batch = (checkpoint[f"dev_loss_{kind}_statistics"] for kind in ("moving", "batch"))
            rows.append({"run": run.name, "moving": moving, "batch": batch, "excess": moving / max(batch, 1e-9) - 1})
    return rows


def ablation(loaded: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """Returns macro F1 with channels blanked, for each run; `rows` is `None` where it was not measured."""
    return [_ablation(run) for run in loaded]


def _ablation(run: EvaluatedRun) -> dict[str, Any]:
    measured = run.evaluation.get("ablation")
    if not measured:
        return {"run": run.name, "rows": None}
    split = measured["split"]
    return {
        "run": run.name,
        "split": split,
        "digits": formats.decimals(run.splits[split]["num_examples"]),
        "rows": measured["rows"],
    }


def threshold_rules(loaded: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """Returns macro F1 on dev and test by each rule of thresholds, and the gap between them, for each run."""
    return [_threshold_row(run, rule) for run in loaded if not run.single_label for rule in run.shown["rules"]]


def _threshold_row(run: EvaluatedRun, rule: str) -> dict[str, Any]:
    dev, test = (run.splits[split]["rules"][rule] if split in run.splits else None for split in ("dev", "test"))
    return {
        "run": run.name,
        "rule": rule,
        "digits": formats.decimals(min(scored["num_examples"] for scored in run.splits.values())),
        "dev": dev and dev["macro_f1"],
        "test": test and test["macro_f1"],
        "interval": test and test["interval"],
        "gap": dev["macro_f1"] - test["macro_f1"] if dev and test else None,
    }


def _calibration_digits(run: EvaluatedRun) -> int:
    """Returns the decimals of calibration errors; with several labels, each class of an example is a prediction."""
    per_example = 1 if run.single_label else len(run.class_names)
    return formats.decimals(run.shown["num_examples"] * per_example)


def calibration(loaded: Sequence[EvaluatedRun]) -> dict[str, Any]:
    """Returns the reliability diagram and the calibration errors of each run on its shown split."""
    series, rows = [], []
    for run in loaded:
        measured = run.shown["calibration"]
        bins = zip(*(measured["bins"][name] for name in ("count", "mean", "share")), strict=True)
        series.append([(mean, share) for count, mean, share in bins if count >= MIN_BIN])
        rows.append({"run": run.name, "digits": _calibration_digits(run), **measured})
    described = "; ".join(
        f"{row['run']}: expected calibration error {formats.fixed(row['expected_error'], row['digits'])}"
        for row in rows
    )
    figure = figures.reliability(series, label=f"Observed frequency of classes by predicted probability. {described}")
    return {
        "single_label": loaded[-1].single_label,
        "split": loaded[-1].shown_split,
        "min_bin": MIN_BIN,
        "figure": figure,
        "rows": rows,
    }
