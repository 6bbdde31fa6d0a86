"""A run on the examples of a split, in one pass over its shards."""

import csv
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from model import runs
from model.data.batches import Batch, eval_batches
from model.data.dataset import Dataset, check_same, find, num_limited, open_version
from model.network import classifier
from model.network.classifier import Predictions, predict_batch
from model.serving.candidates import Candidates
from pipeline.errors import InputError, MissingError

VIEWS = {"one": 1, "flips": 4, "d4": 8}
"""Views of an image that the mean is taken over: itself; its mirror images too; those and their transposes."""

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Scored:
    """What one pass over a split gives.

    `blanked` are the probabilities, float32 `[N, 28]`, with those channels blanked; `candidates` keeps the pictures
    that the gallery may choose, or is `None`.
    """

    predictions: Predictions
    blanked: dict[tuple[str, ...], np.ndarray]
    candidates: Candidates | None


def score_split(
    model: keras.Model,
    run: runs.Run,
    dataset: Dataset,
    split: str,
    *,
    limit: int | None = None,
    blanks: Sequence[tuple[str, ...]] = (),
    candidates: Candidates | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Predicts the split, or its first `limit` examples, and again with each of `blanks` blanked.

    Every record is read once, whatever is computed from it.
    """
    total = num_limited(dataset, split, limit)
    chosen = [dataset.channels.index(channel) for channel in run.settings.channels]
    blanked: dict[tuple[str, ...], list[np.ndarray]] = {channels: [] for channels in blanks}
    batches = eval_batches(dataset, split, channels=dataset.channels, batch_size=BATCH_SIZE, limit=limit)
    seen: list[Batch] = []
    for batch in batches.as_numpy_iterator():
        images = batch.images[..., chosen]
        probabilities = predict_batch(model, images, BATCH_SIZE)
        for channels, parts in blanked.items():
            parts.append(predict_batch(model, blank(images, run, channels), BATCH_SIZE))
        if candidates:
            candidates.add(batch.images, batch.label_vectors, probabilities)
        seen.append(Batch(batch.ids, probabilities, batch.label_vectors))  # the images are not kept
        on_progress(sum(len(done.ids) for done in seen), total)
    predictions = Predictions.concatenate(seen, len(dataset.class_names))
    return Scored(predictions, {channels: np.concatenate(parts) for channels, parts in blanked.items()}, candidates)


def blank(images: np.ndarray, run: runs.Run, channels: Sequence[str]) -> np.ndarray:
    """Returns the images, float32 `[B, S, S, C]`, with `channels` set to their mean over train.

    That is 0 after normalisation: the most ordinary value everywhere, and nothing of the image.
    """
    images = np.array(images, np.float32)
    for channel in channels:
        index = run.settings.channels.index(channel)
        images[..., index] = 255 * run.mean[index]
    return images


def predicted_batches(model: keras.Model, run: runs.Run, dataset: Dataset, split: str) -> Iterator[Batch]:
    """Yields batches of the split with probabilities, float32 `[B, 28]`, in the place of images."""
    for batch in eval_batches(dataset, split, channels=run.settings.channels, batch_size=BATCH_SIZE):
        yield Batch(batch.ids, predict_batch(model, batch.images.numpy(), BATCH_SIZE), batch.label_vectors)


def open_dataset(run: runs.Run, data_dir: Path | None = None, *, other: bool = False) -> Dataset:
    """Returns the dataset of the run, from where it was or from `data_dir`; with `other`, of other contents too.

    Raises:
        MissingError: it does not exist.
        InputError: it is not the run's.
    """
    path = find(data_dir, run.settings.size) if data_dir else Path(run.dataset["path"])
    if not (path / "dataset_info.json").exists():
        raise MissingError(f"the dataset of run {run.path} is no longer at {path}: --data-dir says where it is")
    dataset = open_version(path, run.settings.size)
    expected = {**run.dataset, "fingerprint": dataset.fingerprint} if other else run.dataset
    try:
        check_same(dataset, expected, run.path)
    except InputError as error:
        hint = "; --other-dataset allows it" if "fingerprint" in str(error) else ""
        raise InputError(f"{error}{hint}") from None
    return dataset


def choose_views(run: runs.Run, views: str | None) -> str:
    """Returns the requested views, or those of the run's settings."""
    return views or ("flips" if run.settings.test_time_flips else "one")


def load_model(run: runs.Run, views: str = "one") -> keras.Model:
    """Returns a model from images `[B, S, S, C]`, 0..255, to probabilities, float32 `[B, 28]`.

    Raises:
        MissingError: the run has no checkpoint.
    """
    trained = runs.load_classifier(run)
    model = classifier.with_probabilities(trained, flips=views != "one")
    if views != "d4":
        return model
    images = keras.Input(trained.input_shape[1:], dtype="float32", name="image")
    transposed = model(ops.transpose(images, (0, 2, 1, 3)))
    return keras.Model(images, (model(images) + transposed) / 2, name="probabilities")


def read_groups(dataset: Dataset) -> dict[str, str]:
    """Returns `{id: group}` of the dataset's near-duplicates; empty if it was built without groups."""
    path = dataset.path / "groups.csv"
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows: list[list[Any]] = [row for row in csv.reader(file) if len(row) == 2]
    return {example_id: group.strip() for example_id, group in rows[1:]}
