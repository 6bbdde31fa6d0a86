"""How does an example become bytes in a TFRecord file, and how are they read back?

A record is a plain `tf.train.Example` (TensorFlow, `core/example/example.proto`) in plain TFRecord framing
(TensorFlow, `core/lib/io/record_writer.h`), written here without TensorFlow, whose import costs a worker
about ten seconds and 600 MB. The message is laid out by hand because protobuf promises the same bytes only
within one build of the library, and a map in any order; here keys ascend, so bytes depend on content alone.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple, Protocol

import google_crc32c

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
FRAME_BYTES = _LENGTH.size + 2 * _CRC.size
"""What the framing adds to each record: length, its checksum, and the checksum of the data."""

_HEAD_BYTES = 256 + 64  # an id (200 bytes at most) and the tags in front of it


class RecordError(ValueError):
    """A record that this module would not have written; the message says where and why."""


class Record(NamedTuple):
    """One decoded example; `image` is raw bytes, row by row, channels last."""

    id: str
    image: memoryview
    labels: tuple[int, ...]


def encode(example_id: str, image: bytes | memoryview, labels: Sequence[int]) -> bytes:
    """Returns the serialised `tf.train.Example` with features id, image (bytes) and labels (int64)."""
    image = memoryview(image).cast("B")
    # The heads of the image's nested messages, innermost first, so that its bytes are copied once.
    value = _head(1, len(image))
    bytes_list = _head(1, len(value) + len(image))
    feature = _head(2, len(bytes_list) + len(value) + len(image))
    entry = _field(1, b"image") + feature + bytes_list + value
    before = _feature(b"id", _field(1, _field(1, example_id.encode()))) + _head(1, len(entry) + len(image)) + entry
    packed = b"".join(_varint(label) for label in labels)
    after = _feature(b"labels", _field(3, _field(1, packed)))
    return b"".join((_head(1, len(before) + len(image) + len(after)), before, image, after))


def decode(data: bytes) -> Record:
    """Returns the example in a serialised record; strict: exactly what `encode` writes.

    Raises:
      RecordError: anything else.
    """
    fields = dict(_features(memoryview(data)))
    if list(fields) != ["id", "image", "labels"]:
        raise RecordError(f"features are {list(fields)}, expected ['id', 'image', 'labels']")
    labels = _only(_only(fields["labels"], 3), 1)
    values, position = [], 0
    while position < len(labels):
        value, position = _read_varint(labels, position)
        values.append(value)
    example_id = bytes(_only(_only(fields["id"], 1), 1))
    try:
        return Record(example_id.decode(), _only(_only(fields["image"], 1), 1), tuple(values))
    except UnicodeDecodeError:
        raise RecordError(f"the id {example_id!r} is not UTF-8") from None


def frame(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns (header, data, footer): the three pieces of a TFRecord, to be written one after the other."""
    length = _LENGTH.pack(len(data))
    return length + _CRC.pack(_masked_crc(length)), data, _CRC.pack(_masked_crc(data))


class Readable(Protocol):
    """What records are read from."""

    def read(self, num_bytes: int, /) -> bytes: ...


def read(file: Readable) -> Iterator[bytes]:
    """Yields every record of a TFRecord file, checksums checked.

    Raises:
      RecordError: naming the record and its byte offset.
    """
    index = offset = 0
    while header := file.read(_LENGTH.size + _CRC.size):
        length = _check_header(header, index, offset)
        body = file.read(length + _CRC.size)
        if len(body) < length + _CRC.size:
            raise RecordError(f"record {index} at byte {offset}: the file ends inside it")
        data = body[:length]
        if _CRC.unpack_from(body, length)[0] != _masked_crc(data):
            raise RecordError(f"record {index} at byte {offset}: the data does not match its checksum")
        yield data
        index, offset = index + 1, offset + length + FRAME_BYTES


def read_ids(file: BinaryIO) -> Iterator[str]:
    """Yields the id of every record, reading only its first bytes and jumping over the pixels.

    Raises:
      RecordError: framing that does not end exactly at the end of the file, or a record without id.
    """
    end = file.seek(0, 2)
    index = offset = 0
    while offset < end:
        file.seek(offset)
        head = file.read(_LENGTH.size + _CRC.size + _HEAD_BYTES)
        length = _check_header(head[: _LENGTH.size + _CRC.size], index, offset)
        yield _leading_id(memoryview(head)[_LENGTH.size + _CRC.size :], index, offset)
        index, offset = index + 1, offset + length + FRAME_BYTES
    if offset != end:
        raise RecordError(f"record {index - 1}: ends at byte {offset}, but the file at {end}")


def _leading_id(head: memoryview, index: int, offset: int) -> str:
    try:
        tag, position = _read_varint(head, 0)
        _, position = _read_varint(head, position)  # length of all features
        entry_tag, position = _read_varint(head, position)
        entry_bytes, position = _read_varint(head, position)
        key, value = _map_entry(head[position : position + entry_bytes])
        if (tag, entry_tag, key) != (10, 10, "id"):
            raise RecordError("the id does not come first")
        return bytes(_only(_only(value, 1), 1)).decode()
    except (RecordError, IndexError, UnicodeDecodeError) as error:
        raise RecordError(f"record {index} at byte {offset}: no id ({error})") from None


def _check_header(header: bytes, index: int, offset: int) -> int:
    if len(header) < _LENGTH.size + _CRC.size:
        raise RecordError(f"record {index} at byte {offset}: the file ends inside its header")
    if _CRC.unpack_from(header, _LENGTH.size)[0] != _masked_crc(header[: _LENGTH.size]):
        raise RecordError(f"record {index} at byte {offset}: the length does not match its checksum")
    return _LENGTH.unpack_from(header)[0]


def _masked_crc(data: bytes) -> int:
    # Rotated and offset, because a checksum of data that holds checksums would be weak (record_writer.h).
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _head(number: int, num_bytes: int) -> bytes:
    return bytes([number << 3 | 2]) + _varint(num_bytes)  # wire type 2: length, then bytes


def _field(number: int, payload: bytes) -> bytes:
    return _head(number, len(payload)) + payload


def _feature(key: bytes, value: bytes) -> bytes:
    return _field(1, _field(1, key) + _field(2, value))


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise RecordError("a number is cut off")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        length, position = _read_varint(data, position)
        if tag & 7 != 2 or position + length > len(data):
            raise RecordError("not a tf.train.Example")
        yield tag >> 3, data[position : position + length]
        position += length


def _only(data: memoryview, number: int) -> memoryview:
    found = list(_fields(data))
    if len(found) != 1 or found[0][0] != number:
        raise RecordError(f"expected one value in field {number}")
    return found[0][1]


def _map_entry(entry: memoryview) -> tuple[str, memoryview]:
    fields = list(_fields(entry))
    if [number for number, _ in fields] != [1, 2]:
        raise RecordError("a feature without key or value")
    return bytes(fields[0][1]).decode("ascii", "replace"), fields[1][1]


def _features(data: memoryview) -> Iterator[tuple[str, memoryview]]:
    for number, entry in _fields(_only(data, 1)):
        if number != 1:
            raise RecordError("not a tf.train.Example")
        yield _map_entry(entry)
