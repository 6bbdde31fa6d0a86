"""Numbers as text."""

import pytest

from model.page import formats


@pytest.mark.parametrize(("num", "expected"), [(52, 2), (999, 2), (1000, 3), (31072, 3)])
def test_small_splits_are_shown_with_two_decimals(num, expected):
    assert formats.decimals(num) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.126, "0.13"), (-0.126, "-0.13"), (-0.001, "0.00"), (0, "0.00"), (None, "–")]
)
def test_zero_has_no_sign_and_a_missing_value_is_a_dash(value, expected):
    assert formats.fixed(value, 2) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.126, "+0.13"), (-0.126, "-0.13"), (0.001, "0.00"), (-0.001, "0.00"), (None, "–")]
)
def test_a_change_has_a_sign(value, expected):
    assert formats.signed(value, 2) == expected


def test_an_interval_has_both_ends():
    assert formats.interval({"low": -0.014, "high": 0.0049}, 3) == "[-0.014, 0.005]"
    assert formats.interval(None, 3) == "–"


def test_counts_have_commas():
    assert formats.count(12885) == "12,885"


@pytest.mark.parametrize(("value", "expected"), [(0.126, "0.13"), (0.0004, "<0.01"), (0, "<0.01"), (0.9999, ">0.99")])
def test_a_probability_is_never_shown_as_certain(value, expected):
    assert formats.probability(value) == expected
