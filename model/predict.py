"""The command `python -m model.predict`: what does a run say of images it has never seen?"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from pipeline.errors import InputError, one_line_errors
from pipeline.progress import Bar

# Everything else is imported when it is needed: `--help` answers at once.


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), help="Folder or zip of raw images <Id>_<filter>.png.")
@click.option("--split", type=click.Choice(["train", "dev", "test"]), help="A split of the published dataset instead.")
@click.option("--export", "export_dir", type=click.Path(path_type=Path), help="Folder to write the model itself to.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Probabilities, .csv or .parquet.  [default: RUN/predictions/NAME.csv]",
)
@click.option("--submission", type=click.Path(path_type=Path), help="CSV in Kaggle's form to write too: Id,Predicted.")
@click.option(
    "--rule",
    type=click.Choice(["fixed", "flat", "matched", "shrunk"]),
    default="fixed",
    show_default=True,
    help="Thresholds of the submission: 0.5, or chosen on dev by model.evaluate.",
)
@click.option(
    "--at-least-one", is_flag=True, help="Submission: where no class is over its threshold, the nearest to it."
)
@click.option(
    "--views", type=click.Choice(["one", "flips", "d4"]), help="Mean over mirror images, and turned ones too."
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="With --split: where TFDS datasets lie.")
@click.option("--other-dataset", is_flag=True, help="With --split: take a dataset of other contents than the run's.")
@click.option("--input-size", type=click.IntRange(1), help="With --export: pixels a side of what the model will get.")
def main(run: Path, **options: Any) -> None:
    """Predict with the run in the folder RUN: raw images, or a split of the published dataset.

    Raw images are prepared by the code that made the dataset. Those that cannot be used are left out and listed,
    with the reason, in a table beside the probabilities. Any number of images fits: they stream through.

    An image may have no class over its threshold; its row in the submission is then empty, as in the scores of
    model.evaluate. In the atlas every image shows the protein somewhere: --at-least-one says where, if it must be.

    \b
    python -m model.predict RUN --images test.zip --submission submission.csv
    python -m model.predict RUN --split dev --out dev.parquet
    python -m model.predict RUN --export exported     a model that needs only Keras or TensorFlow
    """
    with one_line_errors():
        predict(run, say=click.echo, **options)


def predict(
    folder: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    export_dir: Path | None = None,
    out: Path | None = None,
    submission: Path | None = None,
    rule: str = "fixed",
    at_least_one: bool = False,
    views: str | None = None,
    data_dir: Path | None = None,
    other_dataset: bool = False,
    input_size: int | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Writes what is asked for: probabilities and submission, or the model.

    Raises:
        MissingError: no run, no checkpoint, no images or no dataset.
        InputError: what was asked for does not fit, or not one image could be used.
    """
    from model import backend, runs
    from model.serving import tables

    if [images, split, export_dir].count(None) != 2:
        raise InputError("choose one of --images DIR or ZIP, --split NAME, --export DIR")
    run = runs.open_run(folder)
    out = out or run.path / "predictions" / f"{split or (images.stem if images else 'images')}.csv"
    tables.check_name(out)
    backend.start()
    from model.serving import scoring

    views = scoring.choose_views(run, views)
    if export_dir:
        _export(run, export_dir, views, input_size, say)
        return
    decide = _decider(run, rule, views, at_least_one) if submission else None
    if images:
        _predict_raw(run, images, views, out, submission, decide, say)
    else:
        _predict_split(
            run, scoring.open_dataset(run, data_dir, other=other_dataset), split, views, out, submission, decide, say
        )
    if submission:
        say(f"submission: {submission} ({rule} thresholds)")


def _predict_raw(run: Any, images: Path, views: str, out: Path, submission: Path | None, decide: Any, say: Any) -> None:
    """Writes the predictions for raw images, and a table of those that could not be used."""
    from model import backend
    from model.network.classifier import predict_batch
    from model.serving import raw, scoring

    source = raw.open_raw(images)
    backend.deterministic_on_cpu()
    model = scoring.load_model(run, views)
    with _writer(run, out, submission, decide) as write:
        with Bar("predicting", leave=False) as update:
            num = sum(
                write(ids, predict_batch(model, batch, scoring.BATCH_SIZE))
                for ids, batch in source.batches(run.settings, scoring.BATCH_SIZE, update)
            )
        num_bad = source.report_bad(out.with_name(f"{out.stem}.bad.csv"), say)
        if not num:
            raise InputError(f"{images}: no image could be used, {num_bad} are bad")
    say(f"{num:,} examples predicted, {num_bad:,} left out: {out}")


def _predict_split(
    run: Any, dataset: Any, split: str | None, views: str, out: Path, submission: Path | None, decide: Any, say: Any
) -> None:
    """Writes the predictions for a split of a published dataset."""
    from model import backend
    from model.data.dataset import check_present
    from model.serving import scoring

    check_present(dataset, [str(split)])
    backend.deterministic_on_cpu()
    model = scoring.load_model(run, views)
    num, total = 0, dataset.num_examples[split]
    with Bar("predicting", leave=False) as update, _writer(run, out, submission, decide) as write:
        for batch in scoring.predicted_batches(model, run, dataset, str(split)):
            num += write([example_id.decode() for example_id in batch.ids.numpy().tolist()], batch.images)
            update(num, total)
    say(f"{num:,} examples predicted, 0 left out: {out}")


@contextlib.contextmanager
def _writer(run: Any, out: Path, submission: Path | None, decide: Any) -> Iterator[Callable[[list[str], Any], int]]:
    """Yields `write(ids, probabilities)`, which adds rows to every table and returns how many."""
    from model.serving import tables

    with contextlib.ExitStack() as stack:
        add = stack.enter_context(tables.probabilities(out, run.dataset["class_names"]))
        submit = stack.enter_context(tables.submission(submission)) if submission else None

        def write(ids: list[str], probabilities: Any) -> int:
            add(ids, probabilities)
            if submit:
                submit(ids, decide(probabilities))
            return len(ids)

        yield write


def _decider(run: Any, rule: str, views: str, at_least_one: bool) -> Callable[[Any], Any]:
    """Returns the function from probabilities to predicted classes, bool, both `[N, 28]`.

    Raises:
        MissingError: the thresholds were not chosen yet.
        InputError: they were chosen for another checkpoint or other views, or without dev.
    """
    from model.scores import evaluation, thresholds

    chosen = evaluation.thresholds_of(run, rule, views)

    def decide(probabilities: Any) -> Any:
        predicted = thresholds.predict(probabilities, chosen)
        return thresholds.at_least_one(predicted, probabilities, chosen) if at_least_one else predicted

    return decide


def _export(run: Any, folder: Path, views: str, side: int | None, say: Callable[[str], None]) -> None:
    import numpy as np

    from model.serving import export

    model = export.whole_model(run, views, side)
    written = export.write(model, folder, export.card(run, views, side or run.settings.size))
    images = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), dtype=np.uint8)
    worst = export.check(model, written, images)
    say(f"{' and '.join(map(str, written))}: same answers as the run, to {worst:.1g}")


if __name__ == "__main__":
    main()
