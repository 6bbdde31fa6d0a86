"""The commands `python -m pipeline schema init | check | range | show`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.console import next_commands
from pipeline.console.called import echo_next
from pipeline.console.commands import Group
from pipeline.errors import counted, echo, one_line_errors
from pipeline.options import PATH, PLACE, SCHEMA_OPTION, find_source, source_options

if TYPE_CHECKING:
    from pipeline.schema import Schema
    from pipeline.store.files import Place


@click.group(cls=Group)
def schema() -> None:
    """Declare channels, files, label table and classes.

    \b
    Draft a schema:            python -m pipeline schema init DIR --out atlas.toml
    Correct it, then check it: python -m pipeline schema check --schema atlas.toml --source DIR
    Build with it:             python -m pipeline shards --schema atlas.toml --source DIR
    """


@schema.command()
@click.argument("folder", type=PLACE)
@click.option("--table", help="Name of the label table in DIR.  [default: its only CSV]")
@click.option("--out", type=PATH, help="TOML file to write; the schema gets its name.  [default: print it]")
def init(folder: "Place", table: str | None, out: Path | None) -> None:
    """Look at the images and the table in FOLDER and draft a schema for you to correct."""
    from pipeline.errors import InputError
    from pipeline.schema.write import to_toml
    from pipeline.source.draft import draft

    with one_line_errors():
        if out and out.exists():
            raise InputError(f"{out}: exists already; remove it or name another file")
        drafted = draft(folder, table, out.stem if out else None)
        comment = "A draft: check every line, above all what each channel shows, the classes and the groups."
        if drafted.patterns == ("{id}",):
            comment += f'\nThe id, column {drafted.table.id!r}, is the name of the file: pattern = "{{id}}".'
        _show(to_toml(drafted, comment), out)
    if out:
        echo_next("pipeline schema check", "--schema", out, "--source", folder)


@schema.command()
@source_options
def check(source: "Place | None", images: "Place | None", labels: "Place | None", schema: "Schema") -> None:
    """Compare a source with a schema: what is found, what is missing, what the first images hold.

    Exits with 1 if anything does not match.
    """
    from pipeline.source import match

    with one_line_errors():
        facts, problems = match.report(_manifest(source, images, labels, schema))
    echo("\n".join(facts))
    for problem in problems[:20]:
        echo(problem)
    if problems:
        click.echo(counted(len(problems), "problem"))
        sys.exit(1)
    click.echo("matches")
    echo_next("pipeline audit", *next_commands.source_arguments())


@schema.command("range")
@source_options
@click.option("--percentiles", nargs=2, type=click.FloatRange(0, 100), help="[default: those of the schema]")
@click.option("--num", type=click.IntRange(1), help="Measure only this many examples.  [default: all]")
@click.option("--out", type=PATH, help="TOML file to write.  [default: print it]")
def measure_range(
    source: "Place | None",
    images: "Place | None",
    labels: "Place | None",
    schema: "Schema",
    percentiles: tuple[float, float] | None,
    num: int | None,
    out: Path | None,
) -> None:
    """Measure the range of each channel's values and write the schema with depth 'percentile'.

    For cameras that use only part of the range of their file format. Decodes all images once.
    """
    from pipeline import progress
    from pipeline.schema.write import to_toml
    from pipeline.source import ranges
    from pipeline.source.fitting import fitting_size

    with one_line_errors():
        manifest = _manifest(source, images, labels, schema)
        with progress.Bar("measuring") as update:
            measured = ranges.measure(manifest, percentiles or schema.percentiles, num=num, on_progress=update)
        _show(to_toml(measured), out)
    if out:
        sized = next_commands.size_arguments(fitting_size(manifest))
        echo_next("pipeline shards", *next_commands.source_arguments(schema=out), *sized)


@schema.command()
@SCHEMA_OPTION
def show(schema: "Schema") -> None:
    """Print a schema, as a starting point for your own."""
    from pipeline.schema.write import to_toml

    click.echo(to_toml(schema), nl=False)


def _manifest(source: "Place | None", images: "Place | None", labels: "Place | None", schema: "Schema") -> Any:
    from pipeline.images import sources
    from pipeline.plan import manifest

    labels_path, images_path = find_source(source, images, labels, schema)
    return manifest.read(labels_path, sources.open_images(images_path, schema), schema)


def _show(text: str, out: Path | None) -> None:
    from pipeline.store import files

    if out is None:
        click.echo(text, nl=False)
        return
    with files.replacing(out) as file:
        file.write(text.encode())
    click.echo(f"wrote {out}")
