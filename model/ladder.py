"""The command `python -m model.ladder`: the paper's four models and `best`, one after the other, same budget.

The paper's claim is a ladder: green alone at 128, green at 256 with a deeper network, three filters, four
filters. Here each rung sees the same number of training images of one dataset, so that what differs is the
model and its input, not how long it was trained.
"""

import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from model import errors, presets
from model.settings import Settings


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
    try:
        rows = [climb(name, data_dir, out, **choices) for name in only or presets.NAMES]
    except errors.EXPECTED as error:
        raise click.ClickException(str(error)) from error
    click.echo(table(rows))
    if results:
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps({**circumstances(data_dir), "models": rows}, indent=1) + "\n")
        click.echo(f"figures in {results}")


def climb(name: str, data_dir: Path, out: Path, **choices: Any) -> dict[str, Any]:
    """Trains one preset in a process of its own, and returns its figures."""
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
            raise errors.InputError(f"{name}: training failed; the same command goes on from its last checkpoint")
    return figures(path, shown)


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
    from model import input_pipeline

    dataset = input_pipeline.open_dataset(data_dir, 256)
    labels = input_pipeline.read_labels(dataset, "train")
    per_epoch = float(len(labels))
    if settings.oversample:
        per_epoch = float(input_pipeline.repeat_factors(labels, settings.oversample).sum())
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
    """Returns what the ladder says of a finished run."""
    from model import runs

    run = runs.open_run(path)
    metrics = json.loads((path / "metrics.json").read_text())
    epochs = runs.read_rows(run.metrics_csv)
    return {
        "preset": run.settings.preset,
        "channels": list(run.settings.channels),
        "pixels": run.settings.size // run.settings.downsample,
        "batch_size": run.settings.batch_size,
        "epochs": run.settings.epochs,
        "images_seen": shown,
        "train_seconds": round(sum(float(row["seconds"]) for row in epochs), 1),
        "macro_f1": {split: round(found["macro_f1"], 4) for split, found in metrics["splits"].items()},
    }


def circumstances(data_dir: Path) -> dict[str, Any]:
    """Returns when, on what and from which code and data the figures came."""
    from model import backend, input_pipeline, runs

    backend.start()
    dataset = input_pipeline.open_dataset(data_dir, 256)
    return {
        "date": datetime.date.today().isoformat(),
        "git_commit": runs.git_commit(),
        "command": "python -m model.ladder " + " ".join(sys.argv[1:]),
        "hardware": f"{backend.summary()}; {len(os.sched_getaffinity(0))} cores, {platform.machine()}",
        "versions": backend.versions(),
        "synthetic": dataset.synthetic,
        "num_examples": dataset.num_examples,
        "fingerprint": dataset.fingerprint,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the ladder as text, one line a model."""
    lines = [f"{'model':<12}{'channels':<26}{'pixels':>7}{'images':>9}{'train':>8}{'dev':>8}{'test':>8}   macro F1"]
    for row in rows:
        scores = "".join(f"{row['macro_f1'].get(split, float('nan')):>8.3f}" for split in ("train", "dev", "test"))
        lines.append(
            f"{row['preset']:<12}{','.join(row['channels']):<26}{row['pixels']:>7}{row['images_seen']:>9,}{scores}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
