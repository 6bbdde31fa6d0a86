"""Candidates of the gallery: the choice from batches is the choice from all examples."""

import numpy as np
import pytest

from pipeline.schema import HPA_KAGGLE_2018

WHITE = [255] * 4


@pytest.mark.parametrize("batch_size", [1, 7, 32])
@pytest.mark.parametrize("digits", [1, 2, 7])
@pytest.mark.parametrize("num_classes", [3, 12, 28])
def test_the_choice_from_batches_is_the_choice_from_all_examples(batch_size, digits, num_classes):
    from model.data.batches import Batch
    from model.page import gallery
    from model.serving.candidates import Candidates

    rng = np.random.default_rng([batch_size, digits, num_classes])
    num = 150
    images = rng.integers(0, 4, (num, 2, 2, 4), dtype=np.uint8)  # few values: many ties of brightness too
    labels = (rng.random((num, num_classes)) < 0.2).astype(np.uint8)
    probabilities = rng.random((num, num_classes)).astype(np.float32).round(digits)
    ids = np.array([f"ex-{k}".encode() for k in range(num)], object)
    candidates = Candidates(HPA_KAGGLE_2018, WHITE)
    for start in range(0, num, batch_size):
        part = slice(start, start + batch_size)
        candidates.add(Batch(ids[part], images[part], labels[part]), probabilities[part])
        assert len(candidates._examples) <= 3 * gallery.PER_KIND
    brightness = images[..., 1].mean(axis=(1, 2), dtype=np.float64)
    expected = gallery.choose(labels, probabilities, brightness)
    indices = [choice.index for choice in expected]
    assert (candidates.pictures() == images[indices]).all()
    assert [(entry["kind"], entry["id"], entry["class"], entry["brightness"]) for entry in candidates.entries()] == [
        (choice.kind, f"ex-{choice.index}", choice.label, brightness[choice.index]) for choice in expected
    ]
    assert [entry["labels"] for entry in candidates.entries()] == [np.flatnonzero(labels[k]).tolist() for k in indices]


def test_pictures_are_small_and_do_not_keep_their_batch():
    from model.data.batches import Batch
    from model.page import gallery
    from model.serving.candidates import Candidates

    candidates = Candidates(HPA_KAGGLE_2018, WHITE)
    for side in (gallery.SIDE, 2 * gallery.SIDE):
        batch = Batch(np.array([b"a"], object), np.zeros((1, side, side, 4), np.uint8), np.zeros((1, 28), np.uint8))
        candidates.add(batch, np.full((1, 28), 0.5, np.float32))
    assert candidates.pictures().shape[1:] == (gallery.SIDE, gallery.SIDE, 4)
    assert all(example.picture.base is None for example in candidates._examples)
