"""Numbers as text: the filters of the page's template."""

from collections.abc import Mapping

MISSING = "–"

LARGE = 1000
"""Examples needed for a third decimal: with fewer, the standard error of an F1 is above 0.01."""


def decimals(num_examples: int) -> int:
    """Returns the number of decimals for a score over that many examples."""
    return 2 if num_examples < LARGE else 3


def fixed(value: float | None, digits: int) -> str:
    """Returns the value with `digits` decimals, without a minus sign at 0; `None` is a dash."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def signed(value: float | None, digits: int) -> str:
    """Returns the value with its sign, and 0 without one; `None` is a dash."""
    text = fixed(value, digits)
    return text if value is None or text.startswith("-") or float(text) == 0 else f"+{text}"


def interval(ends: Mapping[str, float] | None, digits: int) -> str:
    """Returns `[low, high]`; `None` is a dash."""
    return MISSING if ends is None else f"[{fixed(ends['low'], digits)}, {fixed(ends['high'], digits)}]"


def probability(value: float) -> str:
    """Returns a probability with two decimals; one that would read as 0 or 1 is `<0.01` or `>0.99`."""
    text = f"{value:.2f}"
    return {"0.00": "<0.01", "1.00": ">0.99"}.get(text, text)


def count(value: int) -> str:
    """Returns the number with commas between thousands."""
    return f"{value:,}"
