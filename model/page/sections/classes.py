"""Scores of single classes: correct predictions, the table, precision-recall curves, errors that occur together."""

from collections.abc import Sequence
from typing import Any

from model.page import figures, formats
from model.page.evaluated import EvaluatedRun

NUM_PAIRS = 10
"""Rows in the table of the most frequent pairs of errors."""

NARROWEST_MATRIX = 700
"""Minimum width of a matrix in CSS pixels; on narrower screens it scrolls."""

AXES = {
    False: ("in the labels, not predicted", "predicted, not in the labels"),
    True: ("true class", "predicted class"),
}
"""Whether examples have a single label -> what the rows and the columns of the matrix are."""


def correct_predictions(loaded: Sequence[EvaluatedRun]) -> dict[str, Any]:
    """Returns bars of the correct predictions of each class; of several runs, those of the first and the last."""
    compared = [loaded[0], loaded[-1]] if len(loaded) > 1 else [loaded[0]]
    last = compared[-1]
    tables = [run.shown["rules"][run.rule]["classes"] for run in compared]
    names = [f"{name} ({row['support']:,})" for name, row in zip(last.class_names, tables[-1], strict=True)]
    counts = [[row["true_positives"] for row in table] for table in tables]
    return {
        "names": [run.name for run in compared],
        "split": last.shown_split,
        "figures": correct_figures(names, counts),
    }


def correct_figures(names: Sequence[str], counts: Sequence[Sequence[int]]) -> list[str]:
    """Returns grouped bars of the correct predictions of each class, for the first half of the classes and the second.

    `counts` are the true positives `[series][classes]`, of two models for example; all bars have the same scale.
    """
    maximum = max((value for values in counts for value in values), default=0) or 1
    half = -(-len(names) // 2)
    parts = [slice(0, half), slice(half, None)]
    return [_bars(names[part], [values[part] for values in counts], maximum) for part in parts]


def _bars(names: Sequence[str], series: Sequence[Sequence[int]], maximum: int) -> str:
    described = "; ".join(
        f"{name}: {' and '.join(map(str, values))}" for name, *values in zip(names, *series, strict=True)
    )
    return figures.class_bars(names, series, maximum, label=f"Correct predictions of each class. {described}")


def class_tables(loaded: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """Returns one row for each class, for each run; the last run comes first."""
    return [_class_table(run) for run in (loaded[-1], *loaded[:-1])]


def _class_table(run: EvaluatedRun) -> dict[str, Any]:
    described = run.shown["rules"][run.rule]["classes"]
    rows = zip(described, run.shown["average_precision"], strict=True)
    return {
        "run": run.name,
        "split": run.shown_split,
        "rows": [_class_row(index, row, precision) for index, (row, precision) in enumerate(rows)],
    }


def _class_row(index: int, row: dict[str, Any], average_precision: float | None) -> dict[str, Any]:
    """Returns a row of the class table; scores that are undefined on the split are `None`."""
    num_predicted = row["true_positives"] + row["false_positives"]
    return {
        "index": index,
        "name": row["name"],
        "support": row["support"],
        "true_positives": row["true_positives"],
        "false_positives": row["false_positives"],
        "digits": formats.decimals(row["support"]),
        "precision": row["precision"] if num_predicted else None,
        "recall": row["recall"] if row["support"] else None,
        "f1": row["f1"] if num_predicted or row["support"] else None,
        "interval": {"low": row["f1_low"], "high": row["f1_high"]} if row["support"] else None,
        "average_precision": average_precision,
    }


def precision_recall(run: EvaluatedRun) -> dict[str, Any]:
    """Returns a small precision-recall curve and its caption for each class."""
    split = run.shown
    columns = (run.class_names, split["curves"], split["average_precision"], split["rules"][run.rule]["classes"])
    drawn = []
    for name, points, precision, row in zip(*columns, strict=True):
        measured = "no examples" if precision is None else f"average precision {precision:.2f}"
        prevalence = row["support"] / max(split["num_examples"], 1)
        figure = figures.precision_recall(points, prevalence, label=f"Precision by recall of {name}: {measured}")
        drawn.append({"name": name, "average_precision": precision, "figure": figure})
    return {"run": run.name, "split": run.shown_split, "curves": drawn}


def errors(run: EvaluatedRun) -> dict[str, Any]:
    """Returns the error matrix, or the confusion matrix if examples have one label each, and the largest errors."""
    matrix, names = run.shown["confusion"], run.class_names
    entries = [
        (count, i, j)
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if count and not (run.single_label and i == j)
    ]
    entries.sort(key=lambda entry: (-entry[0], entry[1:]))
    pairs = [{"missed": names[i], "predicted": names[j], "count": count} for count, i, j in entries[:NUM_PAIRS]]
    described = "; ".join(f"{pair['missed']} missed, {pair['predicted']} predicted: {pair['count']}" for pair in pairs)
    kind = "true class and predicted class" if run.single_label else "missed class and wrongly predicted class"
    rows, columns = AXES[run.single_label]
    figure = figures.error_matrix(
        matrix,
        names,
        row_label=rows,
        column_label=columns,
        label=f"Examples by {kind}. Errors: {described or 'none'}",
    )
    return {
        "run": run.name,
        "single_label": run.single_label,
        "split": run.shown_split,
        "figure": figure,
        "min_width": min(figures.matrix_side(len(names)), NARROWEST_MATRIX),
        "pairs": pairs,
    }
