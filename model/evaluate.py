"""The command `python -m model.evaluate`: how good is a run, how sure is that, and what does each channel add?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pipeline.errors import InputError, one_line_errors
from pipeline.progress import Bar

# Everything else is imported when it is needed: `--help` answers at once.

SPLITS = ("train", "dev", "test")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where TFDS datasets lie.  [default: where the run read it]"
)
@click.option(
    "--views",
    type=click.Choice(["one", "flips", "d4"]),
    help="Mean over mirror images (flips), and turned ones too (d4).  [default: as the run's settings say]",
)
@click.option("--splits", default=",".join(SPLITS), show_default=True, help="Which splits, with commas.")
@click.option("--limit", type=click.IntRange(1), help="Only so many examples of each split.  [default: as the run]")
@click.option("--ablation/--no-ablation", default=True, show_default=True, help="Blank channels, one after another.")
@click.option("--min-positives", default=10, show_default=True, help="For the macro F1 over frequent classes.")
@click.option("--other-dataset", is_flag=True, help="Take a dataset of other contents than the run's.")
def main(run: Path, splits: str, **options: Any) -> None:
    """Score the run in the folder RUN on train, dev and test.

    Prints macro F1 with its 95% interval, average precision, calibration, the baselines that need no model, four
    ways to choose thresholds on dev with what they give on test, and what is lost when a channel is blanked.
    Writes evaluation.json, classes.csv, the predictions and the report's pictures into RUN/evaluation.

    \b
    python -m model.evaluate runs/stacked-256-1
    python -m model.evaluate runs/stacked-256-1 --splits dev,test --views d4
    """
    with one_line_errors():
        from model.serving import summary

        result = evaluate(run, splits=chosen_splits(splits), **options)
        click.echo(summary.summary(result))
    click.echo(f"written to {run / 'evaluation'}; 'python -m model.report {run}' makes a page of it")


def chosen_splits(text: str) -> list[str]:
    """Returns the splits named in `text`, in the order train, dev, test.

    Raises:
        InputError: one that does not exist.
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
    """Scores the run in `folder`, writes everything into its `evaluation/`, and returns what `evaluation.json` says.

    Each split is read once. The last of `splits` is the one shown in detail, with ablation and gallery.

    Raises:
        MissingError: no run, no checkpoint or no dataset.
        InputError: the dataset is not the run's, or is synthetic where the run's is not; a split does not exist.
    """
    from model import backend, runs

    run = runs.open_run(folder)
    backend.start()
    from model.data.dataset import check_present
    from model.scores import evaluation
    from model.serving import scoring

    checkpoint = evaluation.checkpoint_digest(run)
    dataset = scoring.open_dataset(run, data_dir, other=other_dataset)
    check_present(dataset, splits)
    backend.deterministic_on_cpu()
    views = scoring.choose_views(run, views)
    limit = limit or run.settings.limit_examples
    model = scoring.load_model(run, views)
    blanks = blanked_sets(run.settings.channels) if ablation else []
    scored = {
        split: _score(model, run, dataset, split, limit, blanks, is_shown=split == splits[-1]) for split in splits
    }
    result = {
        "format": evaluation.FORMAT,
        "checkpoint_sha256": checkpoint,
        "same_dataset": dataset.fingerprint == run.dataset["fingerprint"],
        "views": views,
        "limit_examples": limit,
        "min_positives": min_positives,
        **_describe(dataset, scored, min_positives),
    }
    _write(run, scored, result)
    return result


def blanked_sets(channels: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns which channels to blank together: each reference, all references, and the protein as a control."""
    references = [channel for channel in channels if channel != "green"]
    sets: list[tuple[str, ...]] = [(channel,) for channel in references]
    if len(references) > 1:
        sets.append(tuple(references))
    return [*sets, ("green",)] if "green" in channels else sets


def _score(
    model: Any, run: Any, dataset: Any, split: str, limit: int | None, blanks: Sequence[tuple[str, ...]], is_shown: bool
) -> Any:
    """Returns the `scoring.Scored` of one split; the shown one with ablation and pictures."""
    from model.serving import scoring
    from model.serving.candidates import Candidates

    with Bar(split, leave=False) as update:
        return scoring.score_split(
            model,
            run,
            dataset,
            split,
            limit=limit,
            blanks=blanks if is_shown else (),
            candidates=Candidates(dataset.channels) if is_shown else None,
            on_progress=update,
        )


def _describe(dataset: Any, scored: dict[str, Any], min_positives: int) -> dict[str, Any]:
    """Returns thresholds, splits, ablation and gallery as plain values."""
    from model.data import card
    from model.scores import describe, intervals, thresholds
    from model.serving.scoring import read_groups

    predictions = {split: one.predictions for split, one in scored.items()}
    first, shown = next(iter(predictions.values())), list(scored)[-1]
    chosen = thresholds.choose_on(predictions.get("dev"), len(dataset.class_names))
    groups = read_groups(dataset)
    codes = {split: intervals.group_codes(one.ids, groups) if groups else None for split, one in predictions.items()}
    frequencies = card.class_frequencies(dataset)
    described = {
        split: describe.describe_split(
            one.label_vectors,
            one.probabilities,
            chosen,
            dataset.class_names,
            codes=codes[split],
            frequencies=first.label_vectors.mean(axis=0) if frequencies is None else frequencies,
            min_positives=min_positives,
        )
        for split, one in predictions.items()
    }
    result = {
        "dataset": card.describe(dataset, num_grouped=len(groups)),
        "thresholds": {rule: values.tolist() for rule, values in chosen.items()},
        "splits": described,
        "shown_split": shown,
    }
    if blanked := scored[shown].blanked:
        full = predictions[shown]
        rows = describe.describe_ablation(full.label_vectors, full.probabilities, blanked, codes[shown])
        result["ablation"] = {"split": shown, "rows": rows}
    return result


def _write(run: Any, scored: dict[str, Any], result: dict[str, Any]) -> None:
    """Writes `evaluation.json`, `classes.csv`, the predictions and the pictures into the run folder."""
    from model import runs
    from model.scores import evaluation
    from model.serving import candidates

    folder = run.path / "evaluation"
    shown = scored[result["shown_split"]]
    result["gallery"] = candidates.write_gallery(folder / "gallery.npz", shown.predictions, shown.candidates)
    for split, one in scored.items():
        one.predictions.save(folder / f"predictions-{split}.npz")
    evaluation.write_classes(folder / "classes.csv", result)
    runs.write_json(folder / "evaluation.json", result)


if __name__ == "__main__":
    main()
