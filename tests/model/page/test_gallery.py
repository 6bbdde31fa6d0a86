"""The choice of pictures, and their colours."""

import base64
import io

import numpy as np
from PIL import Image

from model.page import gallery

LABELS = np.array([[1, 0], [1, 0], [0, 1]], np.uint8)
PROBABILITIES = np.array([[0.9, 0.49], [0.2, 0.5], [0.1, 0.51]], np.float32)


def test_only_predicted_classes_are_false_positives_and_only_others_are_missed():
    chosen = gallery.choose(LABELS, PROBABILITIES, np.array([3.0, 1.0, 2.0]))
    assert [choice for choice in chosen if choice.kind == "wrong"] == [gallery.Choice("wrong", 1, 1)]
    assert [choice for choice in chosen if choice.kind == "missed"] == [gallery.Choice("missed", 1, 0)]
    assert [choice.index for choice in chosen if choice.kind == "empty"] == [1, 2, 0]


def test_channels_of_unknown_names_are_grey():
    image = np.full((1, 1, 2), 200, np.uint8)
    assert gallery.coloured(image, "far-red", ["green", "far-red"]).tolist() == [[[200, 200, 200]]]
    assert gallery.composite(image, ["green", "far-red"]).tolist() == [[[80, 255, 80]]]


def test_a_picture_is_a_png_in_the_page():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    address = gallery.data_uri(pixels)
    assert address.startswith("data:image/png;base64,")
    file = io.BytesIO(base64.b64decode(address.partition(",")[2]))
    np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)
