"""The command `python -m model.ladder`: trains the paper's models, and steps between them, with the same budget.

The paper compares four models, each a step up: green alone at 128, green at 256 with a deeper network, three filters,
four filters. Here all see the same number of training images of one dataset and are trained alike, so that only the
model and its input differ. `--models ablation` does the same for `best` and variants with one choice changed.
"""

import dataclasses
import datetime
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model import backend, ladder_table, report
from model import rungs as rungs_module
from model import settings as settings_module
from model.processes import Processes
from model.rungs import Rung
from model.settings import Settings
from pipeline.console.commands import Command
from pipeline.errors import InputError, echo, one_line_errors
from pipeline.options import PATH
from pipeline.threads import num_cores, sharing_environment

if TYPE_CHECKING:
    from model.page.evaluated import EvaluatedRun

TITLES = {"ladder": "The ladder of models", "ablation": "The preset best without each of its choices"}


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--models", "kind", type=click.Choice(rungs_module.CHOICES), default="ladder", show_default=True)
@click.option("--data-dir", type=PATH, required=True, help="TFDS data directory of the dataset.")
@click.option("--out", type=PATH, required=True, help="Folder for the run folders.")
@click.option("--results", type=PATH, help="JSON file for the results.")
@click.option(
    "--size", type=click.IntRange(2), default=128, show_default=True, help="Pixels a side of the dataset's images."
)
@click.option(
    "--downsample", type=click.IntRange(1), default=1, show_default=True, help="Factor to average them down by."
)
@click.option(
    "--width",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Filters of the first stack; the paper has 64.",
)
@click.option("--examples", type=click.IntRange(1), help="Examples to train on, if not all of train.")
@click.option("--budget", default=200_000, show_default=True, help="Training images that each model sees.")
@click.option("--precision", type=click.Choice(settings_module.CHOICES["precision"]), default="auto", show_default=True)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Models trained at the same time, each on its share of the cores: faster than one after another on a CPU.",
)
@click.option("--only", multiple=True, help="Only models of these names.")
@click.option(
    "--seed", "seeds", multiple=True, type=int, default=(0,), show_default=True, help="May be given several times."
)
def main(
    kind: str,
    data_dir: Path,
    out: Path,
    results: Path | None,
    size: int,
    downsample: int,
    only: tuple[str, ...],
    seeds: tuple[int, ...],
    **form: Any,
) -> None:
    """Train the models of the ladder with the same budget, and compare each with the one before it.

    The default is the small form: networks a quarter as wide as the paper's, on images half as large. A finished model
    is not trained again: the same command continues where it stopped.
    """
    with one_line_errors("stopped; the same command continues from the last checkpoint"):
        backend.start()
        rungs = chosen(rungs_module.rungs(kind, size, downsample), only)
        paths = train_all([(rung, seed) for seed in seeds for rung in rungs], data_dir, out, **form)
        click.echo()
        first = tuple(paths[rung.name, seeds[0]] for rung in rungs)
        page = report.write_page(first, out / "report.html", TITLES[kind])
        rows = results_of(rungs, seeds, paths)
    echo(ladder_table.table(rows))
    echo(f"report: {page}")
    if results:
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps({**environment(data_dir, size), "models": rows}, indent=1) + "\n")
        echo(f"results: {results}")


def chosen(rungs: Sequence[Rung], only: Sequence[str]) -> list[Rung]:
    """Returns the models with the names `only`, or all if there are none.

    Raises:
        InputError: no model has such a name.
    """
    if unknown := set(only) - {rung.name for rung in rungs}:
        raise InputError(f"--only {min(unknown)}: no such model, expected {', '.join(rung.name for rung in rungs)}")
    return [rung for rung in rungs if not only or rung.name in only]


def train_all(
    models: Sequence[tuple[Rung, int]], data_dir: Path, out: Path, *, jobs: int, **form: Any
) -> dict[tuple[str, int], Path]:
    """Trains each model with its seed, `jobs` at a time, and returns the run folder of each by name and seed."""
    processes = Processes({**os.environ, **(sharing_environment(jobs) if jobs > 1 else {})})

    def train(model: tuple[Rung, int]) -> Path:
        return train_rung(model[0], data_dir, out, processes, seed=model[1], **form)

    with processes.pool(jobs) as pool:
        return {(rung.name, seed): path for (rung, seed), path in zip(models, pool.map(train, models), strict=True)}


