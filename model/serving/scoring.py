"""Probabilities from a trained run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from model import runs
from model.data import damage
from model.data.batches import Batch, eval_batches
from model.data.dataset import (
    Dataset,
    check_compatible,
    check_present,
    check_same,
    configs,
    find,
    num_limited,
    open_version,
)
from model.network import classifier
from model.serving.predictions import Predictions
from model.settings import CHOICES
from pipeline.errors import InputError, MissingError

VIEWS = CHOICES["test_time"]
"""Views that probabilities are averaged over, see `classifier.views_of`."""

BATCH_SIZE = 32


def choose_views(run: runs.Run, views: str | None) -> str:
    """Returns `views`, or the run's own if it is `None`.

    Raises:
        InputError: it is `crops`, and the run was not trained on crops.
    """
    if views == "crops" and not run.settings.crop:
        raise InputError(f"run {run.path} was not trained on crops, expected one of the views {', '.join(VIEWS[:-1])}")
    return views or run.settings.test_time


def load_model(run: runs.Run, views: str = "one") -> keras.Model:
    """Returns a model from images `[B, S, S, C]`, pixels as in the dataset, to probabilities, float32 `[B, classes]`.

    Raises:
        MissingError: the run has no checkpoint.
    """
    return classifier.with_probabilities(runs.load_classifier(run), run.settings, run.schema, views)


def predict_batch(model: Any, images: np.ndarray) -> np.ndarray:
    """Returns probabilities, float32 `[B, classes]`, for at most `BATCH_SIZE` images.

    Smaller batches are padded: one shape is compiled once, and an example's probabilities do not depend on the size
    of its batch. The model is a Keras model, or several as one (`averaged.AveragedModel`).
    """
    missing = BATCH_SIZE - len(images)
    padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)]) if missing else images
    return np.asarray(model.predict_on_batch(padded), np.float32)[: len(images)]


def predict_split(
    model: keras.Model,
    run: runs.Run,
    dataset: Dataset,
    split: str,
    *,
    limit: int | None = None,
    observers: Sequence[Callable[[Batch, np.ndarray], None]] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Returns the predictions for a split, or for its first `limit` examples, from one pass over its shards.

    Each observer (`Ablation.add`, `Candidates.add`) is called with every batch, as NumPy arrays with all channels of
    the dataset, and with its probabilities.
    """
    total, done, parts = num_limited(dataset, split, limit), 0, []
    channels = [dataset.channels.index(channel) for channel in run.settings.channels]
    batches = eval_batches(dataset, split, channels=dataset.channels, batch_size=BATCH_SIZE, limit=limit)
    with damage.named(dataset):
        for batch in batches.as_numpy_iterator():
            probabilities = predict_batch(model, batch.images[..., channels])
            for observe in observers:
                observe(batch, probabilities)
            parts.append(Predictions([key.decode() for key in batch.ids.tolist()], batch.label_vectors, probabilities))
            done += len(probabilities)
            on_progress(done, total)
    return Predictions.concatenate(parts)


def open_dataset(run: runs.Run, splits: Sequence[str], data_dir: Path | None = None, *, other: bool = False) -> Dataset:
    """Returns the run's dataset, from its recorded path or from `data_dir`; with `other`, its contents may differ.

    Raises:
        MissingError: it does not exist.
        InputError: it is not the run's, or has no examples in one of `splits`.
    """
    path = _find(run, data_dir, other=other) if data_dir else Path(run.dataset["path"])
    if not (path / "dataset_info.json").exists():
        raise MissingError(f"the dataset of run {run.path} is no longer at {path}: name its place with --data-dir")
    dataset = open_version(path, run.settings.size)
    check_dataset(run, dataset, other=other)
    check_present(dataset, splits)
    return dataset


def _find(run: runs.Run, data_dir: Path, *, other: bool) -> Path:
    """Returns the dataset of the run's size and schema in `data_dir`; with `other`, the only one there of its size."""
    size, schema = run.settings.size, run.schema.name
    schemas = {config.schema for config in configs(data_dir) if config.size == size}
    return find(data_dir, size, None if other and len(schemas) == 1 else schema)


def check_dataset(run: runs.Run, dataset: Dataset, *, other: bool) -> None:
    """Checks that a dataset is the run's, or with `other` one of the same channels, classes and pixel values.

    Raises:
        InputError: it is not.
    """
    if other:
        check_compatible(dataset, run.dataset, run.path)
        return
    try:
        check_same(dataset, run.dataset, run.path)
    except InputError as error:
        try:
            check_compatible(dataset, run.dataset, run.path)
        except InputError:
            raise error from None
        raise InputError(f"{error}; --other-dataset allows it") from None
