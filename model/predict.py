"""The command `python -m model.predict`: predictions for new images, and export of the model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from model import backend
from model.settings import CHOICES
from pipeline import errors
from pipeline.console import extras
from pipeline.console.called import echo_next
from pipeline.console.commands import Command
from pipeline.errors import InputError, one_line_errors
from pipeline.options import PATH
from pipeline.progress import Bar

# Everything else is imported where it is used, so that `--help` answers at once.


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", metavar="RUN...", type=PATH, nargs=-1, required=True)
@click.option("--images", type=PATH, help="Folder or zip of raw images, named as in the dataset's source.")
@click.option("--split", type=click.Choice(["train", "dev", "test"]), help="A split of the published dataset instead.")
@click.option("--export", "export_dir", type=PATH, help="Write the model itself to this folder instead.")
@click.option(
    "--out",
    type=PATH,
    help="Probabilities, .csv or .parquet.  [default: RUN/predictions/NAME.csv]",
)
@click.option(
    "--classes",
    type=PATH,
    help="Also write the names of the predicted classes, as a CSV with the columns Id and Predicted. Several names are separated as in the label table, or by | if that has numbers.",
)
@click.option("--submission", type=PATH, help="Also write a CSV in the form of Kaggle's 2018 competition.")
@click.option(
    "--rule",
    type=click.Choice(["fixed", "flat", "matched", "shrunk", "matched-set"]),
    default="fixed",
    show_default=True,
    help="Thresholds of the classes: 0.5, or chosen on dev by model.evaluate, or matched to these images.",
)
@click.option("--at-least-one", is_flag=True, help="If no class is above its threshold, predict the nearest.")
@click.option(
    "--views", type=click.Choice(CHOICES["test_time"]), help="As in model.evaluate.  [default: the run's setting]"
)
@click.option(
    "--data-dir",
    type=PATH,
    help="With --split: TFDS data directory.  [default: where the run read it]",
)
@click.option("--other-dataset", is_flag=True, help="With --split: allow a dataset with other contents than the run's.")
@click.option("--input-size", type=click.IntRange(1), help="With --export: pixels a side of the model's input.")
def main(folders: tuple[Path, ...], **options: Any) -> None:
    """Predict with the run in the folder RUN: raw images, or a split of the published dataset.

    With several runs of the same classes and channels, probabilities are averaged. Runs trained on other splits of
    the data, such as folds, may have been trained on the examples of --split: this needs --other-dataset.

    Raw images are prepared by the code that made the dataset. Bad ones are left out and listed, with the reason, in
    a table beside the probabilities. Images are streamed, so that any number of them fits in memory.

    If examples have several labels, an image may have no class above its threshold. Its row in --classes and
    --submission is then empty, as in the scores of model.evaluate. In the atlas every image shows the protein
    somewhere: --at-least-one takes the class nearest to its threshold. If examples have one label each, the most
    probable class is predicted.

    --rule matched-set predicts each class for the same share of the images as in train. Each decision then depends on
    all images: predict the whole set at once, at least 100 images, sampled as train was.

    \b
    python -m model.predict RUN --images test.zip --classes classes.csv
    python -m model.predict RUN --images test.zip --submission submission.csv
    python -m model.predict RUN --split dev --out dev.parquet
    python -m model.predict RUN RUN RUN --images test.zip      the mean over three runs
    python -m model.predict RUN --export exported     a model that needs only Keras, TensorFlow or ONNX
    """
    with one_line_errors():
        predict(*folders, echo=errors.echo, **options)
    if not options["export_dir"]:
        echo_next("model.predict", *folders, "--export", folders[-1] / "exported")


def predict(
    *folders: Path,
    images: Path | None = None,
    split: str | None = None,
    export_dir: Path | None = None,
    out: Path | None = None,
    classes: Path | None = None,
    submission: Path | None = None,
    rule: str = "fixed",
    at_least_one: bool = False,
    views: str | None = None,
    data_dir: Path | None = None,
    other_dataset: bool = False,
    input_size: int | None = None,
    echo: Callable[[str], None] = print,
) -> None:
    """Writes probabilities and, if asked for, the predicted classes; or exports the model.

    Raises:
        InputError: no run, checkpoint, images or dataset, no usable image, options that do not go together, or runs
            that cannot be averaged.
    """
    from model.serving import members as members_module
    from model.serving import tables

    _check_choice(folders, images, split, export_dir)
    run, *_ = members = members_module.open_runs(folders)
    out = out or run.path / "predictions" / f"{f'split-{split}' if split else images.stem if images else 'images'}.csv"
    tables.check(run, out, classes, submission)
    backend.start(run.settings.deterministic)
    from model.serving import decisions, scoring

    if export_dir:
        return _export(run, export_dir, scoring.choose_views(run, views), input_size, echo)
    wanted = tables.class_tables(run.schema, by_name=classes, submission=submission)
    decision = decisions.by_rule(members, rule, views, at_least_one=at_least_one) if wanted else None
    source = _open(members, images, str(split), data_dir, other=other_dataset)
    _write_tables(members, views, source, out, wanted, decision, echo)


def _check_choice(folders: Sequence[Path], images: Path | None, split: str | None, export_dir: Path | None) -> None:
    if [images, split, export_dir].count(None) != 2:
        raise InputError("choose one of --images DIR or ZIP, --split NAME, --export DIR")
    if export_dir and len(folders) > 1:
        raise InputError(f"--export is of one run, and {len(folders)} were given: name one")


def _export(run: Any, folder: Path, views: str, input_size: int | None, echo: Callable[[str], None]) -> None:
    """Exports the run's model to `folder`, and prints what was written."""
    from model.serving import export

    files, worst = export.export(run, folder, views, input_size)
    echo(f"{', '.join(map(str, files))}: same probabilities as the run, to {worst:.1g}")
    echo(f"model card: {folder / export.CARD_FILE}")
    if missing := export.missing_for_onnx():
        echo(f"no {export.ONNX_FILE}, without {', '.join(missing)}: {extras.install('onnx')}")


