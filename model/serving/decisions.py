"""Decisions: from probabilities to predicted classes."""

from collections.abc import Callable

import numpy as np

from model import runs
from model.scores import evaluation, thresholds
from pipeline.errors import InputError

Decide = Callable[[np.ndarray], np.ndarray]
"""From probabilities, float `[N, classes]`, to predicted classes, bool `[N, classes]`."""


FEWEST = 100
"""Examples that a set needs for thresholds that match it: three positives are expected among them of the median class
of the atlas, which 3.1% of the examples carry."""


def by_rule(run: runs.Run, rule: str, views: str, *, at_least_one: bool = False) -> Decide:
    """Returns the decision by `rule`: by the thresholds that the run's evaluation chose, or that match the set.

    With `at_least_one`, an example above no threshold gets the class nearest to its own. Decisions by `matched-set` are
    for all examples of a set at once, and raise `InputError` for fewer than `FEWEST`.

    Raises:
        MissingError: the run was not evaluated.
        InputError: the thresholds are for another checkpoint or other views, or there are none for `rule`.
    """
    choose = _matching_set(run) if rule == thresholds.MATCHED_SET else _as_evaluated(run, rule, views)

    def decide(probabilities: np.ndarray) -> np.ndarray:
        chosen = choose(probabilities)
        predicted = thresholds.predict(probabilities, chosen)
        return thresholds.at_least_one(predicted, probabilities, chosen) if at_least_one else predicted

    return decide


def _as_evaluated(run: runs.Run, rule: str, views: str) -> Callable[[np.ndarray], np.ndarray]:
    chosen = evaluation.thresholds_of(run, rule, views)
    return lambda probabilities: chosen


def _matching_set(run: runs.Run) -> Callable[[np.ndarray], np.ndarray]:
    frequencies = evaluation.frequencies_of(run)

    def choose(probabilities: np.ndarray) -> np.ndarray:
        if len(probabilities) < FEWEST:
            raise InputError(
                f"{len(probabilities)} examples: the rule {thresholds.MATCHED_SET} needs {FEWEST} or more, because it "
                "predicts each class for the same share of them as of train; choose another --rule"
            )
        return thresholds.matched(frequencies, probabilities)

    return choose
