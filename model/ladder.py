"""The command `python -m model.ladder`: trains the paper's four models and `best` with the same budget.

The paper compares four models, each a step up: green alone at 128, green at 256 with a deeper network, three filters,
four filters. Here all presets see the same number of training images of one dataset, so that only the model and its
input differ.
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
from pipeline.errors import InputError, echo, one_line_errors
from pipeline.threads import num_cores


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    required=True,
    help="TFDS data directory with the dataset of size 256.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the run folders.")
@click.option("--results", type=click.Path(path_type=Path), help="JSON file for the results.")
@click.option("--budget", default=200_000, show_default=True, help="Training images that each model sees.")
@click.option("--downsample", default=1, show_default=True, help="Factor by which images are averaged down.")
@click.option("--batch-size", type=int, help="Batch size of all models.  [default: the preset's]")
@click.option("--weights", help="Pretrained weights of `best`: imagenet or a file.  [default: none]")
@click.option("--only", multiple=True, type=click.Choice(presets.ATLAS), help="Only these presets.")
@click.option("--seed", default=0, show_default=True)
def main(data_dir: Path, out: Path, results: Path | None, only: tuple[str, ...], **choices: Any) -> None:
    """Train all presets with the same budget and print the macro F1 of each.

    A finished run is not trained again: the same command continues where it stopped.
    """
    with one_line_errors():
        backend.start()
        trained = [train_preset(name, data_dir, out, **choices) for name in only or presets.ATLAS]
        click.echo()
        page = report.write_page(tuple(path for path, _ in trained), out / "report.html", "The ladder of models")
        rows = [result(path, num_images) for path, num_images in trained]
    echo(table(rows))
    echo(f"report: {page}")
    if results:
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps({**environment(data_dir), "models": rows}, indent=1) + "\n")
        echo(f"results: {results}")


def train_preset(name: str, data_dir: Path, out: Path, **choices: Any) -> tuple[Path, int]:
    """Trains a preset in a separate process, and returns the run folder and the number of images seen."""
    settings, num_images = fit_to_budget(presets.load(name), data_dir, **choices)
    path, config = out / name, out / f"{name}.json"
    out.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps(settings.to_json()))
    if not (path / "metrics.json").exists():
        command = [sys.executable, "-m", "model.train", "--data-dir", str(data_dir), "--out", str(path)]
        command += ["--resume"] if (path / "config.json").exists() else ["--preset", name, "--config", str(config)]
        echo(f"\n{name}: {' '.join(command[1:])}")
        if subprocess.run(command).returncode:
            raise InputError(f"{name}: training failed; the same command continues from its last checkpoint")
    return path, num_images


def fit_to_budget(
    settings: Settings,
    data_dir: Path,
    *,
    budget: int,
    downsample: int,
    batch_size: int | None,
    weights: str | None,
    seed: int,
) -> tuple[Settings, int]:
    """Returns the preset adapted to a budget of training images, and the number of images it will see.

    All presets use the dataset of size 256; `green-128` averages it down by two, which gives the images of size 128.
    The number of epochs is the one nearest to the budget; oversampling makes epochs longer.
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
        # An average over more than a tenth of the steps would still hold the random initial weights.
        ema=min(settings.ema, 1 - 10 / max(num_steps, 20)) if settings.ema else 0.0,
    )
    return fitted, num_steps * batch_size


def result(path: Path, num_images: int) -> dict[str, Any]:
    """Returns the results of an evaluated run: macro F1 at 0.5 (with a 95% interval on test), and mAP."""
    from model import runs
    from model.scores import evaluation

    run = runs.open_run(path)
    splits = evaluation.load(path)["splits"]
    scores = {name: split["rules"]["fixed"] for name, split in splits.items()}
    epochs = runs.read_rows(run.metrics_csv)
    return {
        "preset": run.settings.preset,
        "channels": list(run.settings.channels),
        "pixels": run.settings.size // run.settings.downsample,
        "batch_size": run.settings.batch_size,
        "epochs": run.settings.epochs,
        "images_seen": num_images,
        "train_seconds": round(sum(float(row["seconds"]) for row in epochs), 1),
        "macro_f1": {name: round(score["macro_f1"], 4) for name, score in scores.items()},
        "test_interval": [round(scores["test"]["interval"][end], 4) for end in ("low", "high")],
        "mean_average_precision": {name: round(split["mean_average_precision"], 4) for name, split in splits.items()},
        "without_model": {
            "macro_f1": round(splits["test"]["baselines"]["all_positive"], 4),
            "mean_average_precision": round(splits["test"]["baselines"]["mean_average_precision"], 4),
        },
    }


def environment(data_dir: Path) -> dict[str, Any]:
    """Returns date, code, hardware, versions and dataset of the results."""
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
    """Returns the results as a text table with one line per model."""
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
