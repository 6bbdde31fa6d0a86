"""The members of a zip, each read as one range of bytes.

Threads do not share an open file that way, and an object store sends only what is asked for.
"""

import functools
import struct
import zipfile
import zlib
from typing import NamedTuple

from pipeline.errors import InputError
from pipeline.store import files
from pipeline.store.files import Place

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field


class Member(NamedTuple):
    """A file in a zip. The bytes from `start` to `end` hold its local header, its packed data and perhaps more."""

    start: int
    end: int
    num_bytes: int
    num_packed: int
    method: int
    crc: int
    encrypted: bool


@functools.lru_cache(maxsize=4)
def members(path: Place) -> dict[str, Member]:
    """Returns the members of a zip by name, in the order of their bytes.

    Kept for the life of the process: reading the central directory of 124,288 files takes about a second.

    Raises:
      InputError: the file is not a zip.
    """
    try:
        with files.open_seekable(path) as file, zipfile.ZipFile(file) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
            ends = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: expected a folder or a zip of images, but {error}") from None
    return {info.filename: _member(info, end) for info, end in zip(infos, ends, strict=True)}


def read(path: Place, name: str) -> bytes:
    """Returns the content of one member.

    Raises:
      InputError: there is no such member, or it cannot be unpacked.
    """
    found = members(path.absolute()).get(name)
    if found is None:
        raise InputError(f"{path}: no member '{name}' in the zip")
    try:
        return unpack(found, files.read_range(path, found.start, found.end))
    except OSError as error:
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
    )


def unpack(member: Member, data: bytes) -> bytes:
    """Returns the content of a member, given the bytes from its `start` to its `end`.

    Raises:
      OSError: the zip is damaged, encrypted, or compressed with another method than deflate.
    """
    try:
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data)
        if signature != b"PK\3\4":
            raise OSError("damaged zip: no local header at the offset in the directory")
        start = _LOCAL_HEADER.size + name_bytes + extra_bytes
        content = _decompress(member, data[start : start + member.num_packed])
    except (struct.error, zlib.error) as error:
        raise OSError(f"damaged zip: {error}") from None
    if len(content) != member.num_bytes or zlib.crc32(content) != member.crc:
        raise OSError("damaged zip: the file does not match its checksum")
    return content


def _decompress(member: Member, packed: bytes) -> bytes:
    if member.encrypted:
        raise OSError("the zip is encrypted")
    if member.method == zipfile.ZIP_STORED:
        return packed
    if member.method == zipfile.ZIP_DEFLATED:
        return zlib.decompress(packed, -zlib.MAX_WBITS, member.num_bytes)
    raise OSError(f"zip compression method {member.method}, expected stored or deflated")
