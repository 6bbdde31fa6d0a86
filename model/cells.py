"""The command `python -m model.cells`: single cells of one class each, cross-validated by group and at random.

Cells of one plate resemble one another in more than their class. If they are in both train and test, the score is too
high. Here the same network is trained on folds that keep plates together and on folds that ignore them.
"""

import datetime
import sys
from pathlib import Path
from typing import Any

import click

from model import markdown, presets
from model import settings as settings_module
from model.folds.plan import SCHEMES, Plan
from pipeline.console.commands import Command
from pipeline.errors import InputError, echo, one_line_errors
from pipeline.options import PATH
from pipeline.schema import Schema, load
from pipeline.threads import num_cores

# The rest is imported where it is needed, so that `--help` is fast.


def _schema(name: str) -> Schema:
    with one_line_errors():
        return load(name)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--source", type=PATH, required=True, help="Folder of the label table and the images.")
@click.option(
    "--schema", required=True, callback=lambda context, option, value: _schema(value), help="TOML file of its schema."
)
@click.option("--out", type=PATH, required=True, help="Folder for all output.")
@click.option("--size", type=click.IntRange(1), default=64, show_default=True, help="Pixels a side of the dataset.")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="Folds of each scheme.")
@click.option("--only", multiple=True, type=click.Choice(SCHEMES), help="Only folds by group, or at random.")
@click.option("--fold", "numbers", multiple=True, type=click.IntRange(0), help="Only these folds, from 0.")
@click.option(
    "--budget", type=click.IntRange(1), default=60_000, show_default=True, help="Images each run is trained on."
)
@click.option("--preset", type=click.Choice(presets.NAMES), default="cells", show_default=True)
@click.option("--config", type=PATH, help="JSON file of settings that replace those of the preset.")
@click.option("--precision", type=click.Choice(settings_module.CHOICES["precision"]), default="auto", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the split and of the runs.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Runs to train at the same time; each gets an equal part of the cores.  [default: one for each core, at most 4]",
)
@click.option("--baseline/--no-baseline", default=True, show_default=True, help="Also score hand-made features.")
@click.option("--results", type=PATH, help="JSON file to write.  [default: results.json in --out]")
@click.option("--table", "table_path", type=PATH, help="Markdown file in which to replace the table.")
def main(
    only: tuple[str, ...],
    numbers: tuple[int, ...],
    jobs: int | None,
    baseline: bool,
    config: Path | None,
    precision: str,
    results: Path | None,
    table_path: Path | None,
    **options: Any,
) -> None:
    """Train and score one network for each fold, and compare the scores by group and at random.

    To continue after a stop, repeat the same command: finished folds are not trained again. The results cover all
    finished folds, whatever is chosen with --only and --fold.

    \b
    python -m model.cells --source DIR --schema cells.toml --out runs/cells
    python -m model.cells ... --only grouped --fold 0 --budget 5000      a first look
    """
    with one_line_errors("stopped; the same command continues where it was"):
        plan = make_plan(config, precision, **options)
        chosen = [
            fold
            for fold in plan.folds()
            if (not only or fold.scheme in only) and (not numbers or fold.number in numbers)
        ]
        if not chosen:
            raise InputError(f"--fold {', '.join(map(str, numbers))}: expected numbers from 0 to {plan.num_folds - 1}")
        work_and_report(plan, chosen, jobs or min(num_cores(), 4), baseline, results, table_path)


def make_plan(config: Path | None, precision: str = "auto", **options: Any) -> Plan:
    """Returns the plan for the command's options; settings in the file `config` take precedence."""
    values = {"precision": precision, **(settings_module.read_config(config) if config else {})}
    return Plan(num_folds=options.pop("folds"), values=values, **options)


def work_and_report(
    plan: Plan, chosen: list[Any], jobs: int, baseline: bool, results: Path | None, table_path: Path | None
) -> None:
    """Trains and scores the chosen folds, and writes the results of all finished folds."""
    from model import backend, runs

    backend.start()
    from model.folds import results as results_module
    from model.folds import table, work
    from model.page import cross_validation
    from pipeline.store import files

    work.run(plan, chosen, jobs, echo)
    words = {scheme: plan.words(scheme) for scheme in SCHEMES}
    found = {
        **environment(plan, jobs),
        **results_module.collect(plan.folds(), words, baseline=baseline),
    }
    results = results or plan.out / "results.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    runs.write_json(results, found)
    text, page = table.markdown(found), plan.out / "report.html"
    with files.replacing(page) as file:
        file.write(cross_validation.html(found, table.leakage(found) if "leakage" in found else None).encode())
    echo(f"\n{text}\n")
    echo(f"report: {page}")
    echo(f"results: {results}")
    if table_path:
        markdown.insert(text, table_path, "results")
        echo(f"table: {table_path}")


def environment(plan: Plan, jobs: int) -> dict[str, Any]:
    """Returns date, code, hardware and versions of the results, and the main options."""
    from model import backend, runs

    return {
        "date": datetime.date.today().isoformat(),
        "git_commit": runs.git_commit(),
        "command": "python -m model.cells " + " ".join(sys.argv[1:]),
        "hardware": f"{backend.summary()}; {num_cores()} cores, {jobs} runs at a time",
        "versions": backend.versions(),
        "schema": plan.schema.name,
        "num_folds": plan.num_folds,
        "budget": plan.budget,
    }


if __name__ == "__main__":
    main()
