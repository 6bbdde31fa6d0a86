"""What happens inside the step: augmentation, mixup, losses, averages."""

import numpy as np
import pytest

from model import backend
from pipeline.schema import HPA_KAGGLE_2018 as HPA
from tests.support.datasets import NUCLEI, PAINTING, tiny_settings

backend.start()

import keras  # noqa: E402

from model.network import augment, classifier, losses, optimizers  # noqa: E402


def test_turning_reaches_all_eight_ways_equally_often_and_changes_no_pixel():
    image = np.arange(3 * 3 * 2, dtype=np.uint8).reshape(3, 3, 2)
    ways = {np.rot90(side, k).tobytes(): 0 for side in (image, image[:, ::-1]) for k in range(4)}
    turned = np.asarray(augment.Turn(seed=1)(np.stack([image] * 4000)))
    assert turned.dtype == np.uint8
    for one in turned:
        ways[one.tobytes()] += 1
    assert len(ways) == 8
    assert min(ways.values()) > 400


def test_brightness_varies_per_example_and_channel_within_its_range():
    images = np.full((50, 4, 4, 4), 100, np.uint8)
    bright = np.asarray(augment.Brighten(0.1, seed=1)(images))
    assert bright.dtype == np.float32
    assert (bright == bright[:, :1, :1]).all()
    assert 90 <= bright.min() < 92
    assert 108 < bright.max() <= 110
    assert len(np.unique(bright[:, 0, 0])) > 190
    assert np.asarray(augment.Brighten(0.5, seed=1)(np.full((50, 1, 1, 4), 250, np.uint8))).max() == 255


@pytest.mark.parametrize("strength", [(1, 0.3, 0), (0, 0.3, 1), (0, 0, 0)])
def test_a_warp_of_no_strength_is_the_identity(strength):
    images = np.random.default_rng(0).integers(0, 255, (4, 17, 17, 3), dtype=np.uint8)
    warped = np.asarray(augment.Warp(17, *(1e-12 * s for s in strength), seed=1)(images))
    assert warped.dtype == np.float32
    np.testing.assert_array_equal(warped, images)


def test_a_crop_is_a_piece_of_the_image_and_every_place_is_drawn():
    image = np.arange(6 * 6, dtype=np.uint8).reshape(6, 6, 1)
    crops = np.asarray(augment.Warp(4, 0, 0, 0, seed=1)(np.stack([image] * 300)))
    places = [divmod(int(crop[0, 0, 0]), 6) for crop in crops]
    for crop, (top, left) in zip(crops, places, strict=True):
        np.testing.assert_array_equal(crop, image[top : top + 4, left : left + 4])
    counts = np.unique(np.array(places), axis=0, return_counts=True)[1]
    assert len(counts) == 9
    assert counts.min() > 15


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0.0, 1.0, -1.0, 0.0), lambda image: np.rot90(image)),
        ((-1.0, 0.0, 0.0, -1.0), lambda image: image[::-1, ::-1]),
        ((1.0, 0.0, 0.0, 1.0), lambda image: image),
    ],
)
def test_pixels_are_read_where_the_matrix_says(monkeypatch, matrix, expected):
    image = np.random.default_rng(0).integers(0, 255, (1, 9, 9, 2)).astype(np.float32)
    a, b, c, d = matrix
    monkeypatch.setattr(augment.Warp, "_turned", lambda self, _, y, x: (a * y + b * x, c * y + d * x))
    found = np.asarray(augment.Warp(9, 1, 0, 0, seed=1)(image))
    np.testing.assert_array_equal(found[0], expected(image[0]))