def _open(members: Sequence[Any], images: Path | None, split: str, data_dir: Path | None, *, other: bool) -> Any:
    """Returns the raw images in `images`, or the split of the first run's dataset, checked against the other runs."""
    from model.serving import raw, scoring
    from model.serving.published import open_published

    if images:
        return raw.open_raw(images, members[0].schema)
    source = open_published(members[0], split, data_dir, other=other)
    for run in members[1:]:
        scoring.check_dataset(run, source.dataset, other=other)
    return source


def _write_tables(
    members: Sequence[Any],
    views: str | None,
    source: Any,
    out: Path,
    wanted: Sequence[Any],
    decision: Any,
    echo: Callable[[str], None],
) -> None:
    """Writes the probabilities of the images of `source` to `out`, and the tables of predicted classes in `wanted`."""
    from model.serving import tables

    num_empty = 0

    def decide(probabilities: Any) -> Any:
        nonlocal num_empty
        predicted = decision.decide(probabilities)
        num_empty += int((~predicted.any(axis=1)).sum())
        return predicted

    at_once = bool(decision and decision.at_once)
    with tables.writing(out, members[0].schema.classes, wanted, decide if decision else None, at_once=at_once) as write:
        num, num_bad = _predict(members, views, source, write, out.with_name(f"{out.stem}.bad.csv"), echo)
    whole = f", chosen for these {num:,} images as a whole" if at_once else ""
    echo(f"{num:,} examples predicted, {num_bad:,} left out: {out}")
    for table in wanted:
        echo(f"{table.kind}: {table.path} ({decision.origin}{whole})")
    if num_empty:
        echo(
            f"{num_empty:,} rows are empty, because no class is above its threshold: --at-least-one predicts the nearest"
        )


def _predict(
    members: Sequence[Any],
    views: str | None,
    source: Any,
    write: Callable[[list[str], Any], None],
    bad_table: Path,
    echo: Callable[[str], None],
) -> tuple[int, int]:
    """Writes the probabilities of the images of `source`; returns how many examples are predicted and how many bad.

    Raises:
        InputError: no image is usable.
    """
    from model.serving import averaged, raw, scoring

    model, num = averaged.load_model(members, views), 0
    with Bar("predicting", leave=False) as update:
        for ids, images in source.batches(members[0].settings, scoring.BATCH_SIZE, update):
            write(ids, scoring.predict_batch(model, images))
            num += len(ids)
    num_bad = raw.report_bad(source.bad, bad_table, echo)
    if not num:
        raise InputError(f"{source.path}: no image could be used, {num_bad} are bad")
    return num, num_bad


if __name__ == "__main__":
    main()
