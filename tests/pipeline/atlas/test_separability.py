"""The 28 classes of the synthetic atlas can be told from their images, and better with four channels than with one."""

import concurrent.futures
import functools

import numpy as np
import pytest

from tests.support import atlas_features
from tests.support.hpa import CLASS_NAMES, NUM_CLASSES

BY_RELATION = [3, 4, 5, 6, 7, 14, 16, 17, 18, 19, 24, 26]
"""Classes that are defined by where they lie relative to nucleus, fibres or reticulum."""


def features(seed, index):
    """Returns labels, features of green alone, and features that the other channels add, of one balanced example."""
    import cv2

    from pipeline.atlas import drawing
    from pipeline.atlas.label_sets import draw_labels

    cv2.setNumThreads(1)
    labels = draw_labels(seed, index, balanced=True)
    images = drawing.draw_example(drawing.generator(seed, index, balanced=True), labels)
    channels = [images[name].astype(np.float32) for name in ("red", "green", "blue", "yellow")]
    return labels, atlas_features.of_green(channels[1]), atlas_features.of_relations(*channels)


def areas(rows, truth):
    """Returns the area under the ROC curve of each class, float `[28]`, of a forest in four-fold cross-validation."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import KFold

    scores = np.zeros(truth.shape)
    for train, test in KFold(4, shuffle=True, random_state=0).split(rows):
        forest = ExtraTreesClassifier(200, max_features=0.2, min_samples_leaf=2, random_state=0, n_jobs=2)
        forest.fit(rows[train], truth[train])
        scores[test] = np.stack([p[:, 1] for p in forest.predict_proba(rows[test])], axis=1)
    return np.array([roc_auc_score(truth[:, label], scores[:, label]) for label in range(NUM_CLASSES)])


def test_features_of_an_example_do_not_depend_on_the_process():
    labels, green, added = features(0, 1)
    assert labels
    assert (len(green), len(added)) == (56, 341)
    assert np.isfinite(np.nan_to_num([*green, *added])).all()
    assert features(0, 1) == (labels, green, added)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_every_class_can_be_told_from_its_images():
    num = 2000
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        drawn = list(pool.map(functools.partial(features, 0), range(num), chunksize=20))
    truth = np.zeros((num, NUM_CLASSES), int)
    for row, (labels, _, _) in zip(truth, drawn, strict=True):
        row[list(labels)] = 1
    green = np.nan_to_num(np.array([of_green for _, of_green, _ in drawn], np.float32))
    both = np.nan_to_num(np.array([[*of_green, *added] for _, of_green, added in drawn], np.float32))
    with_all, with_green = areas(both, truth), areas(green, truth)
    for label, name in enumerate(CLASS_NAMES):
        print(f"{label:2d} {name:30s} four channels {with_all[label]:.3f}  green alone {with_green[label]:.3f}")
    print(f"mean {with_all.mean():.3f} and {with_green.mean():.3f}")
    assert (with_all > 0.8).sum() >= 26
    assert with_all.mean() > with_green.mean() + 0.03
    assert with_all[BY_RELATION].mean() > with_green[BY_RELATION].mean() + 0.03
