"""Scores of the finished runs of a cross-validation: each fold, their mean, and all folds together.

Over the folds of a scheme, each example is in test exactly once. So the test parts together have a
prediction for every example, by a model that was not trained on it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model import runs
from model.data import card
from model.data.batches import eval_batches
from model.data.dataset import Dataset
from model.folds import handmade
from model.folds.plan import GROUPED, RANDOM, Fold
from model.folds.work import is_finished
from model.scores import calibration, describe, evaluation, intervals, metrics, thresholds
from model.serving import scoring
from pipeline.schema import SPLITS

SCORES = ("macro_f1", "balanced_accuracy", "accuracy", "calibration_error")

PUBLISHED = (
    {"what": "hand-made features, logistic regression, same crops", "random": 0.702, "grouped": 0.596},
    {"what": "DeepProfiler features from whole frames (Tomkinson et al. 2024)", "random": 0.75, "grouped": None},
    {"what": "CellProfiler features from whole frames (Tomkinson et al. 2024)", "random": 0.79, "grouped": None},
    {"what": "both (Tomkinson et al. 2024)", "random": 0.83, "grouped": None},
)
"""Macro F1 that others report for the nuclei of MitoCheck, on other folds."""


@dataclasses.dataclass(frozen=True)
class Predicted:
    """Test examples with their label vectors, uint8 `[N, classes]`, and probabilities, float `[N, classes]`."""

    ids: list[str]
    label_vectors: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def together(cls, parts: Sequence["Predicted"]) -> "Predicted":
        """Returns the examples of all parts, in the order of their ids."""
        ids = [key for part in parts for key in part.ids]
        order = sorted(range(len(ids)), key=ids.__getitem__)
        labels = np.concatenate([part.label_vectors for part in parts])[order]
        return cls([ids[k] for k in order], labels, np.concatenate([part.probabilities for part in parts])[order])

    def scores(self) -> dict[str, float]:
        """Returns each of `SCORES`."""
        predicted = thresholds.decide(self.probabilities, single_label=True)
        counts = metrics.count(self.label_vectors, predicted)
        return {
            "macro_f1": counts.macro_f1,
            "balanced_accuracy": counts.balanced_accuracy,
            "accuracy": float(counts.true_positives.sum() / max(len(self.ids), 1)),
            "calibration_error": calibration.top_label(self.label_vectors, self.probabilities).expected_error,
        }


def collect(folds: Sequence[Fold], words: Mapping[str, str], *, baseline: bool) -> dict[str, Any]:
    """Returns the results of the finished folds as plain values; with `baseline`, also those of hand-made features.

    `words` says how each scheme divides examples.
    """
    finished = {scheme: [fold for fold in folds if fold.scheme == scheme and is_finished(fold)] for scheme in words}
    finished = {scheme: done for scheme, done in finished.items() if done}
    if not finished:
        return {"schemes": {}}
    one = runs.open_run(next(iter(finished.values()))[0].run)
    found: dict[str, Any] = {
        "class_names": one.dataset["class_names"],
        "num_examples": sum(one.dataset["num_examples"].values()),
        "settings": one.settings.to_json(),
    }
    measured = _features(one) if baseline else {}
    together: dict[str, Predicted] = {}
    schemes: dict[str, dict[str, Any]] = {}
    for scheme, done in finished.items():
        parts = [_predictions(fold) for fold in done]
        together[scheme] = Predicted.together(parts)
        schemes[scheme] = {
            "words": words[scheme],
            "folds": [_fold(fold, part) for fold, part in zip(done, parts, strict=True)],
            "together": _together(together[scheme]),
        }
        if measured:
            schemes[scheme]["baseline"] = _baseline(done, parts, measured)
        schemes[scheme]["mean"] = mean(schemes[scheme]["folds"])
    found["schemes"] = schemes
    if together.keys() == {GROUPED, RANDOM} and together[GROUPED].ids == together[RANDOM].ids:
        found["leakage"] = _leakage(together, finished[GROUPED][0])
    return {**found, "published": list(PUBLISHED)}


def mean(folds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Returns mean and standard deviation over the folds of each of `SCORES`."""
    columns = {name: np.array([fold["test"][name] for fold in folds]) for name in SCORES}
    return {
        name: {"mean": float(values.mean()), "deviation": float(values.std(ddof=1)) if len(values) > 1 else 0.0}
        for name, values in columns.items()
    }


