"""Decisions: from probabilities to predicted classes."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from model import runs
from model.scores import evaluation, thresholds
from model.serving import averaged
from pipeline.errors import InputError

Decide = Callable[[np.ndarray], np.ndarray]
"""From probabilities, float `[N, classes]`, to predicted classes, bool `[N, classes]`."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """How classes are predicted: `decide`, the `origin` of its thresholds, and whether it needs all examples."""

    decide: Decide
    origin: str
    at_once: bool = False


FEWEST = 100
"""Examples that a set needs for thresholds that match it: about three of them are expected to have the median class of
the atlas, which 3.1% of its examples have."""


def by_rule(members: Sequence[runs.Run], rule: str, views: str | None, *, at_least_one: bool = False) -> Decision:
    """Returns the decision by `rule`.

    It uses the thresholds that the runs' evaluations chose (see `averaged.thresholds_of`), or those that match the set.
    With `at_least_one`, an example above no threshold gets the class nearest to its threshold. Decisions by
    `matched-set` are for all examples of a set at once, and raise `InputError` for fewer than `FEWEST`.

    Where examples have one label each, the most probable class is predicted, and thresholds do not matter.

    Raises:
        MissingError: a run was not evaluated.
        InputError: the thresholds are for another checkpoint or other views, or there are none for `rule`.
    """
    if members[0].schema.single_label:
        if rule != "fixed":
            raise InputError(
                f"--rule {rule} chooses thresholds, and examples of schema '{members[0].schema.name}' have one label "
                "each: leave it out, the most probable class is predicted"
            )
        return Decision(functools.partial(thresholds.decide, single_label=True), "the most probable class of each")
    at_once = rule == thresholds.MATCHED_SET
    if at_once:
        choose, origin = _matching_set(members), ""
    else:
        choose, origin = _as_evaluated(members, rule, views)

    def decide(probabilities: np.ndarray) -> np.ndarray:
        chosen = choose(probabilities)
        predicted = thresholds.predict(probabilities, chosen)
        return thresholds.at_least_one(predicted, probabilities, chosen) if at_least_one else predicted

    return Decision(decide, f"{rule} thresholds" + (f", {origin}" if origin and len(members) > 1 else ""), at_once)


def _as_evaluated(
    members: Sequence[runs.Run], rule: str, views: str | None
) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    chosen, origin = averaged.thresholds_of(members, rule, views)
    return lambda probabilities: chosen, origin


def _matching_set(members: Sequence[runs.Run]) -> Callable[[np.ndarray], np.ndarray]:
    # Runs of several folds were trained on different examples.
    frequencies = np.mean([evaluation.frequencies_of(run) for run in members], axis=0)

    def choose(probabilities: np.ndarray) -> np.ndarray:
        if len(probabilities) < FEWEST:
            raise InputError(
                f"{len(probabilities)} examples: the rule {thresholds.MATCHED_SET} needs {FEWEST} or more, because it "
                "predicts each class for the same share of them as of train; choose another --rule"
            )
        return thresholds.matched(frequencies, probabilities)

    return choose
