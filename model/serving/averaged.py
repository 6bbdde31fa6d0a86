"""Predictions averaged over several runs, such as different seeds or the folds of a cross-validation."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from model import runs
from model.scores import evaluation, thresholds
from model.serving import scoring

ON_AVERAGED, OF_EACH_RUN = "chosen on the averaged predictions of dev", "the means of each run's thresholds"
"""Where the thresholds of several runs come from."""


@dataclasses.dataclass(frozen=True)
class AveragedModel:
    """Several models used as one, which predicts the mean of their probabilities."""

    models: Sequence[keras.Model]

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Returns probabilities, float32 `[B, classes]`, of images `[B, S, S, C]`."""
        return np.mean([np.asarray(model.predict_on_batch(images)) for model in self.models], axis=0)


def load_model(members: Sequence[runs.Run], views: str | None) -> AveragedModel:
    """Returns the mean of the runs' models; each averages over `views`, or over the run's own if it is `None`."""
    return AveragedModel([scoring.load_model(run, scoring.choose_views(run, views)) for run in members])


def thresholds_of(members: Sequence[runs.Run], rule: str, views: str | None) -> tuple[np.ndarray, str]:
    """Returns the thresholds of a rule for averaged predictions, float64 `[classes]`, and where they come from.

    If all runs were evaluated on the same dev, they are chosen on the mean of its predictions. Otherwise, as with
    folds, they are the means of the runs' own thresholds on the logit scale.

    Raises:
        MissingError: a run was not evaluated.
        InputError: its thresholds are for another checkpoint or other views, or there are none for `rule`.
    """
    own = [evaluation.thresholds_of(run, rule, scoring.choose_views(run, views)) for run in members]
    if rule == "fixed":
        return own[0], ""
    dev = [_dev(run) for run in members]
    ids, labels, _ = dev[0]
    if all(np.array_equal(ids, other[0]) and np.array_equal(labels, other[1]) for other in dev[1:]):
        averaged = np.mean([probabilities for _, _, probabilities in dev], axis=0)
        frequencies = evaluation.frequencies_of(members[0]) if rule == "matched" else None
        return thresholds.choose(labels, averaged, frequencies)[rule], ON_AVERAGED
    return thresholds.mean(own), OF_EACH_RUN


def _dev(run: runs.Run) -> list[np.ndarray]:
    return evaluation.read_arrays(run.path / "evaluation" / "predictions-dev.npz", "ids", "labels", "probabilities")
