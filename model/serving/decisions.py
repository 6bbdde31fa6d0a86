"""Decisions: from probabilities to predicted classes."""

from collections.abc import Callable

import numpy as np

from model import runs
from model.scores import evaluation, thresholds

Decide = Callable[[np.ndarray], np.ndarray]
"""From probabilities, float `[N, classes]`, to predicted classes, bool `[N, classes]`."""


def by_rule(run: runs.Run, rule: str, views: str, *, at_least_one: bool = False) -> Decide:
    """Returns the decision by the thresholds that the run's evaluation chose for `rule`.

    With `at_least_one`, an example above no threshold gets the class nearest to its own.

    Raises:
        MissingError: the run was not evaluated.
        InputError: the thresholds are for another checkpoint or other views, or there are none for `rule`.
    """
    chosen = evaluation.thresholds_of(run, rule, views)

    def decide(probabilities: np.ndarray) -> np.ndarray:
        predicted = thresholds.predict(probabilities, chosen)
        return thresholds.at_least_one(predicted, probabilities, chosen) if at_least_one else predicted

    return decide
