"""The gallery: false positives, missed classes and dark images, each with all channels."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from model.page import gallery
from model.page.evaluated import EvaluatedRun
from model.scores import thresholds

SMALL_SIDE = 96
"""Pixels a side of the picture of one channel."""


def cards(run: EvaluatedRun) -> dict[str, Any]:
    """Returns the pictures of the run's gallery, by kind (see `gallery.KINDS`), with what is known of each."""
    channels = run.evaluation["dataset"]["channels"]
    stains = run.evaluation["dataset"]["stains"]
    entries = list(_valid_entries(run))
    return {
        "run": run.name,
        "split": run.shown_split,
        "channels": [(channel, stains.get(channel)) for channel in channels],
        "kinds": {
            kind: [_card(run, entry, image, channels) for entry, image in entries if entry["kind"] == kind]
            for kind in gallery.KINDS
        },
    }


def _valid_entries(run: EvaluatedRun) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yields the entries with their pictures.

    Earlier evaluations also chose classes that were not predicted as "wrong", and predicted ones as "missed", when
    there were too few real ones; these are left out.
    """
    for entry, image in zip(run.evaluation["gallery"], run.pictures, strict=True):
        predicted = entry["class"] is not None and entry["probabilities"][entry["class"]] >= thresholds.FIXED
        if {"wrong": predicted, "missed": not predicted}.get(entry["kind"], True):
            yield entry, image


def _card(run: EvaluatedRun, entry: dict[str, Any], image: np.ndarray, channels: Sequence[str]) -> dict[str, Any]:
    names, probabilities = run.class_names, np.array(entry["probabilities"])
    small = gallery.small(image, SMALL_SIDE)
    ranked = [(names[k], float(probabilities[k])) for k in np.argsort(-probabilities, kind="stable")]
    return {
        "id": entry["id"],
        "picture": gallery.data_uri(gallery.composite(image, channels)),
        "channels": [(channel, gallery.data_uri(gallery.coloured(small, channel, channels))) for channel in channels],
        "class_name": None if entry["class"] is None else names[entry["class"]],
        "probability": None if entry["class"] is None else float(probabilities[entry["class"]]),
        "brightness": entry["brightness"],
        "labels": [names[k] for k in entry["labels"]],
        "predicted": [(name, value) for name, value in ranked if value >= thresholds.FIXED],
        "highest": ranked[0],
    }
