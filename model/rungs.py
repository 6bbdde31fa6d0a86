"""The rungs of the ladder: the paper's four models, and models between them, so that each differs from the last in one thing.

All rungs are trained alike: the paper gives no learning rate, and its models are compared only if nothing else differs.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from model import presets
from model.settings import Settings

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
}
"""AdamW (Loshchilov and Hutter 2019) with warm-up (Goyal et al. 2017): a constant rate leaves the statistics of batch
normalisation behind the weights, so that the loss on dev is noise."""

BALANCED: Mapping[str, Any] = {"oversample": 0.0}
"""The sample has no rare classes to repeat: all are equally frequent."""


@dataclasses.dataclass(frozen=True)
class Rung:
    """One model of the ladder: a preset with a few settings changed, and what it adds to the rung before it."""

    name: str
    preset: str
    adds: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def settings(self) -> Settings:
        """Returns the settings at full size and width, trained by `RECIPE`."""
        return dataclasses.replace(presets.load(self.preset), **RECIPE, **self.changes)


RUNGS = (
    Rung("model-1", "green-128", "green alone, half size"),
    Rung("model-1-full-size", "green-256", "twice the pixels a side", {"extra_conv": False}),
    Rung("model-2", "green-256", "one more convolution in each identity block"),
    Rung("three-channels", "rgb-256", "blue and red stacked on green", {**BALANCED, "augment": "none"}),
    Rung("model-3", "rgb-256", "images turned and mirrored", BALANCED),
    Rung("model-4", "stacked-256", "yellow as the fourth channel", BALANCED),
)
"""From the paper's first model to its fourth; the names of the paper's own are `model-1` to `model-4`."""
