"""What the heads of the presets say about a run on the real images follows from the label table."""

import importlib
import re

import numpy as np
import pytest

from model import presets
from model.data.order import repeat_factors
from pipeline.plan import splits
from pipeline.plan.table import read_labels


@pytest.fixture(scope="module")
def label_vectors(real_labels) -> np.ndarray:
    """Those of train, uint8 `[24000, 28]`."""
    examples = read_labels(real_labels)
    split_of = splits.assign(examples).of
    train = [example.labels for example in examples if split_of[example.id] == "train"]
    return np.array([np.isin(np.arange(28), labels) for labels in train], np.uint8)


def head(preset: str) -> str:
    return str(importlib.import_module(f"model.presets.{preset.replace('-', '_')}").__doc__)


@pytest.mark.parametrize("preset", [*presets.ATLAS, "best-512"])
def test_the_head_of_a_preset_has_its_epochs_and_steps(preset, label_vectors):
    settings = presets.load(preset)
    factors = repeat_factors(label_vectors, settings.oversample)
    steps = int(factors.sum()) // settings.batch_size
    about = "about " if settings.oversample else ""
    assert f"{settings.epochs} epochs of {about}{steps:,} steps" in head(preset)


def test_the_head_of_the_third_model_says_what_repeating_does(label_vectors):
    threshold = presets.load("rgb-256").oversample
    shares = label_vectors.mean(axis=0)
    shown = {t: repeat_factors(label_vectors, t) for t in (threshold, 1.0)}
    rods_and_rings = {t: (factors[label_vectors[:, 27] > 0].sum() / factors.sum()) for t, factors in shown.items()}
    text = " ".join(head("rgb-256").split())
    found = re.search(
        r"The (\d+) of 28 classes below ([\d.]+)% of train are repeated\. The (\d+) examples .* from ([\d.]+)% of an "
        r"epoch to ([\d.]+)%; .* ([\d.]+)% .* ([\d.]+) times as long",
        text,
    )
    assert found
    assert found.groups() == (
        f"{(shares < threshold).sum()}",
        f"{100 * threshold:.0f}",
        f"{label_vectors[:, 27].sum()}",
        f"{100 * shares[27]:.2f}",
        f"{100 * rods_and_rings[threshold]:.2f}",
        f"{100 * rods_and_rings[1.0]:.2f}",
        f"{shown[1.0].sum() / shown[threshold].sum():.1f}",
    )
