"""Tables and page of a cross-validation, from its results; and the scores of test parts together."""

import numpy as np
import pytest

from model.folds import handmade, table
from model.folds.results import Predicted, mean
from model.page import cross_validation
from model.page.sections import folds as sections
from tests.support import folds


def test_the_table_has_each_fold_their_mean_and_all_together():
    text = table.markdown(folds.results())
    assert "**Folds by plate**" in text
    assert "| 0 | 1,400 | 200 | 6 | 3 | 0.700 | 0.710 | 0.750 | 0.050 |" in text
    assert "| mean ± deviation |  |  |  |  | 0.850 ± 0.020 | 0.710 ± 0.020 | 0.750 ± 0.020 | 0.050 ± 0.020 |" in text
    assert "| all together |  |  | 13 |  | 0.710 |" in text
    assert "60,000 to 60,001 images a run, 6 minutes of training in all" in text
    assert "2026-01-31, commit 0123456.*" in text


def test_the_network_stands_beside_others_and_the_difference_is_called_leakage():
    text = table.markdown(folds.results())
    assert "| this network, mean of the folds | 0.700 | 0.850 |" in text
    assert "| others, reported |  | 0.75 |" in text
    assert "macro F1 at random is +0.150 [0.100, 0.200] against by plate" in text
    assert "the difference is leakage. At random, cells of one plate are in train and in test" in text


def test_the_table_of_one_scheme_without_a_baseline_has_neither():
    text = table.markdown(folds.results(schemes=("random",), baseline=False))
    assert "leakage" not in text
    assert "same folds" not in text
    assert "by plate" not in text


def test_the_page_shows_scores_matrices_and_leakage():
    found = folds.results()
    page = " ".join(cross_validation.html(found, table.leakage(found)).split())
    assert "<b>0.700</b><span>macro F1 on test, mean of the folds by plate; hand-made features 0.700" in page
    assert "the difference is leakage" in page
    assert "folds at random: 11 of 13 are right" in page
    assert "&lt;hole&gt; in fold 1." in page
    assert "<hole>" not in page
    assert "Only " not in page
    assert "http:" not in page


def test_the_page_says_which_folds_are_missing():
    found = folds.results(schemes=("grouped",), baseline=False)
    found["num_folds"] = 5
    page = cross_validation.html(found, None)
    assert "Only 2 of 5 folds by plate are finished." in page
    assert "leakage" not in page


def test_learning_curves_are_means_over_the_folds():
    assert sections.mean_curve(folds.scheme("by plate", 0.7)["folds"], "dev_macro_f1") == [(100.0, 0.5), (200.0, 0.5)]


def test_test_parts_together_are_in_the_order_of_their_ids():
    labels = np.eye(2, dtype=np.uint8)
    parts = [Predicted(["c", "a"], labels, labels * 0.9), Predicted(["b"], labels[:1], labels[1:] * 0.6)]
    together = Predicted.together(parts)
    assert together.ids == ["a", "b", "c"]
    assert together.label_vectors.tolist() == [[0, 1], [1, 0], [1, 0]]
    scores = together.scores()
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["macro_f1"] == pytest.approx(2 / 3)
    assert scores["balanced_accuracy"] == pytest.approx(3 / 4)
    assert scores["calibration_error"] == pytest.approx((2 * 0.1 + 0.6) / 3)


def test_the_mean_of_folds_has_their_deviation():
    scored = [{"test": {**folds.TEST, "macro_f1": value}} for value in (0.6, 0.8)]
    assert mean(scored)["macro_f1"] == {"mean": pytest.approx(0.7), "deviation": pytest.approx(0.1414, abs=1e-4)}
    assert mean(scored[:1])["accuracy"] == {"mean": 0.75, "deviation": 0.0}


def disk(radius: int, hole: int = 0) -> np.ndarray:
    """Returns a bright disk, or a ring, on a dark ground: uint8 `[64, 64]`."""
    y, x = np.mgrid[:64, :64]
    distance = np.hypot(x - 32, y - 32)
    return np.where((distance <= radius) & (distance >= hole), 200, 5).astype(np.uint8)


def test_hand_made_features_see_size_and_holes():
    small, large, ring = (handmade.shape((image > 100).astype(np.uint8)) for image in (disk(8), disk(20), disk(20, 8)))
    assert large[0] == pytest.approx(np.pi * 20**2, rel=0.02)
    assert small[0] < large[0]
    assert [features[4] for features in (small, large, ring)] == [0, 0, 1]


def test_hand_made_features_of_blank_images_are_finite():
    images = np.stack([np.zeros((64, 64, 2), np.uint8), np.full((64, 64, 2), 255, np.uint8)])
    found = handmade.features(images)
    assert np.isfinite(found).all()
    assert found.shape == (2, 2 * len(handmade.of_channel(disk(9))))


def test_logistic_regression_of_hand_made_features_tells_disks_from_rings():
    pytest.importorskip("sklearn")
    images = np.stack([disk(8 + k, 4 if k % 2 else 0) for k in range(16)])[..., None]
    ids = [str(k) for k in range(16)]
    of = dict(zip(ids, handmade.features(images), strict=True))
    labels = {key: int(key) % 2 for key in ids}
    found = handmade.probabilities(of, labels, ids[:12], ids[12:], 3)
    assert found.argmax(axis=1).tolist() == [0, 1, 0, 1]
    assert (found[:, 2] == 0).all()
