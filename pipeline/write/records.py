"""Examples as TFRecord files: `tf.train.Example` messages in TFRecord framing.

Messages are encoded by hand, because protobuf guarantees the same bytes only within one build of the library, and
writes a map in any order. Here keys ascend, so the bytes depend on the content alone. They are decoded by protobuf,
without TensorFlow, whose import takes a worker about ten seconds and 600 MB.

Formats: TensorFlow, `core/example/example.proto`, `core/example/feature.proto` and `core/lib/io/record_writer.h`.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, Protocol

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEADER_BYTES = _LENGTH.size + _CRC.size
FRAME_BYTES = _HEADER_BYTES + _CRC.size
"""What the framing adds to each record: length, its checksum, and the checksum of the data."""

_HEAD_BYTES = 256 + 64  # an id (200 bytes at most) and the lengths before it

_BLOCK_BYTES = 1 << 24  # read at once; about a record of 2048 x 2048 pixels

_TAG = b"\x0a"  # field 1, length-delimited

# The map of features is declared as what a map is on the wire: repeated entries.
_SCHEMA = """
  name: "example.proto"
  message_type { name: "Example" field { name: "features" number: 1 label: LABEL_OPTIONAL type_name: "Features" } }
  message_type { name: "Features" field { name: "feature" number: 1 label: LABEL_REPEATED type_name: "Entry" } }
  message_type {
    name: "Entry"
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type_name: "Feature" }
  }
  message_type {
    name: "Feature"
    field { name: "bytes_list" number: 1 label: LABEL_OPTIONAL type_name: "BytesList" }
    field { name: "int64_list" number: 3 label: LABEL_OPTIONAL type_name: "Int64List" }
  }
  message_type { name: "BytesList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
  message_type { name: "Int64List" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
  syntax: "proto3"
"""


_FORMS = (
    ["id", "image", "label_vector", "labels"],
    ["id", "image", "label", "label_vector"],
    ["id", "image", "labels"],
)
"""Features of a record, in the order in which they are written: multi-label, single-label, and version 1.0.0."""


class RecordError(ValueError):
    """A record that this module would not have written; the message says where and why."""


class Record(NamedTuple):
    """A decoded example.

    `image` is raw bytes, row by row, channels last. `label_vector` has one byte per class, 0 or 1; records of dataset
    version 1.0.0 have none. A `single` record has one label, under the name `label`.
    """

    id: str
    image: bytes
    labels: tuple[int, ...]
    label_vector: bytes | None = None
    single: bool = False


def label_vector(labels: Sequence[int], num_classes: int) -> bytes:
    """Returns one byte for each class: 1 for the classes in `labels`, 0 for the others."""
    vector = bytearray(num_classes)
    for label in labels:
        vector[label] = 1
    return bytes(vector)


def encode(
    example_id: str,
    image: bytes | memoryview,
    labels: Sequence[int],
    label_vector: bytes | None = None,
    single: bool = False,
) -> bytes:
    """Returns the serialised `tf.train.Example` of the fields of a `Record`; labels are int64, not negative."""
    image = memoryview(image).cast("B")
    # The heads of the messages around the image, innermost first, so that the image's bytes are copied only once.
    value = _head(1, len(image))
    bytes_list = _head(1, len(value) + len(image))
    feature = _head(2, len(bytes_list) + len(value) + len(image))
    entry = _field(1, b"image") + feature + bytes_list + value
    before = _id_entry(example_id) + _head(1, len(entry) + len(image)) + entry
    after = b"".join(value for _, value in sorted(_label_entries(labels, label_vector, single)))
    return b"".join((_head(1, len(before) + len(image) + len(after)), before, image, after))


def _label_entries(labels: Sequence[int], label_vector: bytes | None, single: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yields (key, entry) of the features that hold the labels."""
    key = b"label" if single else b"labels"
    packed = b"".join(_varint(label) for label in labels)
    yield key, _entry(key, _field(3, _field(1, packed)))
    if label_vector is not None:
        yield b"label_vector", _entry(b"label_vector", _field(1, _field(1, label_vector)))


def decode(data: bytes) -> Record:
    """Returns the example in a serialised record, if the record is exactly what `encode` writes.

    Raises:
      RecordError: anything else.
    """
    record = _parsed_record(data)
    if min(record.labels, default=0) < 0 or encode(*record) != data:
        raise RecordError(f"example '{record.id}': not encoded as this project encodes it")
    return record


def _parsed_record(data: bytes) -> Record:
    features = _parsed("Example", data).features.feature
    names = [entry.key for entry in features]
    if names not in _FORMS:
        raise RecordError(f"features are {names}, expected {_FORMS[0]}")
    entries = {entry.key: entry.value for entry in features}
    single = "label" in entries
    vector = entries.get("label_vector")
    return Record(
        id=_id(entries["id"]),
        image=_only(entries["image"], "image"),
        labels=tuple(entries["label" if single else "labels"].int64_list.value),
        label_vector=None if vector is None else _only(vector, "label_vector"),
        single=single,
    )


def frame(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns (header, data, footer): the three parts of a TFRecord, to be written one after the other."""
    length = _LENGTH.pack(len(data))
    return length + _CRC.pack(_masked_crc(length)), data, _CRC.pack(_masked_crc(data))


class Readable(Protocol):
    """A source of bytes, such as a file."""

    def read(self, num_bytes: int, /) -> bytes: ...


def read(file: Readable) -> Iterator[bytes]:
    """Yields the data of every record in a TFRecord file and checks the checksums.

    Raises:
      RecordError: naming the record and its byte offset.
    """
    index = offset = 0
    while header := file.read(_HEADER_BYTES):
        length = _check_header(header, index, offset)
        body = _read_exactly(file, length + _CRC.size)
        if len(body) < length + _CRC.size:
            raise RecordError(f"record {index} at byte {offset}: the file ends inside it")
        data = body[:length]
        if _CRC.unpack_from(body, length)[0] != _masked_crc(data):
            raise RecordError(f"record {index} at byte {offset}: the data does not match its checksum")
        yield data
        index, offset = index + 1, offset + length + FRAME_BYTES


def _read_exactly(file: Readable, num_bytes: int) -> bytes:
    """Returns `num_bytes` bytes, or fewer at the end of the file; takes no memory for bytes that are not there."""
    blocks = []
    while num_bytes > 0 and (block := file.read(min(num_bytes, _BLOCK_BYTES))):
        blocks.append(block)
        num_bytes -= len(block)
    return b"".join(blocks)


def read_ids(file: BinaryIO) -> Iterator[str]:
    """Yields the id of every record. Reads only the first bytes of each and skips the pixels.

    Raises:
      RecordError: the framing does not end exactly at the end of the file, or a record does not start with an id.
    """
    end = file.seek(0, 2)
    index = offset = 0
    while offset < end:
        file.seek(offset)
        head = file.read(_HEADER_BYTES + _HEAD_BYTES)
        length = _check_header(head[:_HEADER_BYTES], index, offset)
        try:
            yield leading_id(head[_HEADER_BYTES : _HEADER_BYTES + length])
        except RecordError as error:
            raise RecordError(f"record {index} at byte {offset}: no id ({error})") from None
        index, offset = index + 1, offset + length + FRAME_BYTES
    if offset != end:
        raise RecordError(f"record {index - 1}: ends at byte {offset}, but the file at {end}")


def _check_header(header: bytes, index: int, offset: int) -> int:
    if len(header) < _HEADER_BYTES:
        raise RecordError(f"record {index} at byte {offset}: the file ends inside its header")
    if _CRC.unpack_from(header, _LENGTH.size)[0] != _masked_crc(header[: _LENGTH.size]):
        raise RecordError(f"record {index} at byte {offset}: the length does not match its checksum")
    return _LENGTH.unpack_from(header)[0]


def _masked_crc(data: bytes) -> int:
    # Rotated and offset: a plain CRC of data that contains CRCs is weak (record_writer.h).
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def leading_id(head: bytes) -> str:
    """Returns the id at the start of a record, of which `head` is the first bytes.

    Raises:
      RecordError: it does not start with one.
    """
    _, start = _read_head(head, 0)  # all features
    length, content = _read_head(head, start)  # the first of them
    end = content + length
    example_id = _id(_parsed("Entry", head[content:end]).value)
    if head[start:end] != _id_entry(example_id):
        raise RecordError("the id does not come first")
    return example_id


def _read_head(data: bytes, position: int) -> tuple[int, int]:
    """Returns (length, position) of the content of a length-delimited field 1."""
    if data[position : position + 1] != _TAG:
        raise RecordError("not a tf.train.Example")
    length = shift = 0
    for index in range(position + 1, min(position + 11, len(data))):  # a varint has ten bytes at most
        length |= (data[index] & 0x7F) << shift
        shift += 7
        if data[index] < 0x80:
            return length, index + 1
    raise RecordError("invalid length")


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


def _entry(key: bytes, value: bytes) -> bytes:
    return _field(1, _field(1, key) + _field(2, value))


def _id_entry(example_id: str) -> bytes:
    return _entry(b"id", _field(1, _field(1, example_id.encode())))


def _parsed(name: str, data: bytes) -> Any:
    try:
        return _MESSAGES[name].FromString(data)
    except message.DecodeError:
        raise RecordError("not a tf.train.Example") from None


def _only(feature: Any, name: str) -> bytes:
    values = feature.bytes_list.value
    if len(values) != 1:
        raise RecordError(f"feature '{name}' has {len(values)} values, expected one")
    return values[0]


def _id(feature: Any) -> str:
    value = _only(feature, "id")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RecordError(f"the id {value!r} is not UTF-8") from None


def _messages() -> dict[str, Any]:
    """Returns the message classes of `_SCHEMA` by name."""
    file = text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto())
    return message_factory.GetMessages([file], descriptor_pool.DescriptorPool())


_MESSAGES = _messages()