def test_a_warp_rotates_scales_and_shears_within_its_range_around_the_centre():
    side, num = 65, 200
    y, x = np.mgrid[:side, :side] - 32.0
    image = np.exp(-((x - 12) ** 2 + y**2) / 8)[..., None]
    for strength, radius, angle in (((30, 0, 0), (12, 12), (25, 30)), ((0, 0.25, 0), (9.6, 15), (0, 0))):
        warped = np.asarray(augment.Warp(side, *strength, seed=1)(np.stack([image] * num)))[..., 0]
        total = warped.sum((1, 2))
        v, u = (warped * y).sum((1, 2)) / total, (warped * x).sum((1, 2)) / total
        distance, turned = np.hypot(u, v), np.degrees(np.abs(np.arctan2(v, u)))
        assert radius[0] - 0.1 <= distance.min() < radius[0] + 0.5
        assert radius[1] - 0.5 < distance.max() <= radius[1] + 0.1
        assert angle[0] <= turned.max() <= angle[1] + 0.1
    sheared = np.asarray(augment.Warp(side, 0, 0, 20, seed=1)(np.stack([image.transpose(1, 0, 2)] * num)))[..., 0]
    u = (sheared * x).sum((1, 2)) / sheared.sum((1, 2))
    assert 4 < np.abs(u).max() <= 12 * np.tan(np.radians(20)) + 0.1
    assert np.abs((sheared * y).sum((1, 2)) / sheared.sum((1, 2)) - 12).max() < 0.1


def test_outside_of_the_image_is_its_mirror_image():
    row = np.arange(5, dtype=np.int32)
    found = np.asarray(augment._reflected(np.arange(-5, 11, dtype=np.int32), 5))
    np.testing.assert_array_equal(found, np.pad(row, (5, 6), mode="reflect"))
    assert np.asarray(augment._reflected(np.arange(-2, 3), 1)).tolist() == [0] * 5


def test_training_sees_crops_and_scoring_whole_images():
    settings = tiny_settings(crop=24, rotation=180, brightness=0.1, augment="d4", pooling="avg-max", dropout=0.5)
    trainee = classifier.Trainee(classifier.build(settings, [0.1] * 4, [0.1] * 4, HPA), settings, HPA)
    images = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 4), dtype=np.uint8)
    cut = images
    for layer in augment.layers(settings, 255, [1, 2, 3]):
        cut = layer(cut)
    assert cut.shape == (4, 24, 24, 4)
    assert trainee(images, training=True)["logits"].shape == (4, 28)
    scored = classifier.with_probabilities(trainee.classifier, settings, HPA).predict_on_batch(images)
    whole = np.asarray(trainee.classifier(images))
    np.testing.assert_allclose(scored, 1 / (1 + np.exp(-whole)), atol=1e-5)


def test_crops_are_the_corners_and_the_centre_with_their_mirror_images():
    image = np.arange(36, dtype=np.float32).reshape(1, 6, 6, 1)
    views = [np.asarray(view)[0, :, :, 0] for view in classifier.views_of(image, "crops", 4)]
    assert [view[0, 0] for view in views[::2]] == [0, 2, 12, 14, 7]
    for view, mirrored in zip(views[::2], views[1::2], strict=True):
        np.testing.assert_array_equal(view[:, ::-1], mirrored)


def test_draws_follow_from_the_seed_and_go_on_from_step_to_step():
    images = np.random.default_rng(0).integers(0, 255, (8, 4, 4, 4), dtype=np.uint8)
    one, same, other = augment.Turn(seed=1), augment.Turn(seed=1), augment.Turn(seed=2)
    first = [np.asarray(one(images)) for _ in range(2)]
    assert (first[0] != first[1]).any()
    assert all((np.asarray(same(images)) == expected).all() for expected in first)
    assert (np.asarray(other(images)) != first[0]).any()
    settings = tiny_settings(augment="d4", rotation=180, scale=0.1, shear=5, brightness=0.1)
    layers = [augment.layers(settings, 255, [1, 2, 3]) for _ in range(2)]
    for one, same in zip(*layers, strict=True):
        first = [np.asarray(one(images)) for _ in range(2)]
        assert (first[0] != first[1]).any()
        assert all((np.asarray(same(images)) == expected).all() for expected in first)


def test_mixing_keeps_at_least_half_of_each_example():
    values = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], np.float32)
    mixed = np.asarray(augment.mix(values, np.array([0.75, 1.0, 0.5], np.float32)))
    np.testing.assert_allclose(mixed, [[0.75, 0.0], [0.0, 1.0], [0.0, 0.5]])
    weights = np.asarray(augment.MixingWeights(0.3, seed=1)(np.zeros((500, 1))))
    assert weights.min() >= 0.5
    assert weights.max() <= 1


