import io
import struct
import zlib

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import ExifTags, Image

from pipeline.images import sources, stack
from pipeline.images.depth import to_8bit
from pipeline.images.resize import resize
from pipeline.images.stack import BadExample
from tests.support.hpa import FILTERS
from tests.support.sources import stacked

RNG = np.random.default_rng(0)


def png(pixels) -> bytes:
    return iio.imwrite("<bytes>", pixels, plugin="pillow", extension=".png")


def replace(source, name, data: bytes):
    source.image("ex-0000", name).write_bytes(data)


def bad_images(source, size=16):
    images = sources.open_images(source.images)
    with pytest.raises(BadExample) as caught:
        stacked(images, "ex-0000", size)
    return [(image.filter, image.code, image.detail) for image in caught.value.images]


@pytest.mark.parametrize("side", [1, 5, 16, 256, 512, 4096])
def test_moments_are_the_exact_sums(side):
    image = RNG.integers(0, 256, (side, side), dtype=np.uint8)
    channels = [image, np.full((side, side), 255, np.uint8)]
    expected = [[c.astype(np.int64).sum() for c in channels], [(c.astype(np.int64) ** 2).sum() for c in channels]]
    np.testing.assert_array_equal(stack.moments(channels), expected)


def test_16_bits_are_scaled_over_the_full_range_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16)
    expected = np.rint(values.astype(np.float64) * 255 / 65535).astype(np.uint8)
    np.testing.assert_array_equal(to_8bit(values, 65535), expected)
    assert to_8bit(np.array([0, 128, 129, 65535], np.uint16), 65535).tolist() == [0, 0, 1, 255]


def test_channels_stand_in_order_and_do_not_influence_one_another(source):
    pixels = {name: RNG.integers(0, 256, (32, 32), dtype=np.uint8) for name in FILTERS}
    pixels["yellow"][:] = 0  # as an alpha channel this would blacken the others
    for name in FILTERS:
        replace(source, name, png(pixels[name]))
    image = stacked(sources.open_images(source.images), "ex-0000", 16).image
    assert image.shape == (16, 16, 4)
    for channel, name in enumerate(FILTERS):
        np.testing.assert_array_equal(image[..., channel], resize(pixels[name], 16))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_zip_gives_the_same_pixels_as_a_folder(source, tmp_path, bits):
    import zipfile

    if bits == 16:
        for name in FILTERS:
            replace(source, name, png(RNG.integers(0, 65536, (32, 32), dtype=np.uint16)))
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as file:
        for path in source.images.iterdir():
            file.write(path, path.name)
    results = [stacked(sources.open_images(place), "ex-0000", 16) for place in (source.images, tmp_path / "train.zip")]
    np.testing.assert_array_equal(results[0].image, results[1].image)
    assert [result.num_16bit for result in results] == [4 if bits == 16 else 0] * 2


def header(width, height, depth=8, colour_type=0) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


GREY = png(RNG.integers(0, 256, (32, 32), dtype=np.uint8))
COLOUR = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("data", "code", "detail"),
    [
        (b"", "empty", "the file has 0 bytes, expected a PNG image"),
        (b"hello, world", "unreadable", "not a PNG image: the file starts with b'hello, w'"),
        (GREY[:20], "truncated", "the file ends at byte 20, inside the header"),
        (GREY[:500], "truncated", "the file ends at byte 500, inside a chunk that needs 1"),
        (GREY[:-12], "truncated", f"the file ends at byte {len(GREY) - 12}, before the image does"),
        (GREY[:200] + b"\0" + GREY[201:], "unreadable", "damaged: the checksum of the chunk at byte 33 does not match"),
        (png(COLOUR), "wrong_mode", "RGB image, expected 8-bit or 16-bit greyscale"),
        (header(32, 32, 8, 3), "wrong_mode", "palette image, expected 8-bit or 16-bit greyscale"),
        (header(32, 32, 8, 4), "wrong_mode", "grey with alpha image, expected 8-bit or 16-bit greyscale"),
        (header(32, 32, 1), "wrong_mode", "1-bit grey image, expected 8 or 16 bits"),
        (header(60_000, 60_000), "too_large", "the header claims 60000x60000, expected at most 8192x8192"),
        (png(np.zeros((48, 48), np.uint8)), "wrong_size", "48x48, expected 32x32 like 'red'"),
    ],
)
def test_a_bad_image_is_named_with_its_reason(source, data, code, detail):
    replace(source, "blue", data)
    ((filter_name, found_code, found_detail),) = bad_images(source)
    assert (filter_name, found_code) == ("blue", code)
    assert found_detail.startswith(detail)


def test_a_valid_frame_around_damaged_pixels_is_unreadable(source):
    body = b"IDAT" + b"not zlib"
    data = header(32, 32) + struct.pack(">I", 8) + body + struct.pack(">I", zlib.crc32(body))
    end = b"IEND"
    data += struct.pack(">I", 0) + end + struct.pack(">I", zlib.crc32(end))
    replace(source, "green", data)
    ((filter_name, code, _),) = bad_images(source)
    assert (filter_name, code) == ("green", "unreadable")


def test_an_image_is_not_turned_however_a_viewer_is_asked_to_show_it(source):
    upside_down = Image.Exif()
    upside_down[ExifTags.Base.Orientation] = 3
    pixels, data = RNG.integers(0, 256, (32, 32), dtype=np.uint8), io.BytesIO()
    Image.fromarray(pixels).save(data, "png", exif=upside_down)
    replace(source, "green", data.getvalue())
    turned = stacked(sources.open_images(source.images), "ex-0000", 32)
    np.testing.assert_array_equal(turned.image[..., 1], pixels)


def test_every_bad_filter_of_an_example_is_named(source):
    source.image("ex-0000", "red").unlink()
    replace(source, "yellow", b"")
    assert bad_images(source) == [
        ("red", "missing_filter", "no file ex-0000_red.png"),
        ("yellow", "empty", "the file has 0 bytes, expected a PNG image"),
    ]


def test_images_are_never_enlarged_or_squeezed(source):
    assert bad_images(source, size=64)[0] == ("red", "wrong_size", "32x32, expected at least 64x64")
    for name in FILTERS:
        replace(source, name, png(np.zeros((32, 40), np.uint8)))
    assert bad_images(source)[0] == ("red", "wrong_size", "40x32, expected a square image")


def test_examples_may_differ_in_size(source):
    for name in FILTERS:
        replace(source, name, png(np.full((48, 48), 7, np.uint8)))
    images = sources.open_images(source.images)
    assert (stacked(images, "ex-0000", 16).image == 7).all()
    assert stacked(images, "ex-0001", 16).image.shape == (16, 16, 4)


def test_every_reason_code_is_explained():
    assert set(stack.CODES) >= {"missing_filter", "unreadable", "truncated", "wrong_size", "wrong_mode", "too_large"}
