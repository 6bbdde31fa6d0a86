"""The command `python -m model.predict`: what does a run say of images it has never seen?"""

import contextlib
import csv
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from pipeline.errors import InputError, MissingError, one_line_errors
from pipeline.progress import Bar
from pipeline.threads import map_ahead, num_cores

# Everything else is imported when it is needed: `--help` answers at once.

NUM_WAITING = 64
"""Images that are decoded ahead: 16 MiB at 256 x 256."""


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
    from model.serving import predictions

    if [images, split, export_dir].count(None) != 2:
        raise InputError("say one of --images DIR or ZIP, --split NAME, --export DIR")
    run = runs.open_run(folder)
    out = out or run.path / "predictions" / f"{split or (images.stem if images else 'images')}.csv"
    predictions.check_name(out)
    backend.start()
    from model.serving import scoring

    views = scoring.views_of(run, views)
    if export_dir:
        _export(run, export_dir, views, input_size, say)
        return
    chosen = thresholds_of(run, rule, views) if submission else None
    if images:
        source = _raw(images, run.settings)
    else:
        source = _published(scoring.open_dataset(run, data_dir, other=other_dataset), split, run.settings)
    backend.deterministic_on_cpu()
    model = scoring.scorer(run, views)
    bad: list[Any] = []
    num = 0
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(predictions.probabilities(out, run.dataset["class_names"]))
        submit = stack.enter_context(predictions.submission(submission)) if submission else None
        for ids, batch in batched(stack.enter_context(source), bad):
            answers = scoring.predict_batch(model, batch)
            write(ids, answers)
            if submit:
                submit(ids, decided(answers, chosen, at_least_one))
            num += len(ids)
        _report_bad(bad, out, say)
        if not num:
            raise InputError(f"{images or split}: not one image could be used, {len(bad)} are bad")
    say(f"{num:,} examples predicted, {len(bad):,} left out: {out}")
    if submission:
        say(f"submission: {submission} ({rule} thresholds)")


def thresholds_of(run: Any, rule: str, views: str) -> Any:
    """Returns the thresholds of the rule, float64 `[28]`.

    Raises:
        MissingError: they were not chosen yet.
        InputError: they were chosen for another checkpoint or other views, or there was no dev to choose them on.
    """
    import numpy as np

    from model.scores import evaluation, thresholds

    if rule == "fixed":
        return np.full(len(run.dataset["class_names"]), thresholds.FIXED)
    found = evaluation.load(run.path)
    if found["checkpoint_sha256"] != evaluation.checkpoint_digest(run) or found["views"] != views:
        raise InputError(
            f"run {run.path}: thresholds were chosen for another checkpoint or other views: "
            f"'python -m model.evaluate {run.path} --views {views}' chooses them anew"
        )
    if rule not in found["thresholds"]:
        raise InputError(f"run {run.path}: no {rule} thresholds, because it was evaluated without dev")
    return np.array(found["thresholds"][rule])


def decided(probabilities: Any, chosen: Any, at_least_one: bool) -> Any:
    """Returns which classes are predicted, bool `[N, 28]`."""
    from model.scores import thresholds

    predicted = thresholds.predict(probabilities, chosen)
    return thresholds.at_least_one(predicted, probabilities, chosen) if at_least_one else predicted


@contextlib.contextmanager
def _raw(path: Path, settings: Any) -> Iterator[Iterable[tuple[str, Any]]]:
    """Yields (id, image uint8 `[S, S, C]` or `BadExample`) of raw images, with a bar."""
    images = open_source(path)
    ids = list_ids(images, path)
    channels = channel_indices(settings)
    with Bar("predicting", leave=False) as update:
        yield (
            (example_id, image if isinstance(image, Exception) else image[..., channels])
            for example_id, image in _counted(stacked(images, ids, settings.size), len(ids), update)
        )


