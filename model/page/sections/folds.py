"""The sections of the page of a cross-validation: from its results to plain values for the template."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.page import figures, svg
from model.page.sections.classes import AXES, NARROWEST_MATRIX
from model.page.sections.scores import MIN_BIN


def content(results: Mapping[str, Any], leakage: str | None) -> dict[str, Any]:
    """Returns the values that the template shows; `leakage` is a text about the difference between the schemes."""
    schemes = results["schemes"]
    words = [scheme["words"] for scheme in schemes.values()]
    return {
        "results": results,
        "schemes": list(schemes.values()),
        "legend_of_schemes": [(name, svg.colour(index)) for index, name in enumerate(words)],
        "leakage": leakage,
        "has_baseline": all("baseline" in scheme for scheme in schemes.values()),
        "curves": _curves(schemes),
        "classes": _classes(results),
        "matrices": [_matrix(scheme, results["class_names"]) for scheme in schemes.values()],
        "reliability": _reliability(schemes),
        "min_bin": MIN_BIN,
    }


def mean_curve(folds: Sequence[Mapping[str, Any]], column: str) -> list[figures.Point]:
    """Returns the mean over the folds of a column, by training images, up to the end of the shortest run."""
    length = min(len(fold["curve"]) for fold in folds)
    rows = [[fold["curve"][k] for fold in folds] for k in range(length)]
    return [
        (float(np.mean([point["images"] for point in row])), float(np.mean([point[column] for point in row])))
        for row in rows
    ]


def _curves(schemes: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = (("Macro F1 on dev", "dev_macro_f1"), ("Loss on dev", "dev_loss"), ("Loss on train", "loss"))
    drawn = []
    for caption, column in columns:
        series = [mean_curve(scheme["folds"], column) for scheme in schemes.values()]
        ends = "; ".join(
            f"{scheme['words']} ends at {points[-1][1]:.3g}"
            for scheme, points in zip(schemes.values(), series, strict=True)
            if points
        )
        figure = figures.curves(
            series,
            x_label="images",
            y_label="macro F1" if column == "dev_macro_f1" else "loss",
            from_zero=True,
            label=f"{caption} by training images, mean of the folds. {ends}",
        )
        drawn.append({"caption": caption, "figure": figure})
    return drawn


def _classes(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the number of examples of each class, and its F1 by each scheme over all test parts together."""
    together = [scheme["together"] for scheme in results["schemes"].values()]
    support = np.sum(together[0]["confusion"], axis=1).tolist()
    columns = zip(*(scheme["classes"] for scheme in together), strict=True)
    return [
        {"name": name, "support": num, "f1": list(f1)}
        for name, num, f1 in zip(results["class_names"], support, columns, strict=True)
    ]


def _matrix(scheme: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    matrix = scheme["together"]["confusion"]
    rows, columns = AXES[True]
    right, total = int(np.trace(matrix)), int(np.sum(matrix))
    figure = figures.error_matrix(
        matrix,
        names,
        row_label=rows,
        column_label=columns,
        label=f"Examples by true class and predicted class, folds {scheme['words']}: {right} of {total} are right",
    )
    width = min(figures.matrix_side(len(names)), NARROWEST_MATRIX)
    return {"words": scheme["words"], "figure": figure, "min_width": width}


def _reliability(schemes: Mapping[str, Any]) -> Any:
    series = []
    for scheme in schemes.values():
        bins = scheme["together"]["bins"]
        rows = zip(bins["count"], bins["mean"], bins["share"], strict=True)
        series.append([(mean, share) for count, mean, share in rows if count >= MIN_BIN])
    errors = "; ".join(
        f"{scheme['words']}: expected calibration error {scheme['together']['calibration_error']:.3f}"
        for scheme in schemes.values()
    )
    return figures.reliability(
        series, label=f"How often the most probable class is right, by its probability. {errors}"
    )
