"""Initial weights of a run: random, from ImageNet, or the best of another run."""

from pathlib import Path
from typing import Any

import keras

from model import runs
from model.network import classifier, pretrained
from model.settings import Settings
from pipeline.errors import InputError, MissingError
from pipeline.schema import Schema

SHAPE = ("channels", "backbone", "blocks", "width", "extra_conv")
"""Settings that determine the shapes of all weights but those of the output layer."""


def origin_of(path: Path, settings: Settings, schema: Schema) -> tuple[dict[str, Any], bool]:
    """Returns what a new run records about the run in `path`, and whether its output layer is taken too.

    It is taken if both have the same classes, in the same order, and the same pooling.

    Raises:
        MissingError: there is no run in `path`, or it has no weights yet.
        InputError: its channels or its network differ.
    """
    source = runs.open_run(path)
    for name in SHAPE:
        theirs, ours = getattr(source.settings, name), getattr(settings, name)
        if theirs != ours:
            raise InputError(
                f"--init-from {path}: {name} {_text(theirs)}, but {_text(ours)} here: both must be the same"
            )
    if not source.best.exists():
        raise MissingError(f"--init-from {path}: no epoch of it was finished, so it has no weights")
    origin = {"path": str(path.resolve()), "dataset_fingerprint": source.dataset["fingerprint"]}
    return origin, source.schema.classes == schema.classes and source.settings.pooling == settings.pooling


def load(run: runs.Run, model: keras.Model) -> None:
    """Sets the weights of a new classifier to those that the run starts from.

    Raises:
        MissingError: the weights no longer exist.
        InputError: they do not fit the network.
    """
    settings = run.settings
    if origin := run.config.get("init_from"):
        path = Path(origin["path"])
        with_output = origin_of(path, settings, run.schema)[1]
        copy(runs.load_classifier(runs.open_run(path)), model, with_output=with_output)
    elif settings.weights:
        source = pretrained.source_model(settings.weights, settings.backbone)
        pretrained.copy_weights(source, classifier.body(model), settings.channels, settings.backbone)


def copy(source: keras.Model, target: keras.Model, *, with_output: bool) -> None:
    """Copies the weights of a classifier into another one of the same network."""
    pairs = zip(
        *([layer for layer in classifier.body(m).layers if layer.weights] for m in (source, target)), strict=True
    )
    for theirs, ours in pairs:
        if with_output or ours.name != "logits":
            ours.set_weights(theirs.get_weights())


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
