"""Sections of results with made-up values."""

from bench.figures import results

ABOUT = {
    "began": ["2026-01-01 08:00"],
    "machine": "2 cores",
    "pixels": "real",
    "commit": "abc",
    "versions": {"grain": "1"},
}


def section(*, num=1000, about=ABOUT, before=None, **contenders):
    """Returns a section with these examples per second of each contender."""
    values = {
        name: {"examples_per_second": rates, "peak_mb": [300.0], "own_mb": [200.0], "written_mb": [1.0]}
        for name, rates in contenders.items()
    }
    results.add_ratios(values, "examples_per_second")
    return {**about, **({"before": before} if before else {}), "num": num, "contenders": values}