def train_rung(rung: Rung, data_dir: Path, out: Path, processes: Processes, *, seed: int, **form: Any) -> Path:
    """Trains a model in a separate process, and returns its run folder."""
    settings = fit(rung.settings, data_dir, seed=seed, **form)
    path = out / f"{rung.name}-{seed}"
    config = out / f"{path.name}.json"
    out.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps(settings.to_json()))
    if not (path / "metrics.json").exists():
        command: list[object] = ["-m", "hpa_cli", "train", "--data-dir", data_dir, "--out", path]
        command += ["--resume"] if (path / "config.json").exists() else ["--config", config]
        echo(f"\n{path.name}: {' '.join(map(str, command))}")
        if processes.call(command):
            raise InputError(f"{path.name}: training failed; the same command continues from its last checkpoint")
    return path


def fit(
    settings: Settings, data_dir: Path, *, width: int, examples: int | None, budget: int, precision: str, seed: int
) -> Settings:
    """Returns the settings for networks of `width`, trained on at most `examples` with a budget of training images.

    The number of epochs comes closest to the budget; repeating examples makes epochs longer.
    """
    from model.data.batches import read_labels
    from model.data.dataset import open_dataset
    from model.data.order import num_epochs

    dataset = open_dataset(data_dir, settings.size)
    labels = read_labels(dataset, "train", examples)
    return dataclasses.replace(
        settings,
        width=width,
        epochs=num_epochs(budget, labels, settings.oversample),
        limit_examples=examples,
        precision=precision,
        seed=seed,
    )


def results_of(
    rungs: Sequence[Rung], seeds: Sequence[int], paths: Mapping[tuple[str, int], Path]
) -> list[dict[str, Any]]:
    """Returns the results of every model and seed; `step` is the change from the model it is compared with."""
    from model import runs
    from model.page import evaluated

    rows = []
    for seed in seeds:
        loaded = evaluated.load([runs.open_run(paths[rung.name, seed]) for rung in rungs])
        by_name = {rung.name: run for rung, run in zip(rungs, loaded, strict=True)}
        for rung, run in zip(rungs, loaded, strict=True):
            other = by_name.get(rung.compared_with or "")
            rows.append({**result(rung, run), "step": evaluated.matched_difference(other, run) if other else None})
    return rows


def result(rung: Rung, run: "EvaluatedRun") -> dict[str, Any]:
    """Returns the scores of an evaluated run: macro F1 and mAP by split, with 95% intervals on test."""
    from model import runs

    settings, splits, metrics = run.run.settings, run.splits, runs.read_rows(run.run.metrics_csv)
    fixed = {name: split["rules"]["fixed"] for name, split in splits.items()}
    matched = splits["test"]["rules"]["matched"]
    return {
        "name": rung.name,
        "adds": rung.adds,
        "compared_with": rung.compared_with,
        "preset": settings.preset,
        "channels": list(settings.channels),
        "pixels": settings.size // settings.downsample,
        "width": settings.width,
        "batch_size": settings.batch_size,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "limit_examples": settings.limit_examples,
        "images_seen": int(metrics[-1]["step"]) * settings.batch_size,
        "train_seconds": round(sum(float(row["seconds"]) for row in metrics), 1),
        "git_commit": run.run.config["git_commit"],
        "macro_f1": _rounded(
            {name: score["macro_f1"] for name, score in fixed.items()} | {"test_matched": matched["macro_f1"]}
        ),
        "test_interval": _ends(fixed["test"]["interval"]),
        "test_matched_interval": _ends(matched["interval"]),
        "mean_average_precision": _rounded({name: split["mean_average_precision"] for name, split in splits.items()}),
        "dev_loss": json.loads(run.run.metrics_json.read_text())["checkpoint"],
        "without_model": _rounded(
            {
                "macro_f1": splits["test"]["baselines"]["all_positive"],
                "mean_average_precision": splits["test"]["baselines"]["mean_average_precision"],
            }
        ),
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _ends(interval: Mapping[str, float]) -> list[float]:
    return [round(interval[end], 4) for end in ("low", "high")]


def environment(data_dir: Path, size: int) -> dict[str, Any]:
    """Returns date, code, hardware, versions and dataset of the results."""
    from model import runs
    from model.data.dataset import open_dataset

    dataset = open_dataset(data_dir, size)
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


if __name__ == "__main__":
    main()
