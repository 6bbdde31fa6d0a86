"""Images of every format give the stored pixels, by other decoders too; damaged and hostile ones are refused."""

import functools
import io
import struct

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.images import depth, formats, limits, sources
from pipeline.images.limits import BadImage
from pipeline.images.stack import BadExample, read_channels
from pipeline.schema import Channel, parse

TWO_PLANES = """
name = "two"
classes = ["a", "b"]
images.pattern = "{id}.tif"
table = { file = "t.csv", id = "Id", labels = "Class" }
channels = [{ name = "dna", plane = 0 }, { name = "actin", plane = 1 }]
"""

RNG = np.random.default_rng(0)
bad = functools.partial(BadImage, "dna")


def decode(name, data, planes=1):
    return formats.decode(name, data, bad, planes)


def refused(name, data, planes=1):
    with pytest.raises(BadImage) as caught:
        decode(name, data, planes)
    return caught.value.code, caught.value.detail


def noise(*shape, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def tiff(pixels, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def jpeg(pixels, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=90, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd", "packbits"])
def test_pages_of_a_tiff_are_planes(dtype, compression):
    pixels = noise(5, 40, 30, dtype=dtype)
    found = decode("a.tif", tiff(pixels, compression=compression, photometric="minisblack"), 5)
    np.testing.assert_array_equal(found, pixels)
    assert found[0].dtype == dtype


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_samples_of_a_tiff_page_are_planes(planar, tile):
    pixels = noise(40, 30, 3, dtype=np.uint16)
    stored = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    data = tiff(stored, photometric="rgb", planarconfig=planar, tile=tile)
    np.testing.assert_array_equal(decode("a.tiff", data, 3), pixels.transpose(2, 0, 1))


def test_big_endian_bigtiff_and_predictor_read_back():
    pixels = noise(40, 30, dtype=np.uint16)
    for options in ({"byteorder": ">"}, {"bigtiff": True}, {"compression": "deflate", "predictor": True}):
        np.testing.assert_array_equal(decode("a.tif", tiff(pixels, **options))[0], pixels)


@pytest.mark.parametrize(("mode", "planes"), [("RGB", 3), ("RGBA", 4), ("LA", 2)])
def test_planes_of_a_png_are_those_another_decoder_gives(mode, planes):
    pixels, file = noise(32, 24, planes), io.BytesIO()
    Image.fromarray(pixels, mode).save(file, "png")
    np.testing.assert_array_equal(decode("a.png", file.getvalue(), planes), pixels.transpose(2, 0, 1))


def test_a_16_bit_png_of_four_planes_reads_back():
    import cv2

    pixels = noise(32, 24, 4, dtype=np.uint16)
    data = cv2.imencode(".png", pixels[..., [2, 1, 0, 3]])[1].tobytes()  # OpenCV's order is BGRA
    np.testing.assert_array_equal(decode("a.png", data, 4), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize(("shape", "planes"), [((48, 40), 1), ((48, 40, 3), 3)])
def test_a_jpeg_gives_the_pixels_that_pillow_gives(shape, planes):
    data = jpeg(noise(*shape))
    expected = np.atleast_3d(np.array(Image.open(io.BytesIO(data)))).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode("a.jpg", data, planes), expected)


def test_a_name_without_an_ending_is_decoded_by_its_content():
    pixels = noise(16, 16)
    for data in (tiff(pixels), iio.imwrite("<bytes>", pixels, extension=".png")):
        np.testing.assert_array_equal(decode("a.b-c", data)[0], pixels)
    assert decode("a", jpeg(pixels))[0].shape == (16, 16)


@pytest.mark.parametrize(
    ("data", "planes", "code", "detail"),
    [
        (b"", 1, "empty", "the file has 0 bytes, expected a TIFF image"),
        (b"hello", 1, "unreadable", "not a TIFF image: the file starts with b'hello'"),
        (tiff(noise(8, 8))[:150], 1, "unreadable", "damaged: "),
        (tiff(noise(2, 8, 8), photometric="minisblack"), 3, "wrong_mode", "2 planes in 2 pages, expected 3"),
        (tiff(noise(9, 8, 8), photometric="minisblack"), 3, "wrong_mode", "more than 3 planes in 4 pages, expected 3"),
        (tiff(noise(8, 8, 3), photometric="rgb"), 1, "wrong_mode", "3 planes in 1 pages, expected 1"),
        (
            tiff(np.zeros((8, 8), np.float32)),
            1,
            "wrong_mode",
            "values are float32, expected 8 or 16 bits without a sign",
        ),
        (tiff(np.zeros((8, 8), np.int16)), 1, "wrong_mode", "values are int16, expected 8 or 16 bits without a sign"),
        (tiff(noise(8, 8), photometric="miniswhite"), 1, "wrong_mode", "photometric 0, expected MINISBLACK or RGB"),
        (
            tiff(noise(4, 8, 8), volumetric=True, photometric="minisblack"),
            1,
            "wrong_mode",
            "4 slices of 1 samples, expected one slice",
        ),
    ],
)
def test_tiffs_that_do_not_fit_are_refused(data, planes, code, detail):
    found_code, found = refused("a.tif", data, planes)
    assert found_code == code
    assert found.startswith(detail)


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """Returns a little-endian TIFF of one page in which a tag has another value."""
    start = struct.unpack_from("<I", data, 4)[0]
    changed = bytearray(data)
    for k in range(struct.unpack_from("<H", data, start)[0]):
        entry = start + 2 + 12 * k
        if struct.unpack_from("<H", data, entry)[0] == tag:
            kind = struct.unpack_from("<H", data, entry + 2)[0]
            struct.pack_into("<I" if kind == 4 else "<H", changed, entry + 8, value)
            return bytes(changed)
    raise AssertionError(tag)


@pytest.mark.parametrize(
    ("tag", "value", "code", "detail"),
    [
        (256, 60_000, "too_large", "the header claims 60000x64, expected at most 8192x8192"),
        (257, 0, "unreadable", "damaged: the header claims 64x0 pixels"),
        (273, 100_000, "truncated", "bytes 100000 to 104096 hold pixels, but the file has"),
        (279, 1 << 30, "truncated", "hold pixels, but the file has"),
        (277, 60_000, "wrong_mode", ""),
    ],
)
def test_a_hostile_tiff_header_is_refused_before_pixels_are_decoded(tag, value, code, detail):
    found_code, found = refused("a.tif", with_tag(tiff(noise(64, 64)), tag, value))
    assert (found_code, detail in found) == (code, True), (found_code, found)


def renamed_tag(data: bytes, tag: int, code: int) -> bytes:
    """Returns a little-endian TIFF of one page in which a tag has another code."""
    start, changed = struct.unpack_from("<I", data, 4)[0], bytearray(data)
    for k in range(struct.unpack_from("<H", data, start)[0]):
        if struct.unpack_from("<H", data, start + 2 + 12 * k)[0] == tag:
            struct.pack_into("<H", changed, start + 2 + 12 * k, code)
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "planes", "detail"),
    [
        (
            with_tag(tiff(noise(64, 64, dtype=np.uint16)), 258, 12),
            1,
            "values of 12 bits, expected 8 or 16 without a sign",
        ),
        (with_tag(tiff(noise(64, 64)), 262, 2), 1, "damaged: samples of 1 sizes, expected 1"),
        (
            with_tag(tiff(noise(64, 64, 3), photometric="rgb"), 284, 7),
            3,
            "damaged: planar configuration 7, expected 1 or 2",
        ),
        (renamed_tag(tiff(noise(64, 64)), 277, 256), 1, "cannot be read, or are there twice"),
        (renamed_tag(tiff(noise(64, 64)), 296, 322), 1, "damaged: it has both strips and tiles"),
        (with_tag(tiff(noise(64, 64)), 279, 4000), 1, "damaged: 4000 bytes of pixels, but the header claims 4096"),
    ],
)
def test_a_tiff_whose_tags_contradict_each_other_is_refused(data, planes, detail):
    assert detail in refused("a.tif", data, planes)[1]


def test_a_jpeg_of_thousands_of_scans_is_refused():
    assert "scans, expected at most" in refused("a.jpg", jpeg(noise(64, 64)) + b"\xff\xda" * 5000)[1]


def test_a_tiff_whose_strips_are_not_where_it_says_is_refused():
    data = bytearray(tiff(noise(64, 64), rowsperstrip=1))
    start = struct.unpack_from("<I", data, 4)[0]
    for k in range(struct.unpack_from("<H", data, start)[0]):
        entry = start + 2 + 12 * k
        if struct.unpack_from("<H", data, entry)[0] in (273, 279):
            struct.pack_into("<I", data, entry + 4, 0)  # no strips
    assert refused("a.tif", bytes(data)) == ("unreadable", "damaged: 0 strips or tiles of 1 sizes, expected 64")


def test_planes_of_unlike_size_are_refused(tmp_path):
    schema = parse.parse(TWO_PLANES, "two")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(noise(8, 8))
        file.write(noise(9, 9))
    with pytest.raises(BadExample) as caught:
        read_channels(sources.open_images(tmp_path), ["a.tif"], schema)
    (image,) = caught.value.images
    assert (image.filter, image.code) == ("dna+actin", "wrong_size")
    assert image.detail == "planes of different size or depth: 8x8 uint8, 9x9 uint8"


def test_a_tiff_without_offsets_or_with_pages_in_a_loop_is_refused():
    data = bytearray(tiff(noise(64, 64)))
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * count, start)  # the next page is this one
    assert refused("a.tif", bytes(data))[0] in ("wrong_mode", "unreadable")


