"""Losses of logits `[B, classes]` against label vectors, whose values may lie between 0 and 1 (mixup)."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops


class Asymmetric(keras.losses.Loss):
    """Asymmetric loss (Ridnik et al. 2021): easy negatives weigh little, very easy ones nothing.

    On average 26.4 of 28 labels are negative and dominate plain cross-entropy. The defaults are those with which the
    authors train on MS-COCO (`train.py` of their repository): focusing 4 for negatives, none for positives, and
    probabilities of negatives shifted by 0.05, in the logarithm and in the focusing weight.

    Two things differ from their code. The loss is the mean over classes, not the sum: Adam's steps are the same. The
    gradient passes through the focusing weight, as in the paper's formula; their training code stops it there.
    """

    def __init__(self, gamma_negative: float = 4.0, gamma_positive: float = 0.0, shift: float = 0.05) -> None:
        super().__init__(name="asymmetric")
        self.gamma_negative = gamma_negative
        self.gamma_positive = gamma_positive
        self.shift = shift

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each example, `[B]`, the mean over its labels as in `keras.losses`."""
        positive = ops.sigmoid(y_pred)
        negative = ops.maximum(positive - self.shift, 0.0)
        # log(sigmoid(x)) as softplus: finite where the probability itself rounds to 0.
        gain = y_true * -ops.softplus(-y_pred)
        if self.gamma_positive:  # the gradient of x ** 0 is not a number at 0
            gain = gain * ops.power(1 - positive, self.gamma_positive)
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


def initial_probability(name: str, prior: float | None) -> float | None:
    """Returns the probability from which every output starts, if a share `prior` of the labels is positive.

    It is the constant output with the lowest mean loss: `prior` itself for cross-entropy (Lin et al. 2017), and 0.43
    for the asymmetric loss at a prior of 0.058. That loss has almost no gradient for negatives at 0.058 (1e-9, and 0.9
    for positives), so that all outputs would first rise together.
    """
    if prior is None or name == "cross-entropy":
        return prior
    logits = np.linspace(-12, 12, 9601, dtype=np.float32)[:, None]
    loss = make(name)
    positive, negative = (ops.convert_to_numpy(loss.call(np.full_like(logits, label), logits)) for label in (1, 0))
    lowest = (prior * positive + (1 - prior) * negative).argmin()
    return 1 / (1 + math.exp(-float(logits[lowest, 0])))
