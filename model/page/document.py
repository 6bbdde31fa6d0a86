"""The page as one HTML document: the sections' values, rendered by `report.html.j2`."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from model.page import evaluated, formats, svg
from model.page.evaluated import EvaluatedRun
from model.page.sections import classes, gallery, origin, scores
from model.scores import evaluation


def html(loaded: Sequence[EvaluatedRun], title: str | None = None) -> str:
    """Returns the page of the runs; it fetches nothing from a network.

    Several runs are compared from the first to the last, and the last one is shown in detail.
    """
    return environment().get_template("report.html.j2").render(content(loaded, title))


def content(loaded: Sequence[EvaluatedRun], title: str | None = None) -> dict[str, Any]:
    """Returns the values that the template shows."""
    last = loaded[-1]
    return {
        "title": title or default_title(loaded),
        "runs": loaded,
        "legend_of_runs": [(run.name, svg.colour(index)) for index, run in enumerate(loaded)],
        "colour": svg.colour,
        "dataset": last.evaluation["dataset"],
        "single_label": last.single_label,
        "synthetic": any(run.evaluation["dataset"]["synthetic"] for run in loaded),
        "trained_on_part": _limited({run.name: _training_limit(run) for run in loaded}),
        "scored_on_part": _limited({run.name: _scoring_limit(run) for run in loaded}),
        "single_group": evaluation.single_group_notice(last.evaluation),
        "comparable": evaluated.comparable(loaded),
        "scores": scores.scores(loaded),
        "differences": scores.differences(loaded),
        "learning_curves": scores.learning_curves(loaded),
        "dev_losses": scores.dev_losses(loaded),
        "correct": classes.correct_predictions(loaded),
        "class_tables": classes.class_tables(loaded),
        "precision_recall": classes.precision_recall(last),
        "ablation": scores.ablation(loaded),
        "thresholds": scores.threshold_rules(loaded),
        "calibration": scores.calibration(loaded),
        "errors": classes.errors(last),
        "gallery": gallery.cards(last),
        "datasets": origin.datasets(loaded),
        "reproduction": origin.reproduction(loaded),
    }


@dataclasses.dataclass(frozen=True)
class Limit:
    """Splits of which only the first `examples` were used."""

    examples: int
    splits: tuple[str, ...]


def _training_limit(run: EvaluatedRun) -> Limit | None:
    limit, sizes = run.run.settings.limit_examples, run.run.dataset.get("num_examples") or {}
    return Limit(limit, ("train",)) if limit and limit < sizes.get("train", math.inf) else None


def _scoring_limit(run: EvaluatedRun) -> Limit | None:
    cut = evaluation.cut_splits(run.evaluation)
    return Limit(run.evaluation["limit_examples"], tuple(cut)) if cut else None


def _limited(limits: dict[str, Limit | None]) -> list[tuple[str, Limit]]:
    """Returns the names of runs that are limited, and their limits; one row if all have the same limit."""
    if len(limits) > 1 and len(set(limits.values())) == 1:
        limits = {"all runs": next(iter(limits.values()))}
    return [(name, limit) for name, limit in limits.items() if limit]


def default_title(loaded: Sequence[EvaluatedRun]) -> str:
    """Returns the heading of a page without a title."""
    names = [run.name for run in loaded]
    return f"Run {names[0]}" if len(names) == 1 else f"{len(names)} runs: {names[0]} to {names[-1]}"


def environment() -> jinja2.Environment:
    """Returns the environment of the pages' templates, with the filters of `formats`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        fixed=formats.fixed,
        signed=formats.signed,
        interval=formats.interval,
        probability=formats.probability,
        count=formats.count,
    )
    return environment