@pytest.mark.parametrize(
    ("data", "planes", "code", "detail"),
    [
        (b"", 1, "empty", "the file has 0 bytes, expected a JPEG image"),
        (b"hello", 1, "unreadable", "not a JPEG image: the file starts with b'hello'"),
        (jpeg(noise(64, 64))[:-600], 1, "truncated", "damaged: Premature end"),
        (jpeg(noise(64, 64))[:60], 1, "unreadable", "damaged: no frame header in the JPEG"),
        (jpeg(noise(64, 64, 3)), 1, "wrong_mode", "YCbCr JPEG, expected greyscale"),
        (jpeg(noise(64, 64)), 3, "wrong_mode", "Gray JPEG, expected 3 planes"),
    ],
)
def test_jpegs_that_do_not_fit_are_refused(data, planes, code, detail):
    found_code, found = refused("a.jpg", data, planes)
    assert (found_code, found[: len(detail)]) == (code, detail)


@pytest.mark.parametrize(
    ("offset", "value", "code", "detail"),
    [
        (5, struct.pack(">H", 60_000), "too_large", "the header claims 64x60000, expected at most 8192x8192"),
        (4, b"\x0c", "wrong_mode", "12-bit JPEG, expected 8 bits"),
    ],
)
def test_a_hostile_jpeg_header_is_refused_before_pixels_are_decoded(offset, value, code, detail):
    data = bytearray(jpeg(noise(64, 64)))
    frame = data.index(b"\xff\xc0")
    data[frame + offset : frame + offset + len(value)] = value
    assert refused("a.jpg", bytes(data)) == (code, detail)


