"""The choice of pictures, and their colours."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from model.page import gallery
from pipeline.schema import HPA_KAGGLE_2018
from tests.support.datasets import PAINTING

LABELS = np.array([[1, 0], [1, 0], [0, 1]], np.uint8)
PROBABILITIES = np.array([[0.9, 0.49], [0.2, 0.5], [0.1, 0.51]], np.float32)


def test_only_predicted_classes_are_false_positives_and_only_others_are_missed():
    chosen = gallery.choose(LABELS, PROBABILITIES, np.array([3.0, 1.0, 2.0]))
    assert [choice for choice in chosen if choice.kind == "wrong"] == [gallery.Choice("wrong", 1, 1)]
    assert [choice for choice in chosen if choice.kind == "missed"] == [gallery.Choice("missed", 1, 0)]
    assert [choice.index for choice in chosen if choice.kind == "empty"] == [1, 2, 0]


def test_channels_have_their_declared_colours_and_only_references_of_a_protein_are_dimmed():
    image = np.full((1, 1, 2), 200, np.uint8)
    assert gallery.coloured(image, 1, "#ff8000").tolist() == [[[200, 100, 0]]]
    assert gallery.composite(image, ["#00ff00", "#ffffff"], protein=0).tolist() == [[[80, 255, 80]]]
    assert gallery.composite(image, ["#00ff00", "#ff8000"], protein=None).tolist() == [[[200, 255, 0]]]


def test_the_picture_of_the_atlas_is_mixed_as_before():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)
    weights = np.array([(0.6, 0, 0), (0, 1, 0), (0, 0, 1), (0.35, 0.22, 0)])
    expected = np.clip(image.astype(np.float64) @ weights, 0, 255).astype(np.uint8)
    colours = [channel.colour for channel in HPA_KAGGLE_2018.channels]
    np.testing.assert_array_equal(gallery.composite(image, colours, protein=1), expected)


@pytest.mark.parametrize("num_channels", [1, 4, 5])
def test_a_large_image_of_any_number_of_channels_becomes_a_small_picture(num_channels):
    image = np.random.default_rng(0).integers(0, 65536, (288, 288, num_channels), np.uint16)
    picture = gallery.small(image)
    assert picture.dtype == np.uint16
    halves = image.repeat(2, axis=0).repeat(2, axis=1)
    expected = halves.reshape(192, 3, 192, 3, num_channels).mean(axis=(1, 3))
    np.testing.assert_allclose(picture, expected, atol=0.5)


def test_uint16_pictures_are_scaled_by_the_brightness_of_train():
    white = gallery.white_levels(PAINTING, [0.01] * 5, [0.01] * 4 + [0.5])
    assert white == pytest.approx([0.05 * 65535] * 4 + [65535])
    image = np.full((1, 1, 5), 0.025 * 65535, np.uint16)
    assert gallery.to_8bit(image, white).tolist() == [[[127, 127, 127, 127, 6]]]
    eight = np.full((1, 1, 4), 200, np.uint8)
    assert gallery.to_8bit(eight, gallery.white_levels(HPA_KAGGLE_2018, [0.1] * 4, [0.1] * 4)) is eight


def test_with_single_labels_the_most_probable_class_is_wrong_or_right():
    chosen = gallery.choose(LABELS, PROBABILITIES / 4, np.zeros(3), single_label=True)
    assert [choice for choice in chosen if choice.kind == "wrong"] == [gallery.Choice("wrong", 1, 1)]
    assert [choice for choice in chosen if choice.kind == "missed"] == [gallery.Choice("missed", 1, 0)]


def test_a_picture_is_a_png_in_the_page():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    address = gallery.data_uri(pixels)
    assert address.startswith("data:image/png;base64,")
    file = io.BytesIO(base64.b64decode(address.partition(",")[2]))
    np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)
