"""The command `python -m bench`: measures this project and its peers, and writes the tables and the chart."""

import dataclasses
import tempfile
from pathlib import Path

import click

from bench import circumstances
from bench.builders import BUILDERS
from bench.checkout import HERE, Checkout
from bench.figures import chart, results, show, summary
from bench.readers import READERS
from bench.sections import SECTIONS, Options, unfinished

RESULTS = HERE.root / "bench" / "results.json"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure this project, its peers and the limits of the machine."""


def _checkout(_: click.Context, __: click.Parameter, root: Path | None) -> Checkout | None:
    return Checkout(root.resolve()) if root else None


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Results file (JSON) to add to.")
@click.option("--full", is_flag=True, help="Also the section `curve`, and plans of up to 10 million rows: an hour.")
@click.option("--only", multiple=True, type=click.Choice(list(SECTIONS)), help="Only these sections.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Runs of each contender.")
@click.option("--num", default=1_000, show_default=True, type=click.IntRange(64), help="Examples to build.")
@click.option("--num-read", default=2_048, show_default=True, type=click.IntRange(128), help="Examples to read from.")
@click.option("--builder", multiple=True, type=click.Choice(["ours", *BUILDERS]), help="Only these and `ours`.")
@click.option("--reader", multiple=True, type=click.Choice([*READERS, "limit"]), help="Only these and `ours`.")
@click.option(
    "--beside",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    callback=_checkout,
    help="Another checkout of this project, measured as the contender `before` of `build` and `read`.",
)
def run(
    out: Path,
    full: bool,
    only: tuple[str, ...],
    rounds: int,
    num: int,
    num_read: int,
    builder: tuple[str, ...],
    reader: tuple[str, ...],
    beside: Checkout | None,
) -> None:
    """Measure, and add all values to a results file.

    Every contender runs in a separate process, alternating with the others. What builders write and readers return is
    compared before they are timed. Values in the file that were measured on the same commit, machine and versions are kept
    and pooled with the new ones; others are replaced.
    """
    options = Options(rounds, num, num_read, full, before=beside)
    if builder:
        options = dataclasses.replace(options, builders=builder)
    if reader:
        options = dataclasses.replace(options, readers=reader)
    for checkout in options.checkouts.values():
        checkout.check()
    for name in only or [name for name in SECTIONS if full or name != "curve"]:
        add_section(name, options, out)
    click.echo(show.tables(results.load(out)))


def add_section(name: str, options: Options, out: Path) -> None:
    """Measures a section and adds it to the results file."""
    sections = results.load(out)
    options = dataclasses.replace(options, unfinished=unfinished(sections.get("plan", {})))
    described = circumstances.describe(options.before if name in ("build", "read") else None)
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        section = {**described, **SECTIONS[name](options, Path(work))}
    sections[name] = results.add(sections.get(name), section)
    sections.pop("repeat", None)  # it compared the earlier values
    results.save(sections, out)


@main.command()
@click.argument("first", type=click.Path(path_type=Path, exists=True))
@click.argument("second", type=click.Path(path_type=Path, exists=True))
@click.option("--note", is_flag=True, help="Store the outcome in FIRST, so that `show` prints it.")
def compare(first: Path, second: Path, note: bool) -> None:
    """Show which medians of the results SECOND lie within the spread of FIRST."""
    sections, further = results.load(first), results.load(second)
    rows = list(results.compare(sections, further))
    for name, (low, high), median, inside in rows:
        click.echo(f"{'inside ' if inside else 'OUTSIDE'} {name}: {median:,.4g} ({low:,.4g} to {high:,.4g})")
    outside = [name for name, *_, inside in rows if not inside]
    click.echo(f"{len(rows) - len(outside)} of {len(rows)} medians lie within the spread")
    if note:
        began = min(began for section in further.values() for began in section.get("began", []))
        sections["repeat"] = {"began": began, "num": len(rows), "outside": outside}
        results.save(sections, first)


@main.command("show")
@click.argument("file", metavar="[RESULTS]", type=click.Path(path_type=Path, exists=True), default=RESULTS)
@click.option("--write", is_flag=True, help="Write the tables to bench/README.md and README.md, and bench/chart.svg.")
def show_command(file: Path, write: bool) -> None:
    """Print the tables of a results file, by default bench/results.json."""
    sections = results.load(file)
    click.echo(show.tables(sections))
    if write:
        chart.draw(sections, HERE.root / "bench" / "chart.svg")
        texts = {HERE.root / "bench" / "README.md": show.tables, HERE.root / "README.md": summary.table}
        for path, text in texts.items():
            if not show.insert(text(sections), path):
                click.echo(f"{path}: not written, it has no lines {show.BEGIN} and {show.END}", err=True)


if __name__ == "__main__":
    main()