def test_a_png_of_other_planes_is_refused_by_its_name():
    data = iio.imwrite("<bytes>", noise(8, 8, 4), extension=".png")
    assert refused("a.png", data, 3) == ("wrong_mode", "RGBA image, expected 8-bit or 16-bit with 3 planes")


def test_a_file_larger_than_its_largest_image_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SIDE", 10)
    assert refused("a.tif", bytes(401), 2) == ("too_large", "the file has 401 bytes, expected at most 400")


def test_values_of_every_depth_are_scaled_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    channel = Channel("dna", range=(100, 1100))
    for name, full in (("12", 4095), ("16", 65535), ("file", 65535)):
        part = values[values <= full]
        np.testing.assert_array_equal(
            depth.convert(part, name, channel, bad), np.floor(part * (255.0 / full) + 0.5).astype(np.uint8)
        )
    scaled = np.floor((np.clip(values.astype(int), 100, 1100) - 100) * 255 / 1000 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(depth.convert(values, "percentile", channel, bad), scaled)
    np.testing.assert_array_equal(depth.convert(values, "uint16", channel, bad), values)
    small = noise(8, 8)
    assert depth.convert(small, "8", channel, bad) is small


@pytest.mark.parametrize(
    ("name", "image", "code", "detail"),
    [
        ("12", np.full((2, 2), 4096, np.uint16), "out_of_range", "a pixel has value 4096, but depth '12' ends at 4095"),
        ("12", np.zeros((2, 2), np.uint8), "wrong_mode", "8-bit image, but the schema says depth '12'"),
        ("8", np.zeros((2, 2), np.uint16), "wrong_mode", "16-bit image, but the schema says depth '8'"),
        ("uint16", np.zeros((2, 2), np.uint8), "wrong_mode", "8-bit image, but the schema says depth 'uint16'"),
    ],
)
def test_values_that_are_not_of_the_depth_are_refused(name, image, code, detail):
    with pytest.raises(BadImage) as caught:
        depth.convert(image, name, Channel("dna"), bad)
    assert (caught.value.code, caught.value.detail) == (code, detail)


def test_the_mean_of_planes_rounds_halves_up():
    first, second = np.array([[0, 1, 254]], np.uint8), np.array([[1, 1, 255]], np.uint8)
    assert depth.mean_of([first, second]).tolist() == [[1, 1, 255]]
    assert depth.mean_of([first]) is first
