"""The command `python -m model.report`: what do one or several runs show, on one page?"""

from pathlib import Path

import click

from pipeline.errors import one_line_errors

# Everything else is imported when it is needed: `--help` answers at once.


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", metavar="RUN...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="HTML file to write.  [default: report.html in the last RUN]"
)
@click.option("--title", help="Heading of the page.")
def main(folders: tuple[Path, ...], out: Path | None, title: str | None) -> None:
    """Make one HTML page of the runs in the folders RUN..., to be opened in any browser, without a network.

    A ladder of several runs is told from the first to the last: both are compared class by class, and the last
    one is shown in detail. A run that was not evaluated yet, or was trained further since, is evaluated first.

    \b
    python -m model.report runs/stacked-256-1
    python -m model.report runs/green-128-1 runs/green-256-1 runs/rgb-256-1 runs/stacked-256-1 --out ladder.html
    """
    with one_line_errors():
        out = report(folders, out, title)
    click.echo(f"report: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def report(folders: tuple[Path, ...], out: Path | None = None, title: str | None = None) -> Path:
    """Writes the page of the runs, evaluating those that need it, and returns where it is.

    Raises:
        MissingError: no run, no checkpoint, or no dataset to evaluate on.
        InputError: runs that cannot be told apart, or not evaluated as they are.
    """
    from model import runs
    from model.page import document, sections
    from model.scores import evaluation

    opened = [runs.open_run(folder) for folder in folders]
    for run in opened:
        evaluation.checkpoint_digest(run)
    for run in opened:
        if not evaluation.is_current(run):
            from model.evaluate import evaluate

            click.echo(f"evaluating {run.path}")
            evaluate(run.path)
    subjects = sections.load(opened)
    text = document.document(title or sections.title(subjects), sections.lead(subjects), sections.every(subjects))
    out = out or folders[-1] / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(out)
    return out


if __name__ == "__main__":
    main()
