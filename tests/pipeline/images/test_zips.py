"""Members of a zip are read from their range of bytes; damage is named."""

import errno
import tracemalloc
import zipfile

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.images import sources, zips
from pipeline.images.limits import Unusable

CONTENT = np.random.default_rng(0).bytes(500) + bytes(500)


def archive(path, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        info = zipfile.ZipInfo("train/a.png")
        info.extra = b"\x01\x00\x04\x00four"  # kept in the local header too
        info.compress_type = method
        file.writestr(info, CONTENT)
        file.writestr("train/b.png", b"")
    return path


def part(path, name="train/a.png") -> tuple[zips.Member, bytearray]:
    member = zips.members(path)[name]
    return member, bytearray(path.read_bytes()[member.start : member.end])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_unpacked_from_its_range(tmp_path, method):
    path = archive(tmp_path / "a.zip", method)
    assert list(zips.members(path)) == ["train/a.png", "train/b.png"]
    assert zips.unpack(*part(path)) == CONTENT
    assert zips.unpack(*part(path, "train/b.png")) == b""
    assert zips.members(path)["train/a.png"].num_bytes == len(CONTENT)


def test_the_range_of_a_member_ends_where_the_next_begins(tmp_path):
    first, second = zips.members(archive(tmp_path / "a.zip")).values()
    assert (first.start, first.end) == (0, second.start)


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    path = tmp_path / "train.zip"
    path.write_text("hello")
    with pytest.raises(InputError, match=r"train\.zip: expected a folder or a zip of images, but File is not a zip"):
        zips.members(path)


def test_damage_is_named(tmp_path):
    member, data = part(archive(tmp_path / "a.zip"))
    with pytest.raises(Unusable, match=r"^damaged zip: no local header at the offset in the directory$"):
        zips.unpack(member, b"PK\1\2" + data[4:])
    with pytest.raises(Unusable, match=r"^damaged zip: unpack_from requires a buffer"):
        zips.unpack(member, data[:10])
    with pytest.raises(Unusable, match=r"^damaged zip: the packed data ends early$"):
        zips.unpack(member, data[:-200])
    member, data = part(archive(tmp_path / "b.zip", zipfile.ZIP_STORED))
    data[-1] ^= 1
    with pytest.raises(Unusable, match=r"^damaged zip: the file does not match its checksum$"):
        zips.unpack(member, data)


def test_what_cannot_be_unpacked_is_named_before_it_is_read(tmp_path):
    member, _ = part(archive(tmp_path / "a.zip", zipfile.ZIP_BZIP2))
    with pytest.raises(Unusable, match=r"^zip compression method 12, expected stored or deflated$"):
        zips.check(member)
    with pytest.raises(Unusable, match=r"^the zip is encrypted$"):
        zips.check(member._replace(encrypted=True))
    with pytest.raises(Unusable, match=r"^a link in the zip, expected a file$"):
        zips.check(member._replace(link=True))
    for name in ("num_bytes", "num_packed"):  # as zip64 can claim
        with pytest.raises(Unusable, match=r"^the file has 9,223,372,036,854,775,807 bytes, expected at most"):
            zips.check(member._replace(**{name: 2**63 - 1}))
    for start, end in ((-5, 10), (10, 10), (2**63, 10)):
        outside = member._replace(method=zipfile.ZIP_STORED, start=start, end=end)
        with pytest.raises(Unusable, match=r"^damaged zip: the file would be at bytes -?\d+ to 10$"):
            zips.check(outside)


def test_a_member_never_unpacks_to_more_than_it_claims(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("train/a.png", bytes(1 << 28))
    member, data = part(path)
    tracemalloc.start()
    with pytest.raises(Unusable, match=r"^damaged zip: unpacks to more than the 1,000 bytes it claims$"):
        zips.unpack(member._replace(num_bytes=1000), data)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_two_files_of_one_name_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train/a_green.png", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("train/a_green.png", b"two")
    with pytest.raises(InputError, match=r"two files named 'train/a_green\.png' in the zip, expected one of each name"):
        zips.members(path)


def test_names_outside_the_zip_are_left_out(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("../x_green.png", "/x_green.png", "a/../../x_green.png", "a\\x_green.png", "train/a_green.png"):
            file.writestr(name, b"")
    assert list(zips.members(path)) == ["train/a_green.png"]


def test_the_images_are_those_of_the_folder_that_holds_the_most(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("../x", "extra/x", "__MACOSX/new/._a", "__MACOSX/new/._b", "new/a", "new/b"):
            file.writestr(f"{name}_green.png", b"")
    assert sources.open_images(path).prefix == "new/"
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("extra/y_green.png", b"")
    zips.members.cache_clear()
    with pytest.raises(InputError, match=r"'extra/' and 'new/' in the zip hold equally many images, expected them in"):
        sources.open_images(path)


def test_an_empty_zip_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    zipfile.ZipFile(path, "w").close()
    with pytest.raises(InputError, match=r"a\.zip: the zip holds no files, expected the images"):
        sources.open_images(path)


def test_no_flipped_byte_of_a_directory_gives_a_traceback(tmp_path):
    path = archive(tmp_path / "a.zip")
    data, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    start = data.index(b"PK\1\2")
    for _ in range(2000):
        damaged = bytearray(data)
        for position in rng.integers(start, len(data), rng.integers(1, 5)):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        zips.members.cache_clear()
        try:
            for name, member in zips.members(path).items():
                zips.check(member)
                content = zips.unpack(member, path.read_bytes()[member.start : member.end])
                assert content in (CONTENT, b""), name
        except (InputError, Unusable):
            refused += 1
    assert refused > 500


def test_a_directory_that_points_before_the_file_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.zip")

    def seek(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(zips.zipfile, "ZipFile", seek)
    with pytest.raises(InputError, match=r"a\.zip: damaged zip: its directory points outside the file"):
        zips.members(path)
