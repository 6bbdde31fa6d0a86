"""The command `python -m model.report`: one HTML page of one or several runs."""

from pathlib import Path
from typing import Any

import click

from pipeline.console.called import echo_next
from pipeline.console.commands import Command
from pipeline.errors import echo, one_line_errors
from pipeline.options import PATH

# Everything else is imported when it is needed: `--help` answers at once.


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", metavar="RUN...", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, help="HTML file to write.  [default: report.html in the last RUN]")
@click.option("--title", help="Heading of the page.")
def main(folders: tuple[Path, ...], out: Path | None, title: str | None) -> None:
    """Make one HTML page of the runs in the folders RUN...; it opens in any browser and needs no network.

    Several runs are compared from the first to the last, and the last one is shown in detail. A run without an
    evaluation, or trained further since its evaluation, is evaluated first.

    \b
    python -m model.report runs/stacked-256-1
    python -m model.report runs/green-128-1 runs/green-256-1 runs/rgb-256-1 runs/stacked-256-1 --out ladder.html
    """
    with one_line_errors():
        out = write_page(folders, out, title)
    echo(f"report: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    echo_next("model.predict", folders[-1], "--split", "test")


def write_page(folders: tuple[Path, ...], out: Path | None = None, title: str | None = None) -> Path:
    """Writes the page of the runs, after evaluating those that need it, and returns its path.

    Raises:
        MissingError: a run, its checkpoint, or the dataset to evaluate it on is not there.
        InputError: a run is given twice, or its evaluation cannot be read.
    """
    from model import runs
    from model.page import document, evaluated
    from pipeline.store import files

    opened = [runs.open_run(folder) for folder in folders]
    _evaluate_missing(opened)
    text = document.html(evaluated.load(opened), title)
    out = out or folders[-1] / "report.html"
    with files.replacing(out) as file:
        file.write(text.encode())
    return out


def _evaluate_missing(opened: list[Any]) -> None:
    """Evaluates the runs without a current evaluation; all must have a checkpoint before the first is evaluated."""
    from model.scores import evaluation

    for run in opened:
        evaluation.checkpoint_digest(run)
    for run in opened:
        if not evaluation.is_current(run):
            from model.evaluate import evaluate

            echo(f"evaluating {run.path}")
            evaluate(run.path)


if __name__ == "__main__":
    main()
