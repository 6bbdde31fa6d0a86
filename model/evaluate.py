"""The command `python -m model.evaluate`: scores of a run with intervals, thresholds and an ablation of channels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from model.settings import CHOICES
from pipeline.console.called import echo_next
from pipeline.console.commands import Command
from pipeline.errors import InputError, echo, one_line_errors
from pipeline.options import PATH
from pipeline.progress import Bar
from pipeline.schema import SPLITS

# Everything else is imported where it is used, so that `--help` answers at once.


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=PATH)
@click.option("--data-dir", type=PATH, help="TFDS data directory.  [default: where the run read it]")
@click.option(
    "--views",
    type=click.Choice(CHOICES["test_time"]),
    help="Average over mirror images (flips), their transposes too (d4), or ten crops.  [default: the run's setting]",
)
@click.option("--splits", default=",".join(SPLITS), show_default=True, help="Splits to score, separated by commas.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Score at most this many examples of each split.  [default: the run's setting]",
)
@click.option("--ablation/--no-ablation", default=True, show_default=True, help="Blank each channel in turn.")
@click.option("--min-positives", default=10, show_default=True, help="Positives a class needs to count as frequent.")
@click.option("--other-dataset", is_flag=True, help="Allow a dataset with other contents than the run's.")
def main(run: Path, splits: str, **options: Any) -> None:
    """Score the run in the folder RUN on train, dev and test.

    Prints macro F1 with its 95% interval, average precision, calibration, baselines without a model, five rules for
    thresholds and their scores on test, and the change when a channel is blanked. If examples have one label
    each, it prints accuracy and balanced accuracy, and needs no thresholds. Writes
    evaluation.json, classes.csv, the predictions and the report's pictures to RUN/evaluation.

    \b
    python -m model.evaluate runs/stacked-256-1
    python -m model.evaluate runs/stacked-256-1 --splits dev,test --views d4
    """
    with one_line_errors():
        from model import runs
        from model.serving import summary

        result = evaluate(run, splits=chosen_splits(splits), **options)
        echo(summary.summary(result))
        words = runs.make_words("report", run)
    echo(f"written to {run / 'evaluation'}")
    echo_next("model.report", run, make=words)


def chosen_splits(text: str) -> list[str]:
    """Returns the splits named in `text`, in the order train, dev, test.

    Raises:
        InputError: one of them does not exist.
    """
    named = text.replace(" ", "").split(",")
    unknown = [name for name in named if name not in SPLITS]
    if unknown:
        raise InputError(f"no split {', '.join(map(repr, unknown))}: expected some of {', '.join(SPLITS)}")
    return [name for name in SPLITS if name in named]


def evaluate(
    folder: Path,
    *,
    splits: Sequence[str] = SPLITS,
    data_dir: Path | None = None,
    views: str | None = None,
    limit: int | None = None,
    ablation: bool = True,
    min_positives: int = 10,
    other_dataset: bool = False,
) -> dict[str, Any]:
    """Scores the run in `folder`, writes the files of its `evaluation/`, and returns the content of `evaluation.json`.

    Reads each split once. The last of `splits` is shown in detail, with ablation and gallery.

    Raises:
        MissingError: no run, no checkpoint or no dataset.
        InputError: the dataset is not the run's, or a split is empty.
    """
    from model import backend, runs

    run = runs.open_run(folder)
    backend.start(run.settings.deterministic)
    from model.scores import evaluation
    from model.serving import scoring

    checkpoint = evaluation.checkpoint_digest(run)
    dataset = scoring.open_dataset(run, splits, data_dir, other=other_dataset)
    views, limit = scoring.choose_views(run, views), limit or run.settings.limit_examples
    model = scoring.load_model(run, views)
    gallery, blanked = _observers(run, dataset, model, ablation=ablation)
    predictions = _predict(model, run, dataset, splits, limit, [gallery.add, blanked.add])
    codes = _group_codes(dataset, predictions)
    result = {
        "format": evaluation.FORMAT,
        "checkpoint_sha256": checkpoint,
        "views": views,
        "limit_examples": limit,
        "min_positives": min_positives,
        **_describe(run, dataset, predictions, codes, min_positives, blanked.probabilities()),
        "gallery": gallery.entries(),
    }
    _write(run.path / "evaluation", result, predictions, codes, gallery.pictures())
    return result


def _observers(run: Any, dataset: Any, model: Any, *, ablation: bool) -> tuple[Any, Any]:
    """Returns the `Candidates` for the gallery and the `Ablation`, which is empty without `ablation`."""
    from model.data import channels
    from model.page import gallery
    from model.serving import blanking, candidates

    sets = blanking.blanked_sets(run.settings.channels, channels.protein(run.schema)) if ablation else []
    white = gallery.white_levels(dataset.schema, dataset.mean, dataset.std)
    return candidates.Candidates(dataset.schema, white), blanking.Ablation(model, run, sets)


def _predict(
    model: Any, run: Any, dataset: Any, splits: Sequence[str], limit: int | None, observers: Sequence[Any]
) -> dict[str, Any]:
    """Returns the `Predictions` for each split; the observers see the last one."""
    from model.serving import scoring

    predictions = {}
    for split in splits:
        with Bar(split, leave=False) as update:
            predictions[split] = scoring.predict_split(
                model,
                run,
                dataset,
                split,
                limit=limit,
                observers=observers if split == splits[-1] else (),
                on_progress=update,
            )
    return predictions


def _describe(
    run: Any,
    dataset: Any,
    predictions: dict[str, Any],
    codes: dict[str, Any],
    min_positives: int,
    blanked: dict[tuple[str, ...], Any],
) -> dict[str, Any]:
    """Returns the dataset's card, thresholds, and scores of each split and of the ablation, as plain values."""
    from model.data import card
    from model.scores import describe, thresholds

    single_label, num_classes = dataset.schema.single_label, len(dataset.class_names)
    frequencies = train_frequencies(dataset)
    chosen = {} if single_label else thresholds.choose_on(predictions.get("dev"), num_classes, frequencies)
    described = {
        name: describe.describe_split(
            split.label_vectors,
            split.probabilities,
            thresholds.with_matched_set(chosen, frequencies, split.probabilities) if chosen else {},
            dataset.class_names,
            codes=codes[name],
            frequencies=frequencies,
            min_positives=min_positives,
        )
        for name, split in predictions.items()
    }
    shown = list(predictions)[-1]
    result = {
        "dataset": card.describe(dataset, num_grouped=len(card.read_groups(dataset))),
        "same_dataset": dataset.fingerprint == run.dataset["fingerprint"],
        "frequencies": None if frequencies is None else frequencies.tolist(),
        "thresholds": {rule: values.tolist() for rule, values in chosen.items()},
        "splits": described,
        "shown_split": shown,
    }
    if blanked:
        full = predictions[shown]
        rows = describe.describe_ablation(
            *(full.label_vectors, full.probabilities, blanked, codes[shown]),
            single_label=dataset.schema.single_label,
            min_positives=min_positives,
        )
        result["ablation"] = {"split": shown, "rows": rows}
    return result


