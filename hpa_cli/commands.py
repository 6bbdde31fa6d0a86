"""The group of all commands."""

import importlib
from typing import Any

import click

from pipeline import cli
from pipeline.console.commands import Group

MODEL = {
    "train": "Train a classifier on a published dataset.",
    "evaluate": "Score a run on train, dev and test.",
    "report": "Make one HTML page of one or several runs.",
    "predict": "Predict for raw images or a split, or export the model.",
    "ladder": "Train all presets with the same budget.",
}
"""The commands of `model`, one module each, with their lines in the list of commands."""


class Commands(Group):
    """The commands of `pipeline`, which are light to import, and those of `model`, imported when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*self.commands, *MODEL]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in MODEL:
            command: click.Command = importlib.import_module(f"model.{name}").main
            return command
        return super().get_command(context, name)

    def format_commands(self, context: click.Context, formatter: Any) -> None:
        with formatter.section("Data"):
            formatter.write_dl([(name, command.get_short_help_str(80)) for name, command in self.commands.items()])
        with formatter.section("Model"):
            formatter.write_dl(list(MODEL.items()))


HELP = """Turn microscope images and a label table into a dataset, and train a classifier on it.

\b
No images at hand?    hpa-stacked sample build/sample
Your own images?      hpa-stacked schema init DIR --out atlas.toml
Build the dataset:    hpa-stacked shards --source DIR
Train a classifier:   hpa-stacked train
See how good it is:   hpa-stacked report RUN
"""


def _print_version(context: click.Context, option: click.Parameter, is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        from pipeline.schema import VERSION

        click.echo(f"hpa-stacked {version('hpa-stacked')}, dataset version {VERSION}")
        context.exit()


commands = Commands(
    commands=cli.main.commands,
    help=HELP,
    params=[
        click.Option(
            ["--version"], is_flag=True, expose_value=False, callback=_print_version, help="Show the versions and exit."
        )
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)
