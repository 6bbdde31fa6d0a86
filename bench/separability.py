"""Separability of the 28 classes of the synthetic atlas, with four channels and with green alone."""

import concurrent.futures
import functools
import sys

import click
import numpy as np

from pipeline.schema import CLASS_NAMES, NUM_CLASSES

BY_RELATION = (3, 4, 5, 6, 7, 14, 16, 17, 18, 19, 24, 26)
"""Classes that are defined by where they lie relative to nucleus, fibres or reticulum."""

GOOD_AREA, GOOD_CLASSES = 0.8, 26
"""A class is separable above this area; so many must be."""

Features = tuple[tuple[int, ...], list[float], list[float]]
"""Labels, features of green alone, features that the other channels add."""


def features(seed: int, index: int) -> Features:
    """Draws example `index` of a balanced atlas and returns its features."""
    import cv2

    from bench import atlas_features
    from pipeline.atlas import drawing
    from pipeline.atlas.label_sets import draw_labels

    cv2.setNumThreads(1)
    labels = draw_labels(seed, index, balanced=True)
    images = drawing.draw_example(drawing.generator(seed, index, balanced=True), labels)
    channels = [images[name].astype(np.float32) for name in ("red", "green", "blue", "yellow")]
    return labels, atlas_features.of_green(channels[1]), atlas_features.of_relations(*channels)


def areas(rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns float `[28]`, the area under the ROC curve of each class, of out-of-fold scores.

    Args:
      rows: float `[N, F]`, features.
      truth: int `[N, 28]`, label vectors.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import KFold

    scores = np.zeros(truth.shape)
    for train, test in KFold(4, shuffle=True, random_state=0).split(rows):
        forest = ExtraTreesClassifier(200, max_features=0.2, min_samples_leaf=2, random_state=0, n_jobs=2)
        forest.fit(rows[train], truth[train])
        scores[test] = np.stack([p[:, 1] for p in forest.predict_proba(rows[test])], axis=1)
    return np.array([roc_auc_score(truth[:, label], scores[:, label]) for label in range(NUM_CLASSES)])


def report(with_all: np.ndarray, with_green: np.ndarray) -> str:
    """Returns the areas of all classes, and their means, as text."""
    lines = [
        f"{label:2d} {name:30s} four channels {with_all[label]:.3f}  green alone {with_green[label]:.3f}"
        + ("  by relation" if label in BY_RELATION else "")
        for label, name in enumerate(CLASS_NAMES)
    ]
    num_all, num_green = ((each > GOOD_AREA).sum() for each in (with_all, with_green))
    lines.append(f"above {GOOD_AREA}: {num_all} of {NUM_CLASSES} with four channels, {num_green} with green alone")
    lines.append(f"mean: {with_all.mean():.3f} and {with_green.mean():.3f}")
    related = list(BY_RELATION)
    lines.append(f"mean of classes by relation: {with_all[related].mean():.3f} and {with_green[related].mean():.3f}")
    return "\n".join(lines)


@click.command("separability")
@click.option("--num", default=2800, show_default=True, type=click.IntRange(280), help="Examples to draw.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the atlas.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes that draw.")
def command(num: int, seed: int, workers: int) -> None:
    """Measure how well the 28 classes of the synthetic atlas can be distinguished.

    Draws a balanced atlas, computes hand-made features, and estimates for each class the area under the ROC curve of
    a forest of randomised trees by four-fold cross-validation: with the features of all four channels, and with those
    of green alone. Exits with 1 if fewer than 26 classes reach 0.8 with four channels.

    With 2,000 examples all 28 classes reached 0.8 (mean 0.954) with four channels, and 22 (mean 0.883) with green
    alone.
    """
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        drawn = list(pool.map(functools.partial(features, seed), range(num), chunksize=20))
    truth = np.zeros((num, NUM_CLASSES), int)
    for row, (labels, _, _) in zip(truth, drawn, strict=True):
        row[list(labels)] = 1
    green = np.nan_to_num(np.array([of_green for _, of_green, _ in drawn], np.float32))
    both = np.nan_to_num(np.array([[*of_green, *added] for _, of_green, added in drawn], np.float32))
    with_all, with_green = areas(both, truth), areas(green, truth)
    click.echo(report(with_all, with_green))
    sys.exit(int((with_all > GOOD_AREA).sum()) < GOOD_CLASSES)