def _group_codes(dataset: Any, predictions: dict[str, Any]) -> dict[str, Any]:
    """Returns the group of each example of each split, int64 `[N]`; `None` if the dataset has no groups."""
    from model.data import card
    from model.scores import intervals

    groups = card.read_groups(dataset)
    return {name: intervals.group_codes(split.ids, groups) if groups else None for name, split in predictions.items()}


def train_frequencies(dataset: Any) -> Any:
    """Returns the share of train examples with each class, float64 `[classes]`; `None` if train has no examples.

    Reads the labels of train if the metadata has no counts, as in a dataset that another program wrote.
    """
    from model.data import batches, card

    counted = card.class_frequencies(dataset)
    if counted is None and dataset.num_examples.get("train"):
        return batches.read_labels(dataset, "train").mean(axis=0)
    return counted


def _write(
    folder: Path, result: dict[str, Any], predictions: dict[str, Any], codes: dict[str, Any], pictures: Any
) -> None:
    """Writes the files of the evaluation; `evaluation.json` comes last, because it makes the evaluation current."""
    import numpy as np

    from model import runs
    from model.scores import evaluation
    from pipeline.store import files

    (folder / "evaluation.json").unlink(missing_ok=True)  # an earlier one must never describe these files
    with files.replacing(folder / "gallery.npz") as file:
        np.savez_compressed(file, images=pictures)
    for split, split_predictions in predictions.items():
        split_predictions.save(folder / f"predictions-{split}.npz", codes[split])
    evaluation.write_classes(folder / "classes.csv", result)
    runs.write_json(folder / "evaluation.json", evaluation.sealed(result))


if __name__ == "__main__":
    main()
