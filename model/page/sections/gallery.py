"""The gallery: wrong predictions, missed classes and dark images, each with all channels."""

from typing import Any

import numpy as np

from model.page import gallery
from model.page.evaluated import EvaluatedRun
from model.scores import thresholds

SMALL_SIDE = 96
"""Pixels a side of the picture of one channel."""


def cards(run: EvaluatedRun) -> dict[str, Any]:
    """Returns the pictures of the run's gallery, by kind (see `gallery.KINDS`), with what is known of each."""
    dataset = run.evaluation["dataset"]
    pairs = list(zip(run.evaluation["gallery"], run.pictures, strict=True))
    return {
        "run": run.name,
        "split": run.shown_split,
        "channels": [(channel, dataset["stains"].get(channel)) for channel in dataset["channels"]],
        "protein": dataset["protein"],
        "max_value": dataset["max_value"],
        "headings": gallery.headings(dataset["protein"], single_label=run.single_label),
        "kinds": {
            kind: [_card(run, entry, image) for entry, image in pairs if entry["kind"] == kind]
            for kind in gallery.KINDS
        },
    }


def _card(run: EvaluatedRun, entry: dict[str, Any], image: np.ndarray) -> dict[str, Any]:
    names, probabilities, dataset = run.class_names, np.array(entry["probabilities"]), run.evaluation["dataset"]
    channels, colours = dataset["channels"], [dataset["colours"][channel] for channel in dataset["channels"]]
    protein = channels.index(dataset["protein"]) if dataset["protein"] else None
    small = gallery.small(image, SMALL_SIDE)
    predicted = thresholds.decide(probabilities[None], single_label=run.single_label)[0]
    ranked = np.argsort(-probabilities, kind="stable")
    return {
        "id": entry["id"],
        "picture": gallery.data_uri(gallery.composite(image, colours, protein)),
        "channels": [
            (channel, gallery.data_uri(gallery.coloured(small, index, colours[index])))
            for index, channel in enumerate(channels)
        ],
        "class_name": None if entry["class"] is None else names[entry["class"]],
        "probability": None if entry["class"] is None else float(probabilities[entry["class"]]),
        "brightness": entry["brightness"],
        "labels": [names[k] for k in entry["labels"]],
        "predicted": [(names[k], float(probabilities[k])) for k in ranked if predicted[k]],
        "highest": (names[ranked[0]], float(probabilities[ranked[0]])),
    }
