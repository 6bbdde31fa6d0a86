"""The losses and their gradients, against formulas in NumPy."""

import keras
import numpy as np
import pytest

from model import backend

backend.start()

import tensorflow as tf  # noqa: E402

from model.network import classifier, losses  # noqa: E402
from pipeline.schema import HPA_KAGGLE_2018 as HPA  # noqa: E402
from tests.support.datasets import tiny_settings  # noqa: E402

PRIOR = 0.058


@pytest.fixture(params=["float32", "mixed_bfloat16", "mixed_float16"])
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and logits, float64 `[20, 28]`."""
    labels = np.random.default_rng(1).random((20, 28)) < 0.2
    return labels.astype(np.float64), np.random.default_rng(0).normal(0, 3, (20, 28))


def asymmetric(labels: np.ndarray, logits: np.ndarray, gamma_positive: float = 0.0) -> np.ndarray:
    """Returns the paper's loss of each label."""
    p = 1 / (1 + np.exp(-logits))
    shifted = np.maximum(p - 0.05, 0)
    return -(labels * (1 - p) ** gamma_positive * np.log(p) + (1 - labels) * shifted**4 * np.log(1 - shifted))


def gradient_of(name: str, label: float, probability: float) -> float:
    """Returns the derivative of the loss of one label by its logit."""
    logits = tf.constant([[np.log(probability / (1 - probability))]], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.make(name)(tf.constant([[label]]), logits)
    return float(tape.gradient(loss, logits)[0, 0])


def test_the_asymmetric_loss_is_that_of_the_paper(policy):
    labels, logits = drawn()
    found = losses.make("asymmetric")(labels.astype(np.float32), logits.astype(np.float32))
    assert found.dtype == "float32"
    assert float(found) == pytest.approx(asymmetric(labels, logits).mean(), rel=1e-5)
    focused = losses.Asymmetric(gamma_positive=1.0)(labels.astype(np.float32), logits.astype(np.float32))
    assert float(focused) == pytest.approx(asymmetric(labels, logits, 1.0).mean(), rel=1e-5)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_the_asymmetric_loss_is_computed_in_float32(policy, kind):
    labels, logits = drawn()
    rounded = tf.cast(logits, kind)
    expected = asymmetric(labels, rounded.numpy().astype(np.float64)).mean()
    assert float(losses.make("asymmetric")(labels.astype(np.float32), rounded)) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_the_asymmetric_loss_is_its_slope():
    labels, logits = drawn()
    variable = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = losses.make("asymmetric")(labels.astype(np.float32), variable)
    slope = (asymmetric(labels, logits + 1e-5) - asymmetric(labels, logits - 1e-5)) / 2e-5 / labels.size
    np.testing.assert_allclose(tape.gradient(loss, variable), slope, atol=1e-7)


@pytest.mark.parametrize("name", ["cross-entropy", "focal", "asymmetric"])
def test_losses_and_gradients_stay_finite_at_extreme_logits(name):
    logits = tf.constant([[-1e4, 1e4, -1e4, 1e4]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.make(name)(np.array([[0, 1, 1, 0]], np.float32), logits)
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_at_the_prior_itself_the_asymmetric_loss_only_pushes_up():
    assert gradient_of("asymmetric", 1, PRIOR) == pytest.approx(-(1 - PRIOR), rel=1e-3)
    assert 0 <= gradient_of("asymmetric", 0, PRIOR) < 1e-8


@pytest.mark.parametrize(("name", "expected"), [("cross-entropy", PRIOR), ("focal", 0.261), ("asymmetric", 0.432)])
def test_outputs_start_where_positives_and_negatives_balance(name, expected):
    start = losses.initial_probability(name, PRIOR)
    assert start == pytest.approx(expected, abs=2e-3)
    up, down = PRIOR * gradient_of(name, 1, start), (1 - PRIOR) * gradient_of(name, 0, start)
    assert down > 1e-3
    assert up + down == pytest.approx(0, abs=0.01 * down)
    assert losses.initial_probability(name, None) is None


def test_the_classifier_starts_there():
    settings = tiny_settings(loss="asymmetric", prior=PRIOR, blocks=(1,), width=4)
    model = classifier.build(settings, [0.1] * 4, [0.1] * 4, HPA)
    bias = classifier.body(model).get_layer("logits").get_weights()[1]
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), losses.initial_probability("asymmetric", PRIOR), rtol=1e-5)
