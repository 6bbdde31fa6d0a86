"""Evaluated runs, loaded for a page, and the comparison of two of them."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model import runs
from model.scores import evaluation, intervals, paired, thresholds
from pipeline.errors import InputError

SPLITS = ("train", "dev", "test")


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """A run and its evaluation.

    Attributes:
        name: the folder's name, with as much of its path as makes it unique on the page.
        run: the run folder.
        evaluation: the contents of `evaluation.json`.
        pictures: uint8 `[n, side, side, channels]`, in the order of `evaluation["gallery"]`.
    """

    name: str
    run: runs.Run
    evaluation: dict[str, Any]
    pictures: np.ndarray

    @property
    def shown_split(self) -> str:
        """The split shown in detail: test, if it was scored."""
        return self.evaluation["shown_split"]

    @property
    def splits(self) -> dict[str, dict[str, Any]]:
        """The evaluation of each scored split, by name."""
        return self.evaluation["splits"]

    @property
    def shown(self) -> dict[str, Any]:
        """The evaluation of the shown split."""
        return self.splits[self.shown_split]

    @property
    def single_label(self) -> bool:
        return self.evaluation["dataset"]["single_label"]

    @property
    def rule(self) -> str:
        """The prediction rule of the scores."""
        return evaluation.main_rule(self.evaluation)

    @property
    def class_names(self) -> list[str]:
        return self.evaluation["dataset"]["class_names"]

    @functools.cached_property
    def predictions(self) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
        """Label vector and probabilities, each `[classes]`, and group of every example of the shown split, by id."""
        path = self.run.path / "evaluation" / f"predictions-{self.shown_split}.npz"
        ids, *columns = evaluation.read_arrays(path, "ids", "labels", "probabilities", "groups")
        return dict(zip(ids.tolist(), zip(*columns, strict=True), strict=True))


def load(opened: Sequence[runs.Run]) -> list[EvaluatedRun]:
    """Returns the runs with their evaluations.

    Raises:
        InputError: a run is given twice, or runs predict different classes.
        MissingError: a run was not evaluated.
    """
    names = unique_names([run.path for run in opened])
    loaded = []
    for name, run in zip(names, opened, strict=True):
        (images,) = evaluation.read_arrays(run.path / "evaluation" / "gallery.npz", "images")
        loaded.append(EvaluatedRun(name, run, evaluation.load(run.path), images))
    _check_classes(loaded)
    return loaded


def _check_classes(loaded: Sequence[EvaluatedRun]) -> None:
    first = loaded[0]
    for other in loaded[1:]:
        if (first.class_names, first.single_label) != (other.class_names, other.single_label):
            described = " and ".join(
                f"{run.name} {len(run.class_names)} of schema '{run.evaluation['dataset']['schema']}'"
                for run in (first, other)
            )
            raise InputError(f"runs of different classes cannot be compared: {described}; make a page of each")


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Returns the folders' names, with as many parent folders as make them unique.

    Raises:
        InputError: a folder is given twice.
    """
    absolute = [path.absolute() for path in paths]
    if len(set(absolute)) < len(absolute):
        raise InputError("the same run was given twice")
    length = next(n for n in range(1, 99) if len({path.parts[-n:] for path in absolute}) == len(absolute))
    return ["/".join(path.parts[-length:]) for path in absolute]


def comparable(loaded: Sequence[EvaluatedRun]) -> bool:
    """Returns whether all runs were scored on the same examples of the same split."""
    first, *others = loaded
    return all(
        other.shown_split == first.shown_split and other.predictions.keys() == first.predictions.keys()
        for other in others
    )


def difference(before: EvaluatedRun, after: EvaluatedRun) -> intervals.Interval:
    """Returns macro F1 of `after` minus that of `before`; both must be scored on the same examples."""
    ids = sorted(before.predictions)
    labels = np.stack([before.predictions[key][0] for key in ids])
    first, second = (
        thresholds.decide(np.stack([run.predictions[key][1] for key in ids]), single_label=run.single_label)
        for run in (before, after)
    )
    return intervals.difference(labels, first, second, _codes(before, ids))


def matched_difference(before: EvaluatedRun, after: EvaluatedRun) -> dict[str, dict[str, float]]:
    """Returns the scores of `after` minus those of `before` at matched thresholds, see `paired.paired_difference`.

    Both must be scored on the same examples, with several labels.
    """
    ids = sorted(before.predictions)
    labels = np.stack([before.predictions[key][0] for key in ids])
    first, second = (
        (np.stack([run.predictions[key][1] for key in ids]), np.array(run.evaluation["thresholds"]["matched"]))
        for run in (before, after)
    )
    return paired.paired_difference(labels, first, second, _codes(before, ids))


def _codes(run: EvaluatedRun, ids: Sequence[str]) -> np.ndarray:
    """Returns the number of each example's group, int64 `[N]`."""
    return np.array([run.predictions[key][2] for key in ids], np.int64)
