"""The command `python -m model.evaluate`: how good is a run, how sure is that, and what does each channel add?"""

import json
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
        found = evaluate(run, splits=chosen_splits(splits), **options)
        click.echo(summary(found))
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

    Raises:
        MissingError: no run, no checkpoint or no dataset.
        InputError: the dataset is not the run's, or is synthetic where the run's is not; a split is not there.
    """
    from model import backend, runs

    run = runs.open_run(folder)
    backend.start()
    from model.scores import evaluation
    from model.serving import scoring

    digest = evaluation.checkpoint_digest(run)
    dataset = scoring.open_dataset(run, data_dir, other=other_dataset)
    check_splits(dataset, splits)
    backend.deterministic_on_cpu()
    views = scoring.views_of(run, views)
    limit = limit or run.settings.limit_examples
    model = scoring.scorer(run, views)
    predictions = {split: _predict(model, run, dataset, split, limit) for split in splits}
    chosen = choose_thresholds(predictions)
    groups, frequencies = scoring.read_groups(dataset), class_frequencies(predictions, dataset)
    found: dict[str, Any] = {
        "format": evaluation.FORMAT,
        "checkpoint_sha256": digest,
        "dataset": describe_dataset(dataset, num_grouped=len(groups)),
        "same_dataset": dataset.fingerprint == run.dataset["fingerprint"],
        "views": views,
        "limit_examples": limit,
        "min_positives": min_positives,
        "thresholds": {name: values.tolist() for name, values in chosen.items()},
        "splits": {
            split: evaluation.describe_split(
                one.label_vectors,
                one.probabilities,
                chosen,
                dataset.class_names,
                codes=_codes(one.ids, groups),
                frequencies=frequencies,
                min_positives=min_positives,
            )
            for split, one in predictions.items()
        },
    }
    shown = splits[-1]
    found["shown_split"] = shown
    if ablation:
        found["ablation"] = ablate(model, run, dataset, shown, predictions[shown], limit, groups)
    found["gallery"] = _write_gallery(run, dataset, shown, predictions[shown], limit)
    for split, one in predictions.items():
        one.save(run.path / "evaluation" / f"predictions-{split}.npz")
    evaluation.write_classes(run.path / "evaluation" / "classes.csv", found)
    runs.write_json(run.path / "evaluation" / "evaluation.json", found)
    return found


def check_splits(dataset: Any, splits: Sequence[str]) -> None:
    """Refuses splits that the dataset does not have, or that are empty."""
    empty = [split for split in splits if not dataset.num_examples.get(split)]
    if empty:
        there = ",".join(split for split in SPLITS if dataset.num_examples.get(split))
        raise InputError(f"dataset {dataset.path}: no examples in {', '.join(empty)}; '--splits {there}' leaves it out")


def choose_thresholds(predictions: dict[str, Any]) -> dict[str, Any]:
    """Returns the thresholds of each rule, chosen on dev alone; without dev only the fixed ones."""
    import numpy as np

    from model.scores import thresholds

    if "dev" in predictions:
        return thresholds.choose(predictions["dev"].label_vectors, predictions["dev"].probabilities)
    num_classes = next(iter(predictions.values())).label_vectors.shape[1]
    return {"fixed": np.full(num_classes, thresholds.FIXED)}


def class_frequencies(predictions: dict[str, Any], dataset: Any) -> Any:
    """Returns the share of train that carries each class, float64 `[28]`; of the first split if train is not scored."""
    counts = read_metadata(dataset).get("label_counts", {}).get("train")
    if counts:
        import numpy as np

        return np.array(counts) / dataset.num_examples["train"]
    return next(iter(predictions.values())).label_vectors.mean(axis=0)


def describe_dataset(dataset: Any, num_grouped: int) -> dict[str, Any]:
    """Returns the dataset's card: what its metadata and its quarantine table say."""
    from model import runs

    metadata = read_metadata(dataset)
    rows = runs.read_rows(dataset.path / "quarantine.csv")
    return {
        "path": str(dataset.path),
        "fingerprint": dataset.fingerprint,
        "synthetic": dataset.synthetic,
        "size": dataset.size,
        "channels": list(dataset.channels),
        "class_names": list(dataset.class_names),
        "stains": metadata.get("stains", {}),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "num_examples": dataset.num_examples,
        "label_counts": metadata.get("label_counts", {}),
        "seed": metadata.get("seed"),
        "dataset_version": metadata.get("dataset_version"),
        "num_quarantined": metadata.get("num_quarantined", 0),
        "quarantine": rows[:100],
        "num_grouped": num_grouped,
    }


def read_metadata(dataset: Any) -> dict[str, Any]:
    """Returns what the dataset says of itself."""
    path = dataset.path / "metadata.json"
    return json.loads(path.read_text()) if path.exists() else {}


