"""Optimisers and learning-rate schedules."""

from typing import Any

import keras

from model.settings import Settings


def make(settings: Settings, num_steps: list[int], num_replicas: int = 1) -> keras.optimizers.Optimizer:
    """Returns the optimiser for a run whose epochs have `num_steps` steps each.

    It is Adam (Kingma and Ba 2015), or Adam with decoupled weight decay (Loshchilov and Hutter 2019). Gradients are
    clipped by their global norm (Pascanu et al. 2013); with `num_replicas`, each replica clips its part of the sum.
    """
    rate = _rate(settings, num_steps)
    common = {
        "global_clipnorm": settings.clip_norm / num_replicas or None,
        "gradient_accumulation_steps": settings.accumulate if settings.accumulate > 1 else None,
    }
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(rate, **common)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, **common)
    # Biases and normalisation scales are not decayed: shrinking them does not regularise.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _rate(settings: Settings, num_steps: list[int]) -> Any:
    total, peak = sum(num_steps), settings.learning_rate
    warmup = min(total, round(settings.warmup_epochs * total / len(num_steps)))
    if settings.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else peak,
            decay_steps=max(1, total - warmup),
            warmup_target=peak if warmup else None,
            warmup_steps=warmup,
        )
    if warmup:
        return keras.optimizers.schedules.PolynomialDecay(peak / warmup, warmup, end_learning_rate=peak)
    return peak
