"""The steps of a cross-validation, run as commands of this project in separate processes."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed

from model import presets, runs
from model import settings as settings_module
from model.folds.plan import Fold, Plan
from model.processes import Processes
from model.scores import evaluation
from model.settings import Settings
from pipeline.errors import InputError, MissingError
from pipeline.schema import write
from pipeline.store import files
from pipeline.threads import sharing_environment

VIEWS = "d4"
"""Nuclei have no fixed orientation: predictions are averaged over mirror images and their transposes."""

Log = Callable[[str], None]


def environment(jobs: int) -> dict[str, str]:
    """Returns the environment of the processes, `jobs` of which run at the same time."""
    return {"TF_ENABLE_ONEDNN_OPTS": "1", **os.environ, **sharing_environment(jobs)}


def run(plan: Plan, folds: Sequence[Fold], jobs: int, log: Log) -> None:
    """Builds the folds that are not finished, then trains and evaluates them, `jobs` at a time.

    Raises:
        MissingError: no label table.
        InputError: a step failed, or a fold was trained with other settings.
    """
    table = plan.source / plan.schema.table.file
    if not table.exists():
        raise MissingError(f"{table} does not exist: --source is the folder of the label table and the images")
    processes = Processes(environment(jobs))
    for fold in folds:
        if not is_finished(fold):
            prepare(plan, fold, processes)
        check_settings(plan, fold)
    with processes.pool(jobs) as pool:
        futures = [pool.submit(train, fold, processes) for fold in folds]
        for number, future in enumerate(as_completed(futures), 1):
            log(f"[{number}/{len(folds)}] {future.result()}")


def is_finished(fold: Fold) -> bool:
    """Returns whether the fold's run is trained, and its best checkpoint evaluated."""
    return (fold.run / "metrics.json").exists() and evaluation.is_current(runs.open_run(fold.run))


def prepare(plan: Plan, fold: Fold, processes: Processes) -> None:
    """Writes the split and the dataset of a fold if they are missing, and its settings."""
    schema, source = plan.out / f"schema-{fold.scheme}.toml", plan.source
    with files.replacing(schema) as file:
        file.write(write.to_toml(plan.schema_of(fold.scheme)).encode())
    if not fold.split_csv.exists():
        labels = source / plan.schema.table.file
        split = ["split", "--labels", labels, "--schema", schema, "--folds", fold.num, "--seed", plan.seed]
        processes.run(
            f"splitting {plan.words(fold.scheme)}", ["-m", "pipeline", *split, "--out", fold.splits], fold.log
        )
    build = ["shards", "--source", source, "--schema", schema, "--size", plan.size, "--keep", fold.split_csv]
    processes.run(f"{fold.name}: building", ["-m", "pipeline", *build, "--data-dir", fold.data_dir], fold.log)
    with files.replacing(fold.config) as file:
        file.write(json.dumps(fitted(plan, fold).to_json(), indent=1).encode())


def fitted(plan: Plan, fold: Fold) -> Settings:
    """Returns the settings of a fold, with the number of epochs that comes closest to the budget."""
    from model.data.batches import read_labels
    from model.data.dataset import open_dataset
    from model.data.order import num_epochs

    settings = settings_module.override(presets.load(plan.preset), {**plan.values, "seed": plan.seed}, "--config")
    dataset = open_dataset(fold.data_dir, plan.size)
    epochs = num_epochs(plan.budget, read_labels(dataset, "train"), settings.oversample)
    settings_module.check_fit(settings, dataset.schema, f"dataset {dataset.path}")
    settings = dataclasses.replace(settings, epochs=epochs, warmup_epochs=min(settings.warmup_epochs, epochs / 4))
    return settings_module.resolve(settings, dataset.size, dataset.channels)


def check_settings(plan: Plan, fold: Fold) -> None:
    """Checks that the fold's run, if there is one, has the settings of the plan.

    Raises:
        InputError: it has others.
    """
    if not (fold.run / "config.json").exists():
        return
    changed = settings_module.differences(runs.open_run(fold.run).settings, fitted(plan, fold))
    if changed:
        raise InputError(
            f"{fold.run} was trained with other settings: {'; '.join(changed)}; --out with a new folder trains again"
        )


def train(fold: Fold, processes: Processes) -> str:
    """Trains and evaluates a fold, if that is not done yet; returns a line about it."""
    start = time.monotonic()
    if not (fold.run / "metrics.json").exists():
        command = ["-m", "model.train", "--data-dir", fold.data_dir, "--out", fold.run]
        new = ["--config", fold.config]
        command += ["--resume"] if (fold.run / "config.json").exists() else new
        processes.run(f"{fold.name}: training", command, fold.log)
    if not is_finished(fold):
        command = ["-m", "model.evaluate", fold.run, "--views", VIEWS, "--splits", "dev,test", "--no-ablation"]
        processes.run(f"{fold.name}: evaluating", command, fold.log)
    test = evaluation.load(fold.run)["splits"]["test"]
    (rule,) = test["rules"].values()
    return f"{fold.name}: macro F1 {rule['macro_f1']:.3f} on test, {time.monotonic() - start:.0f} s"
