"""The command `python -m model.ladder`: the paper's four models and `best`, one after the other, same budget.

The paper's claim is a ladder: green alone at 128, green at 256 with a deeper network, three filters, four
filters. Here each rung sees the same number of training images of one dataset, so that what differs is the
model and its input, not how long it was trained.
"""

import dataclasses
import datetime
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from model import backend, presets, report
from model.settings import Settings
from pipeline.errors import InputError, one_line_errors
from pipeline.threads import num_cores


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data-dir", type=click.Path(path_type=Path), required=True, help="Where the dataset (size 256) lies.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the run folders.")
@click.option("--results", type=click.Path(path_type=Path), help="JSON file to write the figures to.")
@click.option("--budget", default=200_000, show_default=True, help="Training images that each model sees.")
@click.option("--downsample", default=1, show_default=True, help="Average images down by so much on the way in.")
@click.option("--batch-size", type=int, help="For every model.  [default: each preset's own]")
@click.option("--weights", help="Pretrained start of `best`: imagenet or a file.  [default: none]")
@click.option("--only", multiple=True, type=click.Choice(presets.NAMES), help="Only these presets.")
@click.option("--seed", default=0, show_default=True)
def main(data_dir: Path, out: Path, results: Path | None, only: tuple[str, ...], **choices: Any) -> None:
    """Train the ladder of models with equal budgets and print macro F1 of each.

    A finished run is not trained again: the same command goes on where it was stopped.
    """
    with one_line_errors():
        backend.start()
        runs_seen = [climb(name, data_dir, out, **choices) for name in only or presets.NAMES]
        click.echo()
        page = report.write_page(tuple(path for path, _ in runs_seen), out / "report.html", "The ladder of models")
        rows = [figures(path, shown) for path, shown in runs_seen]
    click.echo(table(rows))
    click.echo(f"report: {page}")
    if results:
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps({**circumstances(data_dir), "models": rows}, indent=1) + "\n")
        click.echo(f"figures in {results}")


def climb(name: str, data_dir: Path, out: Path, **choices: Any) -> tuple[Path, int]:
    """Trains one preset in a process of its own, and returns its folder and how many images it saw."""
    settings, shown = rung(presets.load(name), data_dir, **choices)
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    config = path.parent / f"{name}.json"
    config.write_text(json.dumps(settings.to_json()))
    if not (path / "metrics.json").exists():
        command = [sys.executable, "-m", "model.train", "--data-dir", str(data_dir), "--out", str(path)]
        command += ["--resume"] if (path / "config.json").exists() else ["--preset", name, "--config", str(config)]
        click.echo(f"\n{name}: {' '.join(command[1:])}")
        if subprocess.run(command).returncode:
            raise InputError(f"{name}: training failed; the same command goes on from its last checkpoint")
    return path, shown


def rung(
    settings: Settings,
    data_dir: Path,
    *,
    budget: int,
    downsample: int,
    batch_size: int | None,
    weights: str | None,
    seed: int,
) -> tuple[Settings, int]:
    """Returns the preset fitted to the budget and to one dataset of 256 pixels, and how many images it will see.

    `green-128` looks at 256 averaged down by two, which is what a dataset of 128 would hold. Epochs are as
    many as come nearest the budget; oversampling makes an epoch longer, and so their number smaller.
    """
    from model.data.batches import read_labels
    from model.data.dataset import open_dataset
    from model.data.order import repeat_factors

    dataset = open_dataset(data_dir, 256)
    labels = read_labels(dataset, "train")
    per_epoch = float(len(labels))
    if settings.oversample:
        per_epoch = float(repeat_factors(labels, settings.oversample).sum())
    batch_size = batch_size or settings.batch_size
    epochs = max(1, round(budget / per_epoch))
    num_steps = int(epochs * per_epoch / batch_size)
    fitted = dataclasses.replace(
        settings,
        size=256,
        downsample=downsample * (256 // settings.size),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        weights=weights if settings.weights else None,
        # An average over more steps than a tenth of the run would still hold its random start.
        ema=min(settings.ema, 1 - 10 / max(num_steps, 20)) if settings.ema else 0.0,
    )
    return fitted, num_steps * batch_size


def figures(path: Path, shown: int) -> dict[str, Any]:
    """Returns what the ladder says of a run that was scored: macro F1 at 0.5, on test with its 95% interval, and mAP."""
    from model import runs
    from model.scores import evaluation

    run = runs.open_run(path)
    splits = evaluation.load(path)["splits"]
    scores = {split: found["rules"]["fixed"] for split, found in splits.items()}
    epochs = runs.read_rows(run.metrics_csv)
    return {
        "preset": run.settings.preset,
        "channels": list(run.settings.channels),
        "pixels": run.settings.size // run.settings.downsample,
        "batch_size": run.settings.batch_size,
        "epochs": run.settings.epochs,
        "images_seen": shown,
        "train_seconds": round(sum(float(row["seconds"]) for row in epochs), 1),
        "macro_f1": {split: round(one["macro_f1"], 4) for split, one in scores.items()},
        "test_interval": [round(scores["test"]["interval"][end], 4) for end in ("low", "high")],
        "mean_average_precision": {split: round(one["mean_average_precision"], 4) for split, one in splits.items()},
        "without_model": {
            "macro_f1": round(splits["test"]["baselines"]["all_positive"], 4),
            "mean_average_precision": round(splits["test"]["baselines"]["mean_average_precision"], 4),
        },
    }


def circumstances(data_dir: Path) -> dict[str, Any]:
    """Returns when, on what and from which code and data the figures came."""
    from model import runs
    from model.data.dataset import open_dataset

    dataset = open_dataset(data_dir, 256)
    return {
        "date": datetime.date.today().isoformat(),
        "git_commit": runs.git_commit(),
        "command": "python -m model.ladder " + " ".join(sys.argv[1:]),
        "hardware": f"{backend.summary()}; {num_cores()} cores, {platform.machine()}",
        "versions": backend.versions(),
        "synthetic": dataset.synthetic,
        "num_examples": dataset.num_examples,
        "fingerprint": dataset.fingerprint,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the ladder as text, one line a model."""
    lines = [
        f"{'':<48}{'macro F1 at 0.5':>24}{'mAP':>8}",
        f"{'model':<12}{'channels':<22}{'pixels':>6}{'images':>8}{'train':>8}{'dev':>8}{'test':>8}{'test':>8}",
    ]
    for row in rows:
        scores = "".join(f"{row['macro_f1'][split]:>8.3f}" for split in ("train", "dev", "test"))
        lines.append(
            f"{row['preset']:<12}{','.join(row['channels']):<22}{row['pixels']:>6}{row['images_seen']:>8,}{scores}"
            f"{row['mean_average_precision']['test']:>8.3f}"
        )
    without = rows[-1]["without_model"]
    lines.append(f"{'without a model':<64}{without['macro_f1']:>8.3f}{without['mean_average_precision']:>8.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