def _fold(fold: Fold, part: Predicted) -> dict[str, Any]:
    run, scored = runs.open_run(fold.run), evaluation.load(fold.run)
    epochs = runs.read_rows(run.metrics_csv)
    test = scored["splits"]["test"]
    return {
        "fold": fold.number,
        "num_examples": run.dataset["num_examples"],
        "num_groups": test["num_groups"],
        "epochs": len(epochs),
        "images_seen": int(epochs[-1]["step"]) * run.settings.batch_size,
        "train_seconds": round(sum(float(row["seconds"]) for row in epochs), 1),
        "git_commit": run.config["git_commit"],
        "test": part.scores(),
        "test_interval": test["rules"][describe.HIGHEST]["interval"],
        "absent": test["absent"],
        "dev_macro_f1": scored["splits"]["dev"]["rules"][describe.HIGHEST]["macro_f1"],
        "curve": [
            {
                "images": int(row["step"]) * run.settings.batch_size,
                **{name: round(float(row[name]), 4) for name in ("loss", "dev_loss", "dev_macro_f1")},
            }
            for row in epochs
        ],
    }


def _together(all_tests: Predicted) -> dict[str, Any]:
    labels, probabilities = all_tests.label_vectors, all_tests.probabilities
    predicted = thresholds.decide(probabilities, single_label=True)
    reliability = calibration.top_label(labels, probabilities)
    f1 = metrics.count(labels, predicted).f1
    return {
        **all_tests.scores(),
        "num_examples": len(all_tests.ids),
        "classes": f1.tolist(),
        "confusion": describe.confusion(labels, predicted).tolist(),
        "bins": {name: getattr(reliability, name).tolist() for name in ("count", "mean", "share")},
    }


def _leakage(together: Mapping[str, Predicted], grouped: Fold) -> dict[str, Any]:
    """Returns how much higher macro F1 is at random than by group, over the same examples, with its interval."""
    dataset = scoring.open_dataset(runs.open_run(grouped.run), SPLITS)
    labels = together[GROUPED].label_vectors
    by_group, at_random = (
        thresholds.decide(together[scheme].probabilities, single_label=True) for scheme in (GROUPED, RANDOM)
    )
    codes = intervals.group_codes(together[GROUPED].ids, card.read_groups(dataset))
    change = intervals.difference(labels, by_group, at_random, codes)
    return {"macro_f1": change.to_json(), "num_groups": len(np.unique(codes))}


def _predictions(fold: Fold) -> Predicted:
    path = fold.run / "evaluation" / "predictions-test.npz"
    ids, labels, probabilities = evaluation.read_arrays(path, "ids", "labels", "probabilities")
    return Predicted(ids.tolist(), labels, probabilities)


def _features(run: runs.Run) -> dict[str, np.ndarray]:
    """Returns the hand-made features of every example of the run's dataset; empty without scikit-learn."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return {}
    dataset: Dataset = scoring.open_dataset(run, SPLITS)
    found: dict[str, np.ndarray] = {}
    for split in SPLITS:
        batches = eval_batches(dataset, split, channels=dataset.channels, batch_size=scoring.BATCH_SIZE)
        for batch in batches.as_numpy_iterator():
            ids = [key.decode() for key in batch.ids.tolist()]
            found |= dict(zip(ids, handmade.features(batch.images), strict=True))
    return found


def _baseline(folds: Sequence[Fold], parts: Sequence[Predicted], measured: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the scores of hand-made features in the same folds, trained on the same examples."""
    scored = []
    for fold, part in zip(folds, parts, strict=True):
        train, labels = _train_labels(fold)
        labels |= dict(zip(part.ids, part.label_vectors.argmax(axis=1).tolist(), strict=True))
        classes = part.label_vectors.shape[1]
        probabilities = handmade.probabilities(measured, labels, train, part.ids, classes)
        scored.append({"fold": fold.number, "test": dataclasses.replace(part, probabilities=probabilities).scores()})
    return {"folds": scored, "mean": mean(scored)}


def _train_labels(fold: Fold) -> tuple[list[str], dict[str, int]]:
    """Returns the ids of the fold's train split, and the class of each."""
    dataset = scoring.open_dataset(runs.open_run(fold.run), ["train"])
    labels: dict[str, int] = {}
    for batch in eval_batches(dataset, "train", channels=dataset.channels, batch_size=64).as_numpy_iterator():
        ids = [key.decode() for key in batch.ids.tolist()]
        labels |= dict(zip(ids, batch.label_vectors.argmax(axis=1).tolist(), strict=True))
    return list(labels), labels
