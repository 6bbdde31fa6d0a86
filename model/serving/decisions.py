"""Decisions: from probabilities to predicted classes."""

from collections.abc import Callable, Sequence

import numpy as np

from model import runs
from model.scores import thresholds
from model.serving import averaged

Decide = Callable[[np.ndarray], np.ndarray]
"""From probabilities, float `[N, classes]`, to predicted classes, bool `[N, classes]`."""


def by_rule(
    members: Sequence[runs.Run], rule: str, views: str | None, *, at_least_one: bool = False
) -> tuple[Decide, str]:
    """Returns the decision by the thresholds of `rule` (see `averaged.thresholds_of`), and what they are.

    With `at_least_one`, an example above no threshold gets the class nearest to its own.

    Raises:
        MissingError: a run was not evaluated.
        InputError: the thresholds are for another checkpoint or other views, or there are none for `rule`.
    """
    chosen, origin = averaged.thresholds_of(members, rule, views)

    def decide(probabilities: np.ndarray) -> np.ndarray:
        predicted = thresholds.predict(probabilities, chosen)
        return thresholds.at_least_one(predicted, probabilities, chosen) if at_least_one else predicted

    return decide, f"{rule} thresholds" + (f", {origin}" if origin and len(members) > 1 else "")
