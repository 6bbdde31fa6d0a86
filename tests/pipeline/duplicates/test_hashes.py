import cv2
import numpy as np
import pytest

from pipeline.duplicates import grids, hashes, landmarks


def blobs(seed: int, side: int = 256, dtype=np.uint8) -> np.ndarray:
    """Returns a picture of soft blobs, as cells are."""
    rng = np.random.default_rng(seed)
    image = np.zeros((side, side), np.float64)
    for _ in range(40):
        y, x, radius = rng.integers(0, side), rng.integers(0, side), rng.uniform(4, 20)
        yy, xx = np.mgrid[:side, :side]
        image += rng.uniform(0.2, 1) * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / (2 * radius**2))
    return (image / image.max() * np.iinfo(dtype).max).astype(dtype)


def hash_of(image: np.ndarray) -> np.ndarray:
    return np.frombuffer(hashes.of_grid(grids.means(image)[1], np.iinfo(image.dtype).max), np.uint8)


def distance(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.unpackbits(first ^ second).sum())


@pytest.mark.parametrize("shape", [(256, 256), (64, 64), (100, 30), (51, 51)])
def test_a_grid_holds_the_means_by_area(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    fine, coarse = grids.means(image)
    for found, side in ((fine, 128), (coarse, 32)):
        rows, columns = (overlaps(length, side) for length in shape)
        sums = rows @ image.astype(np.int64) @ columns.T
        np.testing.assert_array_equal(found, sums * grids.STEPS // (shape[0] * shape[1]))


def overlaps(length: int, side: int) -> np.ndarray:
    """Returns how much each of `length` pixels covers of each of `side` cells, in steps of `1 / side` of a pixel."""
    pixels, cells = np.arange(length) * side, np.arange(side)[:, None] * length
    return np.maximum(np.minimum(pixels + side, cells + length) - np.maximum(pixels, cells), 0)


def test_a_hash_is_the_same_at_another_brightness_depth_and_size():
    image = blobs(1)
    assert distance(hash_of(image), hash_of(image.astype(np.uint16) * 257)) == 0
    assert distance(hash_of(image), hash_of((image // 2 + 40).astype(np.uint8))) <= 6
    assert distance(hash_of(image), hash_of(cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA))) <= 3


def test_hashes_of_unlike_pictures_differ_in_half_of_the_bits():
    found = [hash_of(blobs(seed)) for seed in range(12)]
    distances = [distance(one, other) for k, one in enumerate(found) for other in found[:k]]
    assert min(distances) > 70


def test_the_frequencies_of_the_key_come_first():
    found = hashes.turned_signs(hashes.SIDE, 4)[0]
    assert set(found[: 8 * hashes.KEY_BYTES]) == set(range(8 * hashes.KEY_BYTES))


@pytest.mark.parametrize("turn", hashes.TURNS)
def test_the_hash_of_a_turned_image_follows_from_the_hash_of_the_image(turn):
    image = blobs(2)
    expected = hash_of(np.ascontiguousarray(hashes.turned_image(image, turn)))
    np.testing.assert_array_equal(hashes.turned(hash_of(image), turn), expected)


def test_the_eight_turns_are_all_different():
    image = blobs(3)
    assert len({hashes.turned_image(image, turn).tobytes() for turn in hashes.TURNS}) == 8


@pytest.mark.parametrize("level", [0, 130])
def test_a_flat_channel_has_no_hash_and_stays_so_when_turned(level):
    image = np.full((64, 64), level, np.uint8)
    image[::2] += 1
    assert not hash_of(image).any()
    assert not hashes.turned(hash_of(image), 5).any()


def fine_of(*images: np.ndarray) -> np.ndarray:
    return np.stack([grids.means(image)[0] for image in images])


def find(*images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return landmarks.find(fine_of(*images), 255)


@pytest.mark.parametrize("turn", hashes.TURNS)
@pytest.mark.parametrize("num_channels", [1, 2, 4])
def test_the_landmarks_of_a_turned_image_follow_from_those_of_the_image(turn, num_channels):
    images = [blobs(seed) for seed in range(num_channels)]
    places, found = find(*images)
    turned = [np.ascontiguousarray(hashes.turned_image(image, turn)) for image in images]
    expected_places, expected = find(*turned)
    assert len(found) >= 8
    expected = dict(zip(map(tuple, expected_places.tolist()), expected.tolist(), strict=True))
    moved = map(tuple, landmarks.turned_places(places, turn).tolist())
    values = dict(zip(moved, landmarks.turned_hashes(found, turn, num_channels).tolist(), strict=True))
    common = values.keys() & expected.keys()
    assert len(common) >= len(expected) - 1  # of the weakest, several can be equally strong
    assert {place: values[place] for place in common} == {place: expected[place] for place in common}


def test_landmarks_stay_away_from_the_edge_and_are_at_most_32():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    places, found = find(noise)
    assert len(found) == landmarks.MOST
    assert places.min() >= landmarks.RADIUS
    assert places.max() < grids.FINE - landmarks.RADIUS


def test_an_image_without_structure_has_no_landmarks():
    places, found = find(np.full((256, 256), 7, np.uint8))
    assert places.shape == (0, 2)
    assert found.shape == (0,)


@pytest.mark.parametrize("num_channels", [1, 2, 3, 4, 5, 7, 8, 16, 30])
def test_the_hash_of_a_landmark_fits_64_bits(num_channels):
    places, found = find(*[blobs(seed % 3, 64) for seed in range(num_channels)])
    assert len(places) == len(found) > 0
    masks = landmarks.masks(num_channels)
    num_hashed = landmarks.num_hashed(num_channels)
    assert int(masks[0]) == 0
    assert int(masks[-1]).bit_count() + num_hashed == num_hashed * landmarks.hash_side(num_channels) ** 2 <= 64


def test_a_channel_that_is_flat_around_a_landmark_gives_no_bits():
    flat = np.zeros((256, 256), np.uint8)
    _, found = find(blobs(0), flat)
    assert {int(value) & 0b11 for value in found} == {0b01}
    assert not (found & landmarks.masks(2)[0b10]).any()


def test_turns_keep_flat_channels_flat():
    _, found = find(blobs(0), np.zeros((256, 256), np.uint8))
    assert not (landmarks.turned_hashes(found, 7, 2) & landmarks.masks(2)[0b10]).any()
