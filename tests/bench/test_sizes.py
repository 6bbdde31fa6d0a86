import imageio.v3 as iio
import numpy as np

from bench import sizes


def test_large_images_are_mosaics_of_those_of_the_same_filter(source, tmp_path):
    ids = sizes.lay_out(source.root, tmp_path / "images", side=96, num=2)
    assert ids == ["ex-0000", "ex-0001"]
    assert len(list((tmp_path / "images").iterdir())) == 8
    found = iio.imread(tmp_path / "images" / "ex-0001_green.png")
    first, third = (iio.imread(source.image(f"ex-000{number}", "green")) for number in (1, 3))
    assert found.shape == (96, 96)
    np.testing.assert_array_equal(found[:32, :32], first)
    np.testing.assert_array_equal(found[:32, 64:], third)


def test_every_size_gets_a_rate(source):
    rates = sizes.rates(source.images, ["ex-0000", "ex-0001"], num=3, sizes=(16, 12))
    assert list(rates) == [16, 12]
    assert min(rates.values()) > 0
