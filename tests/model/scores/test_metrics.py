"""Counts are exact, and scores of them agree with scikit-learn."""

import numpy as np
import pytest

from model.scores import metrics

NAMES = [f"class {index}" for index in range(28)]


def draw(seed: int, num: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0, 0.4, 28)
    labels = rng.random((num, 28)) < shares
    labels[:, 5] = False  # never present
    predicted = np.where(rng.random((num, 28)) < 0.7, labels, rng.random((num, 28)) < shares)
    predicted[:, 7] = False  # present, never predicted
    labels[:, 9], predicted[:, 9] = False, False  # neither
    return labels.astype(np.uint8), predicted


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore")
def test_metrics_agree_with_scikit_learn(seed):
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    labels, predicted = draw(seed)
    counts = metrics.count(labels, predicted)
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, zero_division=0)
    np.testing.assert_allclose(counts.precision, precision, atol=1e-12)
    np.testing.assert_allclose(counts.recall, recall, atol=1e-12)
    np.testing.assert_allclose(counts.f1, f1, atol=1e-12)
    np.testing.assert_array_equal(counts.support, support)
    assert counts.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0), abs=1e-12)


def test_f1_of_a_class_that_is_neither_present_nor_predicted_is_zero_and_counts():
    labels, predicted = np.zeros((10, 28), np.uint8), np.zeros((10, 28), bool)
    labels[:, 0], predicted[:, 0] = 1, True
    counts = metrics.count(labels, predicted)
    assert counts.f1.tolist() == [1.0] + [0.0] * 27
    assert counts.macro_f1 == pytest.approx(1 / 28)
    assert counts.macro_f1_present == 1.0
    assert counts.absent(NAMES) == NAMES[1:]
    assert counts.to_json(NAMES)["absent"] == NAMES[1:]


def test_an_empty_split_has_no_nan():
    counts = metrics.count(np.zeros((0, 28), np.uint8), np.zeros((0, 28), bool))
    assert counts.macro_f1 == counts.macro_f1_present == 0.0


def test_macro_f1_is_of_the_whole_split_not_the_mean_of_batches():
    labels, predicted = draw(0)
    halves = [metrics.count(labels[k::2], predicted[k::2]) for k in range(2)]
    whole = metrics.count(labels, predicted)
    assert (halves[0].true_positives + halves[1].true_positives == whole.true_positives).all()
    assert whole.macro_f1 != pytest.approx(np.mean([half.macro_f1 for half in halves]), abs=1e-6)


def test_counts_refuse_arrays_of_different_shape():
    with pytest.raises(ValueError, match=r"^label vectors \(3, 28\) and predictions \(4, 28\) differ in shape$"):
        metrics.count(np.zeros((3, 28)), np.zeros((4, 28)))
