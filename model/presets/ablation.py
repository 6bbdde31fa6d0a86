"""A small `best`, and variants of it with one choice changed each."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from model.presets import best
from model.settings import Settings

CHANGES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "no-d4": ("no flips and rotations by 90 degrees", {"augment": "none"}),
    "no-rotation": ("no free rotation", {"rotation": 0.0}),
    "no-brightness": ("no random intensity", {"brightness": 0.0}),
    "no-decay": ("no weight decay", {"weight_decay": 0.0}),
    "no-clipping": ("gradients not clipped", {"clip_norm": 0.0}),
    "adam": ("Adam instead of AdamW", {"optimizer": "adam"}),
    "constant-rate": ("a constant learning rate after warm-up", {"schedule": "constant"}),
    "no-warmup": ("no warm-up", {"warmup_epochs": 0.0}),
    "no-flips": ("no test-time flips", {"test_time": "one"}),
    "no-oversampling": ("rare classes not repeated", {"oversample": 0.0}),
    "asymmetric": ("asymmetric loss instead of cross-entropy", {"loss": "asymmetric"}),
    "focal": ("focal loss instead of cross-entropy", {"loss": "focal"}),
    "avg-max": ("with maximum pooling beside average pooling", {"pooling": "avg-max"}),
    "dropout": ("with dropout of 0.5", {"dropout": 0.5}),
    "scale": ("with random scale", {"scale": 0.2}),
    "average": ("with averaged weights", {"ema": 0.999}),
    "prior": ("outputs start at the share of positives", {"prior": 0.058}),
    "mixup": ("with mixup", {"mixup": 0.4}),
    "shear": ("with shear", {"shear": 10.0}),
}
"""Name -> title and the settings that replace those of `best`. `no-flips` trains the same weights as `best`."""


def variants(size: int = 128, downsample: int = 1) -> list[tuple[str, str, Settings]]:
    """Returns name, title and settings of a small `best` and of its variants, for a dataset of `size` pixels.

    The network is a quarter as wide, starts from random weights and sees `size / downsample` pixels; learning rate and
    batch size suit that.
    """
    base = dataclasses.replace(
        best.SETTINGS, size=size, downsample=downsample, weights=None, width=16, batch_size=32, learning_rate=2e-3
    )
    crop = size // downsample * 3 // 4 * downsample
    changes = {**CHANGES, "crops": ("with random crops of three quarters of the side", {"crop": crop})}
    changed = [(name, title, dataclasses.replace(base, **values)) for name, (title, values) in changes.items()]
    return [("best", "best", base), *changed]
