"""Members of a zip are read from their range of bytes; damage is named."""

import zipfile

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.images import zips

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
    with pytest.raises(OSError, match=r"^damaged zip: no local header at the offset in the directory$"):
        zips.unpack(member, b"PK\1\2" + data[4:])
    with pytest.raises(OSError, match=r"^damaged zip: unpack_from requires a buffer"):
        zips.unpack(member, data[:10])
    with pytest.raises(OSError, match=r"^damaged zip: Error -\d"):
        zips.unpack(member, data[:-200])
    member, data = part(archive(tmp_path / "b.zip", zipfile.ZIP_STORED))
    data[-1] ^= 1
    with pytest.raises(OSError, match=r"^damaged zip: the file does not match its checksum$"):
        zips.unpack(member, data)


def test_what_cannot_be_unpacked_is_named(tmp_path):
    member, data = part(archive(tmp_path / "a.zip", zipfile.ZIP_BZIP2))
    with pytest.raises(OSError, match=r"^zip compression method 12, expected stored or deflated$"):
        zips.unpack(member, data)
    with pytest.raises(OSError, match=r"^the zip is encrypted$"):
        zips.unpack(member._replace(encrypted=True), data)
