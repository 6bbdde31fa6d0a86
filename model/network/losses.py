"""Losses of logits `[B, classes]` against label vectors, whose values may lie between 0 and 1 (mixup)."""

from typing import Any

import keras
from keras import ops


class Asymmetric(keras.losses.Loss):
    """Asymmetric loss (Ridnik et al. 2021): easy negatives weigh little, very easy ones nothing.

    On average 26.4 of 28 labels are negative and dominate plain cross-entropy. The defaults are the paper's:
    focusing 4 for negatives and 1 for positives, probabilities shifted by 0.05.
    """

    def __init__(self, gamma_negative: float = 4.0, gamma_positive: float = 1.0, shift: float = 0.05) -> None:
        super().__init__(name="asymmetric")
        self.gamma_negative = gamma_negative
        self.gamma_positive = gamma_positive
        self.shift = shift

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each example, `[B]`, the mean over its labels as in `keras.losses`."""
        positive = ops.sigmoid(y_pred)
        negative = ops.maximum(positive - self.shift, 0.0)
        # log(sigmoid(x)) as softplus: finite where the probability itself rounds to 0.
        gain = y_true * ops.power(1 - positive, self.gamma_positive) * -ops.softplus(-y_pred)
        cost = (1 - y_true) * ops.power(negative, self.gamma_negative) * ops.log1p(-ops.minimum(negative, 0.999999))
        return -ops.mean(gain + cost, axis=-1)


def make(name: str, *, single_label: bool = False) -> keras.losses.Loss:
    """Returns the loss called `name` in the settings: `cross-entropy`, `focal` (Lin et al. 2017) or `asymmetric`.

    With `single_label`, probabilities are those of a softmax over the classes, otherwise of a sigmoid for each.
    """
    if single_label:
        assert name != "asymmetric"  # `settings.check_fit` refuses it
        if name == "focal":
            return keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, from_logits=True)
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    if name == "focal":
        return keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)
    return Asymmetric() if name == "asymmetric" else keras.losses.BinaryCrossentropy(from_logits=True)
