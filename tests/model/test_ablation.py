"""The ablation has a variant for each choice of `best`."""

from model.presets import ablation, best
from model.settings import FIELDS, Settings

NO_CHOICES = {"preset", "channels", "weights", "epochs", "batch_size", "learning_rate", "limit_examples"}
"""What a run needs, and what follows from its budget."""


def test_every_choice_of_best_is_switched_off_once_and_alone():
    (name, _, base), *variants = ablation.variants(size=256, downsample=2)
    assert name == "best"
    default = Settings(preset="best")
    chosen = {field for field in FIELDS if getattr(best.SETTINGS, field) != getattr(default, field)} - NO_CHOICES
    changed = [
        {field for field in FIELDS if getattr(settings, field) != getattr(base, field)} for _, _, settings in variants
    ]
    assert all(len(fields) == 1 for fields in changed)
    assert chosen <= set.union(*changed)
    assert len({name for name, _, _ in variants}) == len(variants)


def test_the_small_best_needs_no_network_connection():
    for _, _, settings in ablation.variants():
        assert (settings.size, settings.width, settings.weights, settings.backbone) == (128, 16, None, "resnet")
