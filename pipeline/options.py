"""Options that several commands share."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.schema import Schema
    from pipeline.store.files import Place


class PlaceType(click.ParamType):  # type: ignore[type-arg]
    """A path, or a URL of an object store."""

    name = "place"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        from pipeline.errors import InputError
        from pipeline.store import files

        try:
            return files.at(value)
        except InputError as error:
            self.fail(str(error), parameter, context)


PLACE = PlaceType()


class HomePath(click.Path):
    """A path on a disk; `~` means the home directory, even where a shell does not expand it, as in `--out=~/run`."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), parameter, context)


PATH = HomePath(path_type=Path)


def load_schema(context: click.Context, parameter: click.Parameter, value: str) -> Any:
    """Returns the schema of that name, or of that file."""
    from pipeline import schema
    from pipeline.console import next_commands
    from pipeline.errors import InputError

    context.meta[next_commands.SCHEMA] = value
    try:
        return schema.load(value)
    except InputError as error:
        raise click.ClickException(str(error)) from None


def beam_arguments(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the options for Beam.

    An option that Beam does not know is an error, usually a misspelt option of ours. If it were ignored, a
    build would run long before anybody noticed, or stop with an error about something else.
    """
    if not value:
        return value
    from pipeline.write import runners

    for word in runners.unknown_flags(value):
        name = word.partition("=")[0]
        ours = [option for parameter in context.command.params for option in parameter.opts if option.startswith("--")]
        nearest = difflib.get_close_matches(name.replace("_", "-"), ours, n=1)
        advice = f"did you mean {nearest[0]}?" if nearest else "see --help"
        raise click.UsageError(f"{name}: neither an option of this command nor of Beam; {advice}", context)
    return value


BEAM_ARGUMENTS = click.argument("beam_args", nargs=-1, type=click.UNPROCESSED, callback=beam_arguments)
"""Arguments that a command does not know and passes to Beam."""


SCHEMA_OPTION = click.option(
    "--schema",
    default="hpa_kaggle_2018",
    show_default=True,
    callback=load_schema,
    help="Schema of the source: a TOML file ('schema init' drafts one), hpa_kaggle_2018, hpa_v18 or hpa_subcell.",
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for the input."""
    for option in (
        click.option(
            "--labels",
            type=PLACE,
            help="Label table, a CSV.  [default: the one in --source that the schema names]",
        ),
        click.option("--images", type=PLACE, help="Folder or zip of the images.  [default: those in --source]"),
        click.option(
            "--source",
            type=PLACE,
            help="Folder or zip (also gs://, s3://) in the schema's layout; by default Kaggle's: train.csv next to "
            "train/ or the unopened train.zip.",
        ),
        SCHEMA_OPTION,
    ):
        command = option(command)
    return command


def find_source(
    source: "Place | None", images: "Place | None", labels: "Place | None", schema: "Schema"
) -> "tuple[Place, Place]":
    """Returns the paths of (label table, images) that the options name."""
    from pipeline.images import sources

    if source is not None and images is None and labels is None:
        return sources.find(source, schema)
    if source is None and images is not None and labels is not None:
        return labels, images
    raise click.UsageError(
        "name the input: --source DIR (the label table next to the images), or --images and --labels; "
        "'python -m pipeline sample DIR' draws one"
    )