@contextlib.contextmanager
def _published(dataset: Any, split: str, settings: Any) -> Iterator[Iterable[tuple[str, Any]]]:
    """Yields (id, image uint8 `[S, S, C]`) of a split, with a bar."""
    from model import evaluate
    from model.data import input_pipeline

    evaluate.check_splits(dataset, [split])
    batches = input_pipeline.eval_batches(dataset, split, channels=settings.channels, batch_size=32)
    ids = input_pipeline.read_ids(dataset, split)
    with Bar("predicting", leave=False) as update:
        images = itertools.chain.from_iterable(batch.numpy() for batch in batches)
        yield _counted(zip(ids, images, strict=True), len(ids), update)


def _counted(pairs: Iterable[Any], total: int, update: Callable[[int, int], None]) -> Iterator[Any]:
    for done, pair in enumerate(pairs, 1):
        yield pair
        update(done, total)


def batched(pairs: Iterable[tuple[str, Any]], bad: list[Any]) -> Iterator[tuple[list[str], Any]]:
    """Yields (ids, images `[B, S, S, C]`) of what is good; what is not goes to `bad` as (id, error)."""
    import numpy as np

    from model.serving.scoring import BATCH_SIZE

    def good() -> Iterator[tuple[str, Any]]:
        for example_id, image in pairs:
            if isinstance(image, Exception):
                bad.append((example_id, image))
            else:
                yield example_id, image

    rest = good()
    while batch := list(itertools.islice(rest, BATCH_SIZE)):
        yield [example_id for example_id, _ in batch], np.stack([image for _, image in batch])


def open_source(path: Path) -> Any:
    """Returns the images in a folder or zip (see `pipeline.images.sources`).

    Raises:
        MissingError: nothing there.
        InputError: something else there.
    """
    from pipeline.images import sources

    try:
        return sources.open_images(path)
    except FileNotFoundError as error:
        raise MissingError(str(error)) from None


def list_ids(images: Any, path: Path) -> list[str]:
    """Returns the ids of which there is at least one filter image, sorted.

    Raises:
        InputError: there is none.
    """
    from pipeline.schema import FILTERS

    endings = tuple(f"_{name}.png" for name in FILTERS)
    ids = sorted({name.rpartition("_")[0] for name, _ in images.entries() if name.endswith(endings)})
    if not ids:
        raise InputError(f"{path}: no images <Id>_<filter>.png with the filters {', '.join(FILTERS)}")
    return ids


def channel_indices(settings: Any) -> list[int]:
    """Returns where the channels that the network sees are in a stacked image."""
    from pipeline.schema import FILTERS

    return [FILTERS.index(channel) for channel in settings.channels]


def stacked(images: Any, ids: list[str], size: int) -> Iterator[tuple[str, Any]]:
    """Yields (id, image uint8 `[size, size, 4]`), or (id, `BadExample`) for a bad one, in the order of `ids`.

    A few are decoded ahead; the rest wait on the disk.
    """
    from pipeline.images.stack import BadExample, stack_example

    def load(example_id: str) -> Any:
        try:
            return stack_example(images, example_id, size).image
        except BadExample as error:
            return error

    with ThreadPoolExecutor(num_cores()) as pool:
        yield from zip(ids, map_ahead(pool, load, ids, NUM_WAITING), strict=True)


def _report_bad(bad: list[Any], out: Path, say: Callable[[str], None]) -> None:
    """Lists the bad images, the first ten on the terminal and all of them in a table beside `out`."""
    table = out.with_name(f"{out.stem}.bad.csv")
    table.unlink(missing_ok=True)
    if not bad:
        return
    rows = [(example_id, one.filter, one.code, one.detail) for example_id, error in bad for one in error.images]
    for example_id, filter_name, code, detail in rows[:10]:
        say(f"left out {example_id}: filter '{filter_name}': {code}: {detail}")
    if len(rows) > 10:
        say(f"and {len(rows) - 10:,} more")
    table.parent.mkdir(parents=True, exist_ok=True)
    with open(table, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("id", "filter", "code", "detail"), *rows])
    say(f"all bad images: {table}")


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
