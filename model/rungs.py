"""The models that `python -m model.ladder` compares: the paper's ladder, and `best` with one choice changed at a time.

All models of the ladder are trained alike: the paper gives no learning rate, and its models can be compared only if
nothing else differs.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from model import presets
from model.presets import ablation
from model.settings import Settings

FULL_SIZE = 256
"""Pixels a side of the images that the paper's models see; its first model sees them at half the size."""

RECIPE: Mapping[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.02,
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "batch_size": 32,
    "loss": "cross-entropy",
    # 50,782 labels on 31,072 images of 28 classes are 0.058 positives per output; balanced samples have as many.
    "prior": 0.058,
    # The sample has no rare classes to repeat: all are equally frequent.
    "oversample": 0.0,
}
"""AdamW (Loshchilov and Hutter 2019) with warm-up (Goyal et al. 2017): a constant rate leaves the statistics of batch
normalisation behind the weights, so that the loss on dev is noise."""


@dataclasses.dataclass(frozen=True)
class Rung:
    """A model to train, its change from the model it is compared with, and the name of that model."""

    name: str
    adds: str
    settings: Settings
    compared_with: str | None


LADDER: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("model-1", "green alone, half size", "green-128", {}),
    ("model-1-full-size", "twice the pixels a side", "green-256", {"extra_conv": False}),
    ("model-2", "one more convolution in each identity block", "green-256", {}),
    ("three-channels", "blue and red stacked on green", "rgb-256", {"augment": "none"}),
    ("model-3", "images turned and mirrored", "rgb-256", {}),
    ("model-4", "yellow as the fourth channel", "stacked-256", {}),
)
"""Name, what it adds to the model before it, preset, changed settings; the paper's own are `model-1` to `model-4`."""

CHOICES = ("ladder", "ablation")


def rungs(kind: str, size: int, downsample: int) -> Sequence[Rung]:
    """Returns the models of `kind` for a dataset of `size` pixels, averaged down by `downsample` for all models."""
    return _ladder(size, downsample) if kind == "ladder" else _ablation(size, downsample)


def _ladder(size: int, downsample: int) -> list[Rung]:
    made: list[Rung] = []
    for name, adds, preset, changes in LADDER:
        settings = presets.load(preset)
        smaller = downsample * (FULL_SIZE // settings.size)
        settings = dataclasses.replace(settings, **{**RECIPE, **changes, "size": size, "downsample": smaller})
        made.append(Rung(name, adds, settings, made[-1].name if made else None))
    return made


def _ablation(size: int, downsample: int) -> list[Rung]:
    return [
        Rung(name, title, settings, None if name == "best" else "best")
        for name, title, settings in ablation.variants(size, downsample)
    ]
