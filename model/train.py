"""The command `python -m model.train`."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model import presets
from model import settings as settings_module
from model.settings import Settings
from pipeline.console.called import echo_next
from pipeline.console.commands import Command
from pipeline.errors import InputError, StoppedError, echo, one_line_errors
from pipeline.options import PATH
from pipeline.schema import Schema

if TYPE_CHECKING:
    from model.data.dataset import Dataset
    from model.runs import Run

# The rest is imported where it is needed, so that `--help` is fast.

DEFAULT_PRESET = "stacked-256"


def _channels(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return tuple(value.replace(" ", "").split(",")) if value else None


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--preset", type=click.Choice(presets.NAMES), help=f"Settings to start from.  [default: {DEFAULT_PRESET}]"
)
@click.option("--smoke", is_flag=True, help="A short version of the preset: about a minute on two cores.")
@click.option(
    "--data-dir",
    type=PATH,
    help="TFDS data directory.  [default: what was built last in this folder, else TFDS's own]",
)
@click.option("--schema", help="Name of the dataset's schema.  [default: the only one of that size]")
@click.option("--size", type=click.IntRange(1), help="Pixels a side of the dataset's images.  [default: the preset's]")
@click.option("--out", type=PATH, help="Run folder.  [default: runs/PRESET-NUMBER]")
@click.option("--resume", is_flag=True, help="Continue the run in --out, or the newest run of the preset.")
@click.option(
    "--config",
    "config_path",
    type=PATH,
    help="JSON file of settings; options on the command line win.",
)
@click.option("--epochs", type=int, help="Passes over train. With --resume: the new total.")
@click.option("--batch-size", type=int, help="Examples in a training step.")
@click.option("--learning-rate", type=float, help="Highest rate, reached after the warm-up.")
@click.option("--seed", type=int, help="Seed of the first weights, the order of examples and the augmentation.")
@click.option("--channels", callback=_channels, help="For example green, or green,blue,red, or all.")
@click.option("--weights", help="imagenet, or a file with the backbone's weights in keras.applications.")
@click.option("--init-from", type=PATH, help="Start from the best weights of the run in this folder.")
@click.option(
    "--deterministic",
    is_flag=True,
    default=None,
    help="Compute bit-identical losses, also after --resume; several times slower on a CPU.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any setting of model/settings.py, for example width=16; may be repeated.",
)
@click.option(
    "--track",
    type=click.Choice(["mlflow", "wandb"]),
    help="Also report settings, epochs and scores to this tracker; needs the extra of that name.",
)
def main(
    preset: str | None,
    smoke: bool,
    data_dir: Path | None,
    schema: str | None,
    out: Path | None,
    resume: bool,
    config_path: Path | None,
    assignments: tuple[str, ...],
    track: str | None,
    init_from: Path | None,
    **options: Any,
) -> None:
    """Train a classifier on a published dataset.

    Without options, it trains the paper's fourth model on the dataset that was built last. The preset `any`
    suits datasets of all channels, classes and sizes; the others need the channels of the Human Protein Atlas.
    The environment variable KERAS_BACKEND selects tensorflow, jax or torch.

    \b
    python -m model.train --smoke                  check that everything works
    python -m model.train --preset best            the strongest preset
    python -m model.train --preset any --data-dir DIR    any dataset
    python -m model.train --resume --out RUN       continue an interrupted run
    python -m model.train --resume --out RUN --epochs 60    train a finished run for longer
    """
    with one_line_errors("stopped; --resume continues from the last checkpoint, if there is one"):
        if resume and init_from:
            raise InputError("--init-from starts another run: leave it out to resume one")
        given = {name: value for name, value in options.items() if value is not None}
        given |= settings_module.parse(assignments, "--set")
        if resume:
            out, settings = _resumed(out, preset, smoke, config_path, given)
        else:
            settings = chosen_settings(preset, smoke, config_path, given)
        if init_from:
            settings = dataclasses.replace(settings, weights=None)
        _train(settings, data_dir, schema, out, init_from, smoke=smoke, resume=resume, track=track)


def chosen_settings(preset: str | None, smoke: bool, config_path: Path | None, given: dict[str, Any]) -> Settings:
    """Returns the preset (shortened by `smoke`), overridden by the config file and then by the options `given`."""
    values = settings_module.read_config(config_path) if config_path else {}
    settings = presets.load(preset or values.get("preset") or DEFAULT_PRESET)
    settings = settings_module.smoke(settings) if smoke else settings
    settings = settings_module.override(settings, {**values, "preset": settings.preset}, str(config_path))
    return settings_module.override(settings, given, "command line")


def _resumed(
    out: Path | None, preset: str | None, smoke: bool, config_path: Path | None, given: dict[str, Any]
) -> tuple[Path, Settings]:
    """Returns folder and settings of the run to resume, which may have more epochs or another patience than before.

    Raises:
        InputError: there is no run, or other settings are given than it was started with.
    """
    from model import runs

    out = out or runs.newest_path(presets.load(preset or DEFAULT_PRESET), smoke=smoke)
    run = runs.open_run(out)
    saved = run.settings
    if preset or smoke or config_path:
        requested = chosen_settings(preset or saved.preset, smoke, config_path, given)
    else:
        requested = settings_module.override(saved, given, "command line")
    requested = settings_module.resolve(requested, run.dataset["size"], run.dataset["channels"])
    changed = settings_module.differences(saved, settings_module.without_extension(requested, saved))
    if changed:
        raise InputError(f"cannot resume {out} with other settings: {'; '.join(changed)}")
    return out, requested


def _train(
    settings: Settings,
    data_dir: Path | None,
    schema: str | None,
    out: Path | None,
    init_from: Path | None,
    *,
    smoke: bool,
    resume: bool,
    track: str | None,
) -> None:
    from model import backend

    backend.start(settings.deterministic)
    from model import runs
    from model.data.dataset import check_batch_size, check_splits, default_data_dir, open_dataset
    from model.training import loop, tracking

    if resume:
        assert out is not None
        schema = schema or runs.open_run(out).schema.name
    dataset = open_dataset(data_dir or default_data_dir(), settings.size, schema)
    echo(f"dataset {dataset.describe()}")
    settings_module.check_fit(settings, dataset.schema, f"dataset {dataset.path}")
    settings = settings_module.resolve(settings, dataset.size, dataset.channels)
    check_splits(dataset)
    _report_limits(dataset, settings.limit_examples)
    check_batch_size(dataset, settings.batch_size, settings.limit_examples)
    if resume and out:
        run = _reopened(out, dataset, settings)
    else:
        origin = _origin(init_from, settings, dataset.schema) if init_from else None
        path = out or runs.create_path(settings, smoke=smoke)
        run = runs.create(path, settings, dataset, backend.versions(), origin)
    echo(f"run {run.path} ({_named_with_size(settings)})")
    with (
        _naming_resume(run.path, data_dir),
        runs.removed_unless_started(run),
        tracking.tracked(track, run, echo) as reported,
    ):
        reported.scores(loop.train(run, dataset, resume=resume, log=echo, observe=reported.epoch))
    echo_next("model.evaluate", run.path, make=runs.make_words("evaluate", run.path))


def _report_limits(dataset: "Dataset", limit: int | None) -> None:
    """Says which part of the dataset is used, and which classes train lacks."""
    from model.data.card import absent_classes

    cut = limit is not None and limit < max(dataset.num_examples.values())
    if cut:
        echo(f"only the first {limit:,} examples of each split are used (limit_examples)")
    if absent := absent_classes(dataset, limit):
        subject = f"none of the first {limit:,} examples" if cut else "no example"
        echo(f"WARNING: {subject} of train has {', '.join(absent)}: the model cannot learn to find them")


def _named_with_size(settings: Settings) -> str:
    """Returns the name of the preset, and the size of images if it differs from the preset's."""
    known = settings.preset in presets.NAMES
    own = known and presets.load(settings.preset).size == settings.size
    return settings.preset if own else f"{settings.preset} at {settings.size} pixels"


def _reopened(path: Path, dataset: "Dataset", settings: Settings) -> "Run":
    """Returns the run in a folder, with settings that may have more epochs than before."""
    from model import backend, runs
    from model.data.dataset import check_same

    run = runs.open_run(path)
    check_same(dataset, run.dataset, run.path)
    run = runs.extend(run, settings, echo)
    runs.report_backend(run, backend.versions()["backend"], echo)
    return run


@contextlib.contextmanager
def _naming_resume(run: Path, data_dir: Path | None) -> Iterator[None]:
    """Adds the command that continues a stopped run to the error that ends it."""
    try:
        yield
    except StoppedError as error:
        where = ("--data-dir", data_dir) if data_dir else ()
        error.next_command = ("model.train", "--resume", "--out", run, *where)
        raise


def _origin(path: Path, settings: Settings, schema: Schema) -> dict[str, Any]:
    from model.network import initial

    origin, with_output = initial.origin_of(path, settings, schema)
    echo(
        f"starting from {path}"
        + ("" if with_output else ", without its output layer, which has other classes or pooling")
    )
    return origin


if __name__ == "__main__":
    main()
