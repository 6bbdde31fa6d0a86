"""What does a run say about the examples of a split? From run folder and dataset to probabilities."""

import csv
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from model import runs
from model.data import input_pipeline
from model.data.input_pipeline import Dataset
from model.network import classifier
from pipeline.errors import InputError, MissingError

VIEWS = {"one": 1, "flips": 4, "d4": 8}
"""How many views of an image the mean is taken over: itself; its mirror images; those and their transposes."""

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What was said about one split, in storage order: ids, label vectors uint8 and probabilities float32 `[N, 28]`."""

    ids: list[str]
    label_vectors: np.ndarray
    probabilities: np.ndarray

    def save(self, path: Path) -> None:
        """Writes a compressed NumPy file with the three arrays."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path, ids=np.array(self.ids, np.str_), labels=self.label_vectors, probabilities=self.probabilities
        )


def load_predictions(path: Path) -> Predictions:
    """Returns what `Predictions.save` wrote."""
    with np.load(path) as file:
        return Predictions(file["ids"].tolist(), file["labels"], file["probabilities"])


def open_dataset(run: runs.Run, data_dir: Path | None = None, *, other: bool = False) -> Dataset:
    """Returns the dataset of the run, from where it was or from `data_dir`; with `other`, of other contents too.

    Raises:
        MissingError: it is not there.
        InputError: it is not the run's.
    """
    path = input_pipeline.find(data_dir, run.settings.size) if data_dir else Path(run.dataset["path"])
    if not (path / "dataset_info.json").exists():
        raise MissingError(f"the dataset of run {run.path} is no longer at {path}: --data-dir says where it is")
    dataset = input_pipeline.open_version(path, run.settings.size)
    expected = {**run.dataset, "fingerprint": dataset.fingerprint} if other else run.dataset
    try:
        input_pipeline.check_same(dataset, expected, run.path)
    except InputError as error:
        hint = "; --other-dataset takes it all the same" if "fingerprint" in str(error) else ""
        raise InputError(f"{error}{hint}") from None
    return dataset


def views_of(run: runs.Run, views: str | None) -> str:
    """Returns the views that were asked for, or those of the run's settings."""
    return views or ("flips" if run.settings.test_time_flips else "one")


def scorer(run: runs.Run, views: str = "one") -> keras.Model:
    """Returns a model from images `[B, S, S, C]`, 0..255, to probabilities, float32 `[B, 28]`.

    Raises:
        MissingError: the run has no checkpoint.
    """
    trained = runs.load_classifier(run)
    model = classifier.with_probabilities(trained, flips=views != "one")
    if views != "d4":
        return model
    images = keras.Input(trained.input_shape[1:], dtype="float32", name="image")
    turned = model(ops.transpose(images, (0, 2, 1, 3)))
    return keras.Model(images, (model(images) + turned) / 2, name="probabilities")


def blanked(batches: Iterable[Any], run: runs.Run, channels: Sequence[str]) -> Iterator[np.ndarray]:
    """Yields the image batches, float32, with `channels` set to their mean over train.

    That is 0 after normalisation: the network sees the most ordinary value everywhere, and nothing of the image.
    """
    for batch in batches:
        images = np.array(batch, np.float32)
        for channel in channels:
            index = run.settings.channels.index(channel)
            images[..., index] = 255 * run.mean[index]
        yield images


def predict_split(
    model: keras.Model,
    dataset: Dataset,
    split: str,
    run: runs.Run,
    *,
    limit: int | None = None,
    blank: Sequence[str] = (),
    on_progress: Callable[[int], None] = lambda done: None,
) -> Predictions:
    """Returns the model's answers for the split, or for its first `limit` examples, with some channels blanked."""
    batches = input_pipeline.eval_batches(
        dataset, split, channels=run.settings.channels, batch_size=BATCH_SIZE, limit=limit
    )
    return Predictions(
        input_pipeline.read_ids(dataset, split, limit),
        input_pipeline.read_labels(dataset, split, limit),
        predict(model, blanked(batches, run, blank) if blank else batches, on_progress),
    )


def predict(
    model: keras.Model, batches: Iterable[Any], on_progress: Callable[[int], None] = lambda done: None
) -> np.ndarray:
    """Returns the model's answers for all batches of images in their order: float32 `[N, 28]`."""
    parts = []
    for images in batches:
        images = np.asarray(images)
        parts.append(predict_batch(model, images))
        on_progress(sum(map(len, parts)))
    return np.concatenate(parts) if parts else np.zeros((0, model.output_shape[-1]), np.float32)


def predict_batch(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns the answers for one batch, float32 `[B, 28]`; smaller ones are filled up.

    One shape, one compiled step; and an example's answer does not depend on how many are predicted with it.
    """
    missing = max(0, BATCH_SIZE - len(images))
    padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)]) if missing else images
    return np.asarray(model.predict_on_batch(padded), np.float32)[: len(images)]


def read_groups(dataset: Dataset) -> dict[str, str]:
    """Returns `{id: group}` of the dataset's near-duplicates; empty if it was built without any."""
    path = dataset.path / "groups.csv"
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if len(row) == 2]
    return {example_id: group.strip() for example_id, group in rows[1:]}
