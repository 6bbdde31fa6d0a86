"""Probabilities of a run: views, one pass over a split."""

import numpy as np
import pytest

from pipeline.errors import InputError


def test_views_of_a_symmetric_set_agree(evaluated):
    from model import runs
    from model.serving import scoring

    run = runs.open_run(evaluated)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 4), dtype=np.uint8)
    one, flips, d4 = (scoring.load_model(run, views) for views in ("one", "flips", "d4"))
    turned = [np.rot90(images, k, (1, 2)) for k in range(4)]
    every = [view for k in turned for view in (k, k[:, ::-1])]
    expected = np.mean([scoring.predict_batch(one, view) for view in every], axis=0)
    np.testing.assert_allclose(scoring.predict_batch(d4, images), expected, atol=1e-6)
    mirrored = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]
    expected = np.mean([scoring.predict_batch(one, view) for view in mirrored], axis=0)
    np.testing.assert_allclose(scoring.predict_batch(flips, images), expected, atol=1e-6)


def test_views_of_crops_need_a_run_that_was_trained_on_crops(evaluated):
    from model import runs
    from model.serving import scoring

    run = runs.open_run(evaluated)
    expected = rf"^run {run.path} was not trained on crops, expected one of the views one, flips, d4$"
    with pytest.raises(InputError, match=expected):
        scoring.choose_views(run, "crops")
    assert [scoring.choose_views(run, views) for views in (None, "d4")] == ["one", "d4"]


def test_observers_see_every_batch_with_all_channels_and_its_probabilities(raw_run):
    from model import runs
    from model.serving import scoring

    run, seen = runs.open_run(raw_run), []
    assert run.settings.channels == ("green", "blue", "red")
    dataset = scoring.open_dataset(run, ["train"])
    predictions = scoring.predict_split(
        scoring.load_model(run), run, dataset, "train", limit=35, observers=[lambda *args: seen.append(args)]
    )
    assert [batch.images.shape for batch, _ in seen] == [(32, 32, 32, 4), (3, 32, 32, 4)]
    assert [key.decode() for batch, _ in seen for key in batch.ids] == predictions.ids
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in seen]), predictions.probabilities)
    np.testing.assert_array_equal(np.concatenate([batch.label_vectors for batch, _ in seen]), predictions.label_vectors)


def test_predictions_are_saved_as_arrays(tmp_path):
    from model.serving.predictions import Predictions

    parts = [Predictions([f"{k}"], np.full((1, 2), k, np.uint8), np.full((1, 2), k / 4, np.float32)) for k in (0, 1)]
    Predictions.concatenate(parts).save(tmp_path / "folder" / "p.npz")
    with np.load(tmp_path / "folder" / "p.npz") as file:
        assert file["ids"].tolist() == ["0", "1"]
        assert file["labels"].tolist() == [[0, 0], [1, 1]]
        assert file["probabilities"].tolist() == [[0, 0], [0.25, 0.25]]
