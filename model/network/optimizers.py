"""Optimisers and learning-rate schedules."""

from typing import Any

import keras

from model.settings import Settings


class _KeepsLiveWeights:
    """Keeps the live weights when `fit` returns.

    Keras would replace them by their moving averages, and the next epoch would start from those. The averages are
    for evaluation only, see `checkpoints.averaged`.
    """

    def finalize_variable_values(self, var_list: Any) -> None:
        """Does nothing."""

    def assign_averages(self, variables: Any) -> None:
        """Assigns their moving averages to the weights."""
        super().finalize_variable_values(variables)
        for variable in variables:
            # A copy: in JAX, weight and average would share one buffer, which the next step donates.
            variable.assign(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)))


class Adam(_KeepsLiveWeights, keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015)."""


class AdamW(_KeepsLiveWeights, keras.optimizers.AdamW):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""


def make(settings: Settings, num_steps: list[int]) -> keras.optimizers.Optimizer:
    """Returns the optimiser for a run whose epochs have `num_steps` steps each."""
    average = {"use_ema": True, "ema_momentum": settings.ema} if settings.ema else {}
    rate = _rate(settings, num_steps)
    if settings.optimizer == "adam":
        return Adam(rate, **average)
    optimizer = AdamW(rate, weight_decay=settings.weight_decay, **average)
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
