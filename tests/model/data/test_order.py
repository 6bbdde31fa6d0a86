"""Repeat factors: how often an epoch shows each example."""

import numpy as np
import pytest

from model.data.order import Order, repeat_factors, rounded_repeats


def test_repeat_factors_are_those_of_lvis():
    labels = np.zeros((1000, 28), np.uint8)
    labels[:, 0] = 1  # everywhere
    labels[:10, 1] = 1  # 1%: sqrt(0.04 / 0.01) = 2
    labels[:1, 2] = 1  # 0.1%: sqrt(0.04 / 0.001) = 6.32
    factors = repeat_factors(labels, 0.04)
    assert factors[0] == pytest.approx(40**0.5)
    assert factors[1:10] == pytest.approx(2)
    assert (factors[10:] == 1).all()


def test_a_threshold_above_every_share_balances_by_the_square_root_of_the_share():
    labels = np.eye(3, dtype=np.uint8)[[0] * 64 + [1] * 16 + [2]]
    for threshold in (64 / 81, 1.0):
        assert set(repeat_factors(labels, threshold)) == {1, 2, 8}


def test_repeat_factors_are_rounded_up_as_often_as_their_fraction_says():
    factors = np.full(20_000, 2.3)
    repeats = rounded_repeats(factors, np.random.default_rng(4))
    assert set(repeats) == {2, 3}
    assert repeats.mean() == pytest.approx(2.3, abs=0.02)
    order = Order(seed=4, buffer=1, factors=factors)
    assert (order.repeats(0, 20_000) == order.repeats(0, 20_000)).all()
    assert (order.repeats(0, 20_000) != order.repeats(1, 20_000)).any()
