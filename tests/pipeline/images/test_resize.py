import itertools
from fractions import Fraction

import numpy as np
import pytest

from pipeline.images.resize import resize

RNG = np.random.default_rng(0)
DTYPES = [np.uint8, np.uint16]


def area_mean(image, size):
    """The definition of resizing by area, in exact fractions and plain loops."""
    side, step = len(image), Fraction(len(image), size)
    out = np.zeros((size, size), int)
    for i, j in itertools.product(range(size), repeat=2):
        total = Fraction(0)
        for a, b in itertools.product(range(side), repeat=2):
            rows = min((i + 1) * step, a + 1) - max(i * step, a)
            columns = min((j + 1) * step, b + 1) - max(j * step, b)
            if rows > 0 and columns > 0:
                total += rows * columns * int(image[a, b])
        out[i, j] = (total / step**2 + Fraction(1, 2)).__floor__()
    return out


def by_matrices(image, size):
    """The same as two products with the matrix of weights, in units of 1/size: exact, as all sums stay below 2**53."""
    side = len(image)
    starts, sources = side * np.arange(size)[:, None], size * np.arange(side)[None]
    weights = np.clip(np.minimum(starts + side, sources + size) - np.maximum(starts, sources), 0, None).astype(float)
    total = (weights @ image.astype(float) @ weights.T).astype(np.int64)
    return (2 * total + side**2) // (2 * side**2)


def images(side, dtype):
    """Noise, mostly ties and near ties, extremes side by side, and the largest value everywhere."""
    largest = np.iinfo(dtype).max
    yield RNG.integers(0, largest, (side, side), dtype, endpoint=True)
    yield RNG.integers(0, 2, (side, side), dtype)
    yield largest * RNG.integers(0, 2, (side, side), dtype)
    yield np.full((side, side), largest, dtype)


def check(side, size, dtype):
    for image in images(side, dtype):
        found = resize(image, size)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, by_matrices(image, size), err_msg=f"{side} to {size}, {dtype.__name__}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("side", "size"), [(8, 4), (12, 4), (34, 2), (7, 3), (7, 5), (16, 7), (9, 9), (5, 1)])
def test_resize_is_the_rounded_mean_over_area(side, size, dtype):
    for image in images(side, dtype):
        np.testing.assert_array_equal(resize(image, size), area_mean(image, size))
        np.testing.assert_array_equal(by_matrices(image, size), area_mean(image, size))


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_pair_of_sizes_is_exact(dtype):
    for side in range(1, 20):
        for size in range(1, side + 1):
            check(side, size, dtype)
    for side, size in np.sort(RNG.integers(20, 300, (30, 2)), axis=1)[:, ::-1].tolist():
        check(side, size, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("side", "size"),
    [
        *((512, size) for size in (511, 384, 300, 256, 224, 128, 97, 3)),
        *((511, size) for size in (510, 224)),
        # Around the sides at which 16 bits no longer hold a sum of rows, or 32 bits a sum of both.
        *((side, 64) for side in (255, 256, 257, 258, 259)),
        (2048, 256),
        (2048, 255),
        (2047, 256),
        (3072, 256),
        (3072, 224),
        (3072, 1000),
    ],
)
def test_common_sizes_are_exact(side, size, dtype):
    check(side, size, dtype)


def test_sums_of_more_than_32_bits_are_exact():
    # At 4101, the sum of an 8-bit image still fits into 32 bits, and no longer does with what is added to round it.
    assert (resize(np.full((4101, 4101), 255, np.uint8), 4100) == 255).all()
    assert (resize(np.full((8192, 8192), 65535, np.uint16), 8191) == 65535).all()
    image = RNG.integers(0, 65536, (8192, 8192), np.uint16)
    np.testing.assert_array_equal(resize(image, 255), by_matrices(image, 255))


@pytest.mark.parametrize("factor", [2, 3, 4, 6])
def test_resize_rounds_halves_up_for_every_sum_of_a_box(factor):
    area = factor * factor
    sums = np.arange(255 * area + 1)
    boxes = np.minimum(np.maximum(sums[:, None] - 255 * np.arange(area), 0), 255).astype(np.uint8)
    image = boxes.reshape(-1, factor)
    for start in range(0, len(sums), 64):  # resize takes squares: 64 boxes down, 64 across
        square = np.zeros((64 * factor, 64 * factor), np.uint8)
        part = image[start * factor : (start + 64) * factor]
        square[: len(part)] = np.tile(part, (1, 64))
        expected = np.floor(sums[start : start + 64] / area + 0.5)
        np.testing.assert_array_equal(resize(square, 64)[: len(expected)], np.tile(expected[:, None], (1, 64)))


@pytest.mark.parametrize("side", [512, 3072, 4096])
def test_resize_does_not_overflow(side):
    image = np.full((side, side), 255, np.uint8)
    assert (resize(image, 256) == 255).all()
    assert (resize(image, 100) == 255).all()
