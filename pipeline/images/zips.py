"""The members of a zip, each read as one range of bytes.

Threads therefore share no open file, and an object store sends only the bytes requested. The members of a zip inside
the zip are found too, if the inner zip is stored without compression.
"""

import errno
import functools
import io
import os
import stat
import struct
import zipfile
import zlib
from typing import Any, BinaryIO, NamedTuple

from pipeline.errors import InputError
from pipeline.images.limits import MAX_BYTES, Unusable, check_size
from pipeline.store import files
from pipeline.store.files import Place

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field


_NOT_A_ZIP = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, IndexError, struct.error)
"""What `zipfile` raises for a damaged directory, documented or not."""


class Member(NamedTuple):
    """A file in a zip. The bytes from `start` to `end` hold its local header, its packed data and perhaps more."""

    start: int
    end: int
    num_bytes: int
    num_packed: int
    method: int
    crc: int
    encrypted: bool
    link: bool = False


@functools.lru_cache(maxsize=4)
def members(path: Place) -> dict[str, Member]:
    """Returns the members of a zip by name, in the order of their bytes; folders and unsafe names are left out.

    The members of `train.zip` in it follow as `train/...`, unless the zip has a folder of that name. Cached, because
    reading the central directory of 124,288 files takes about a second.

    Raises:
      InputError: the file is not a zip, its directory is damaged, or two members have one name.
    """
    with files.open_seekable(path) as file:
        found = _directory(path, file)
        for name, member in list(found.items()):
            folder = name[: -len(".zip")] + "/"
            if name.lower().endswith(".zip") and not any(other.startswith(folder) for other in found):
                found |= _inside(path, file, member, folder)
    return found


def _inside(path: Place, file: BinaryIO, member: Member, folder: str) -> dict[str, Member]:
    """Returns the members of a zip inside the zip, in a folder; none if it is compressed, encrypted or damaged."""
    try:
        check(member, max_bytes=member.num_bytes)
        file.seek(member.start)
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        if member.method != zipfile.ZIP_STORED or signature != b"PK\3\4":
            return {}
        start = member.start + _LOCAL_HEADER.size + name_bytes + extra_bytes
        found = _directory(path, io.BufferedReader(_Part(file, start, member.num_bytes)))
    except (Unusable, InputError, struct.error):
        return {}
    return {
        name if name.startswith(folder) else folder + name: inner._replace(
            start=inner.start + start, end=inner.end + start
        )
        for name, inner in found.items()
    }


class _Part(io.RawIOBase):
    """The bytes of an open file from `start` on, as a file of `size` bytes."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = (0, self._at, self._size)[whence] + offset
        if place < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = place
        return place

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _directory(path: Place, file: BinaryIO) -> dict[str, Member]:
    """Returns the members of the zip `file`, which `path` names in messages."""
    try:
        with zipfile.ZipFile(file) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
            ends = [*(info.header_offset for info in infos[1:]), archive.start_dir][: len(infos)]
    except _NOT_A_ZIP as error:
        raise InputError(f"{path}: expected a folder or a zip of images, but {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a seek to a negative offset
            raise
        raise InputError(f"{path}: damaged zip: its directory points outside the file") from None
    found: dict[str, Member] = {}
    for info, end in zip(infos, ends, strict=True):
        if not _is_safe(info.filename):
            continue
        if info.filename in found:
            raise InputError(f"{path}: two files named '{info.filename}' in the zip, expected one of each name")
        found[info.filename] = _member(info, end)
    return found


def _is_safe(name: str) -> bool:
    """Returns whether a name is that of a file that stays inside the folder that the zip stands for."""
    return not (name.startswith("/") or name.endswith("/") or "\\" in name or ".." in name.split("/"))


def read(path: Place, name: str) -> bytes:
    """Returns the content of one member.

    Raises:
      InputError: there is no such member, or it cannot be unpacked.
    """
    found = members(path.absolute()).get(name)
    if found is None:
        raise InputError(f"{path}: no member '{name}' in the zip")
    try:
        check(found)
        return unpack(found, files.read_range(path, found.start, found.end))
    except Unusable as error:
        raise InputError(f"{path}: member '{name}' cannot be read: {error}") from None


def _member(info: zipfile.ZipInfo, end: int) -> Member:
    # The local header has its own name and extra field, whose lengths are not in the directory: 2**16 at most each.
    longest = _LOCAL_HEADER.size + 2 * 0xFFFF + info.compress_size
    return Member(
        start=info.header_offset,
        end=min(end, info.header_offset + longest),
        num_bytes=info.file_size,
        num_packed=info.compress_size,
        method=info.compress_type,
        crc=info.CRC,
        encrypted=bool(info.flag_bits & 1),
        link=stat.S_ISLNK(info.external_attr >> 16),
    )


def check(member: Member, max_bytes: int = MAX_BYTES) -> None:
    """Checks what the directory says about a member, before any of it is read.

    Raises:
      Unusable: it is too large, encrypted, a link, not stored or deflated, or at an impossible position.
    """
    check_size(member.num_bytes, max_bytes)
    check_size(member.num_packed, max_bytes)
    if member.encrypted:
        raise Unusable("unreadable", "the zip is encrypted")
    if member.link:
        raise Unusable("unreadable", "a link in the zip, expected a file")
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unusable("unreadable", f"zip compression method {member.method}, expected stored or deflated")
    if not 0 <= member.start < member.end:
        raise Unusable("unreadable", f"damaged zip: the file would be at bytes {member.start} to {member.end}")


def unpack(member: Member, data: bytes) -> bytes:
    """Returns the content of a member that `check` passes, given the bytes from its `start` to its `end`.

    Never unpacks more than the directory claims.

    Raises:
      Unusable: the zip is damaged.
    """
    try:
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data)
        if signature != b"PK\3\4":
            raise Unusable("unreadable", "damaged zip: no local header at the offset in the directory")
        start = _LOCAL_HEADER.size + name_bytes + extra_bytes
        content = _decompress(member, data[start : start + member.num_packed])
    except (struct.error, zlib.error) as error:
        raise Unusable("unreadable", f"damaged zip: {error}") from None
    if len(content) != member.num_bytes or zlib.crc32(content) != member.crc:
        raise Unusable("unreadable", "damaged zip: the file does not match its checksum")
    return content


def _decompress(member: Member, packed: bytes) -> bytes:
    if member.method == zipfile.ZIP_STORED:
        return packed
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    content = unpacker.decompress(packed, member.num_bytes + 1)  # one more byte, to see whether there is more
    if len(content) > member.num_bytes:
        raise Unusable("unreadable", f"damaged zip: unpacks to more than the {member.num_bytes:,} bytes it claims")
    if not unpacker.eof:
        raise Unusable("unreadable", "damaged zip: the packed data ends early")
    return content
