"""Counts are exact, and what follows from them is what scikit-learn says."""

import numpy as np
import pytest

from model.scores import metrics

NAMES = [f"class {index}" for index in range(28)]


def draw(seed: int, num: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0, 0.4, 28)
    truth = rng.random((num, 28)) < shares
    truth[:, 5] = False  # never present
    said = np.where(rng.random((num, 28)) < 0.7, truth, rng.random((num, 28)) < shares)
    said[:, 7] = False  # present, never predicted
    truth[:, 9], said[:, 9] = False, False  # neither
    return truth.astype(np.uint8), said


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore")
def test_metrics_agree_with_scikit_learn(seed):
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    truth, said = draw(seed)
    counts = metrics.count(truth, said)
    precision, recall, f1, support = precision_recall_fscore_support(truth, said, zero_division=0)
    np.testing.assert_allclose(counts.precision, precision, atol=1e-12)
    np.testing.assert_allclose(counts.recall, recall, atol=1e-12)
    np.testing.assert_allclose(counts.f1, f1, atol=1e-12)
    np.testing.assert_array_equal(counts.support, support)
    assert counts.macro_f1 == pytest.approx(f1_score(truth, said, average="macro", zero_division=0), abs=1e-12)


def test_f1_of_a_class_that_is_neither_present_nor_predicted_is_zero_and_counts():
    truth, said = np.zeros((10, 28), np.uint8), np.zeros((10, 28), bool)
    truth[:, 0], said[:, 0] = 1, True
    counts = metrics.count(truth, said)
    assert counts.f1.tolist() == [1.0] + [0.0] * 27
    assert counts.macro_f1 == pytest.approx(1 / 28)
    assert counts.macro_f1_present == 1.0
    assert counts.absent(NAMES) == NAMES[1:]
    assert counts.to_json(NAMES)["absent"] == NAMES[1:]


def test_an_empty_split_has_no_nan():
    counts = metrics.count(np.zeros((0, 28), np.uint8), np.zeros((0, 28), bool))
    assert counts.macro_f1 == counts.macro_f1_present == 0.0


def test_macro_f1_is_of_the_whole_split_not_the_mean_of_batches():
    truth, said = draw(0)
    halves = [metrics.count(truth[k::2], said[k::2]) for k in range(2)]
    whole = metrics.count(truth, said)
    assert (halves[0].true_positives + halves[1].true_positives == whole.true_positives).all()
    assert whole.macro_f1 != pytest.approx(np.mean([half.macro_f1 for half in halves]), abs=1e-6)


def test_calling_every_class_of_the_real_table_positive_scores_a_tenth(real_labels):
    rows = real_labels.read_text().splitlines()[1:]
    truth = np.zeros((len(rows), 28), np.uint8)
    for index, row in enumerate(rows):
        truth[index, [int(word) for word in row.split(",")[1].split()]] = 1
    assert metrics.count(truth, np.ones_like(truth)).macro_f1 == pytest.approx(0.0996, abs=5e-5)


def test_counts_refuse_arrays_of_different_shape():
    with pytest.raises(ValueError, match=r"^label vectors \(3, 28\) and predictions \(4, 28\) differ in shape$"):
        metrics.count(np.zeros((3, 28)), np.zeros((4, 28)))