def test_a_step_mixes_labels_as_it_mixes_images():
    settings = tiny_settings(mixup=0.4)
    trainee = classifier.Trainee(classifier.build(settings, [0.1] * 4, [0.1] * 4, HPA), settings, HPA)
    images = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 4), dtype=np.uint8)
    labels = np.eye(28, dtype=np.float32)[:4]
    answer = trainee(images, training=True)
    expected = losses.make("cross-entropy")(augment.mix(labels, answer["kept"]), answer["logits"])
    assert float(trainee.compute_loss(images, labels, answer)) == pytest.approx(float(expected))
    assert "kept" not in trainee(images, training=False)


def test_normalisation_is_part_of_the_classifier_and_scales_each_channel():
    settings = tiny_settings(channels=("green", "red"))
    model = classifier.build(settings, [0.25, 0.5], [0.1, 0.2], HPA)
    inner = keras.Model(model.input, model.get_layer("normalise").output)
    images = np.zeros((1, 32, 32, 2), np.uint8)
    images[..., 0], images[..., 1] = 51, 255
    found = np.asarray(inner(images))
    np.testing.assert_allclose(found[0, 0, 0], [(0.2 - 0.25) / 0.1, (1 - 0.5) / 0.2], rtol=1e-5)


def test_uint16_images_are_normalised_by_their_own_range():
    settings = tiny_settings("any", channels=["DNA"], size=32)
    model = classifier.build(settings, [0.25], [0.1], PAINTING)
    inner = keras.Model(model.input, model.get_layer("normalise").output)
    found = np.asarray(inner(np.full((1, 32, 32, 1), 13107, np.uint16)))
    np.testing.assert_allclose(found, (0.2 - 0.25) / 0.1, rtol=1e-5)


def test_probabilities_of_single_labels_add_up_to_one():
    settings = tiny_settings("any", channels=["dna"], size=32)
    model = classifier.build(settings, [0.1], [0.1], NUCLEI)
    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 1), dtype=np.uint8)
    for views in ("one", "flips"):
        found = classifier.with_probabilities(model, settings, NUCLEI, views).predict_on_batch(images)
        assert found.shape == (3, 5)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("name", "gamma"), [("cross-entropy", 0), ("focal", 2)])
def test_the_loss_of_a_single_label_is_that_of_the_softmax(name, gamma):
    logits = np.random.default_rng(0).normal(0, 2, (20, 5)).astype(np.float32)
    labels = np.eye(5, dtype=np.float32)[np.arange(20) % 5]
    p = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) * labels).sum(axis=1)
    expected = -((1 - p) ** gamma * np.log(p)).mean()
    assert float(losses.make(name, single_label=True)(labels, logits)) == pytest.approx(expected, rel=1e-4)


def test_with_test_time_flips_a_turned_image_has_the_same_probabilities():
    settings = tiny_settings()
    model = classifier.build(settings, [0.1] * 4, [0.1] * 4, HPA)
    model = classifier.with_probabilities(model, settings, HPA, "flips")
    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 4), dtype=np.uint8)
    found = model.predict_on_batch(images)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(model.predict_on_batch(images[:, ::-1, ::-1].copy()), found, atol=1e-6)


@pytest.mark.parametrize(("schedule", "expected"), [("cosine", [0, 5e-4, 1e-3, 5e-4, 0]), ("constant", [1e-3] * 5)])
def test_the_rate_warms_up_and_cools_down(schedule, expected):
    warmup = {"warmup_epochs": 2.0} if schedule == "cosine" else {}
    settings = tiny_settings(schedule=schedule, epochs=10, learning_rate=1e-3, **warmup)
    rate = optimizers.make(settings, [10] * 10)._learning_rate
    found = [float(rate(step)) if callable(rate) else float(rate) for step in (0, 10, 20, 60, 100)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_offsets_and_scales_do_not_decay():
    optimizer = optimizers.make(tiny_settings(optimizer="adamw", weight_decay=0.1), [10])
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    optimizer.build(layer.trainable_variables + dense.trainable_variables)
    decays = [optimizer._use_weight_decay(v) for v in (layer.gamma, layer.beta, dense.kernel, dense.bias)]
    assert decays == [False, False, True, False]