def blanks(channels: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns which channels to blank together: each reference, all references, and the protein as a control."""
    references = [channel for channel in channels if channel != "green"]
    sets = [(channel,) for channel in references]
    if len(references) > 1:
        sets.append(tuple(references))
    return [*sets, ("green",)] if "green" in channels else sets


def ablate(
    model: Any, run: Any, dataset: Any, split: str, full: Any, limit: int | None, groups: dict[str, str]
) -> dict[str, Any]:
    """Returns macro F1 of the run on `split` with channels blanked, beside the `full` predictions."""
    from model.scores import evaluation

    blanked = {
        channels: _predict(model, run, dataset, split, limit, blank=channels).probabilities
        for channels in blanks(run.settings.channels)
    }
    rows = evaluation.describe_ablation(full.label_vectors, full.probabilities, blanked, _codes(full.ids, groups))
    return {"split": split, "rows": rows}


def _predict(model: Any, run: Any, dataset: Any, split: str, limit: int | None, blank: Sequence[str] = ()) -> Any:
    from model.serving import scoring

    num = dataset.num_examples[split] if limit is None else min(limit, dataset.num_examples[split])
    with Bar(f"{split} without {','.join(blank)}" if blank else split, leave=False) as update:
        return scoring.predict_split(
            model, dataset, split, run, limit=limit, blank=blank, on_progress=lambda done: update(done, num)
        )


def _codes(ids: list[str], groups: dict[str, str]) -> Any:
    from model.scores import intervals

    return intervals.group_codes(ids, groups) if groups else None


def _write_gallery(run: Any, dataset: Any, split: str, predictions: Any, limit: int | None) -> list[dict[str, Any]]:
    """Chooses the pictures worth seeing, writes them to `gallery.npz`, and returns what is to be said of each."""
    import numpy as np

    from model.data import input_pipeline
    from model.page import gallery

    def batches() -> Any:
        return input_pipeline.eval_batches(dataset, split, channels=dataset.channels, batch_size=32, limit=limit)

    brightness = gallery.green_brightness(batches(), dataset.channels.index("green"))
    choices = gallery.choose(predictions.label_vectors, predictions.probabilities, brightness)
    images = gallery.pick(batches(), [choice.index for choice in choices])
    path = run.path / "evaluation" / "gallery.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, images=images)
    return [
        {
            "kind": choice.kind,
            "id": predictions.ids[choice.index],
            "class": choice.label,
            "labels": np.flatnonzero(predictions.label_vectors[choice.index]).tolist(),
            "probabilities": predictions.probabilities[choice.index].round(4).tolist(),
            "brightness": float(brightness[choice.index]),
        }
        for choice in choices
    ]


def summary(found: dict[str, Any]) -> str:
    """Returns the figures for the terminal."""
    parts = [_score_lines(found), _threshold_lines(found), _baseline_lines(found), _absent_lines(found)]
    if "ablation" in found:
        parts.append(_ablation_lines(found["ablation"]))
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _score_lines(found: dict[str, Any]) -> list[str]:
    at_least = f">= {found['min_positives']} positives"
    lines = [f"{'at 0.5':<6}{'macro F1 [95% interval]':>28}{at_least:>34}{'mAP':>8}{'ECE':>8}"]
    for split, one in found["splits"].items():
        rule = one["rules"]["fixed"]
        frequent = f"{_interval(rule['macro_f1_frequent'])} ({one['num_frequent']:2})" if one["num_frequent"] else "-"
        precision = one["mean_average_precision"]
        lines.append(
            f"{split:<6}{_interval(rule['interval']):>28}{frequent:>34}"
            f"{'-' if precision is None else f'{precision:.4f}':>8}{one['calibration']['expected_error']:>8.4f}"
        )
    return lines


def _interval(one: dict[str, float]) -> str:
    return f"{one['estimate']:.4f} [{one['low']:.4f}, {one['high']:.4f}]"


def _threshold_lines(found: dict[str, Any]) -> list[str]:
    splits = found["splits"]
    if "dev" not in splits or "test" not in splits:
        return []
    lines = [f"{'thresholds, chosen on dev':<28}{'dev':>8}{'test':>8}{'gap':>9}   macro F1"]
    for rule in found["thresholds"]:
        dev, test = (splits[split]["rules"][rule]["macro_f1"] for split in ("dev", "test"))
        lines.append(f"{rule:<28}{dev:>8.4f}{test:>8.4f}{dev - test:>+9.4f}")
    return lines


def _baseline_lines(found: dict[str, Any]) -> list[str]:
    names = {
        "all_positive": "every class for every image",
        "drawn_by_frequency": "drawn by class frequency",
        "constant_frequencies": "class frequencies at 0.5",
    }
    lines = [f"{'without a model':<28}" + "".join(f"{split:>8}" for split in found["splits"]) + "   macro F1"]
    for key, name in names.items():
        lines.append(f"{name:<28}" + "".join(f"{one['baselines'][key]:>8.4f}" for one in found["splits"].values()))
    return lines


def _absent_lines(found: dict[str, Any]) -> list[str]:
    return [
        f"{split}: no example of {', '.join(one['absent'])}: their F1 counts as 0, their average precision not at all"
        for split, one in found["splits"].items()
        if one["absent"]
    ]


def _ablation_lines(ablation: dict[str, Any]) -> list[str]:
    lines = [f"{'blanked (' + ablation['split'] + ')':<28}{'macro F1':>9}   change [95% interval]"]
    for row in ablation["rows"]:
        change = _interval(row["change"]).replace("-0.0000", "0.0000") if row["change"] else ""
        lines.append(f"{', '.join(row['blanked']) or 'nothing':<28}{row['macro_f1']:>9.4f}   {change}")
    return lines


if __name__ == "__main__":
    main()
