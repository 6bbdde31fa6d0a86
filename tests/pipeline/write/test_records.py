import io

import numpy as np
import pytest

from pipeline.write import records

IMAGE = np.random.default_rng(0).integers(0, 256, 32 * 32 * 4, dtype=np.uint8).tobytes()


def write(*examples):
    return b"".join(piece for example in examples for piece in records.frame(records.encode(*example)))


def test_tensorflow_reads_what_is_written(tmp_path):
    import tensorflow as tf

    path = tmp_path / "a.tfrecord"
    path.write_bytes(write(("first", IMAGE, (0, 27)), ("x" * 200, b"", range(28))))
    first, second = (tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path)))
    assert first.features.feature["id"].bytes_list.value == [b"first"]
    assert first.features.feature["image"].bytes_list.value == [IMAGE]
    assert first.features.feature["labels"].int64_list.value == [0, 27]
    assert second.features.feature["labels"].int64_list.value == list(range(28))


def test_the_bytes_are_those_of_protobuf_with_sorted_keys():
    import tensorflow as tf

    feature = {
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"first"])),
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[IMAGE])),
        "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=[3, 200, 100_000])),
    }
    message = tf.train.Example(features=tf.train.Features(feature=feature))
    assert message.SerializeToString(deterministic=True) == records.encode("first", IMAGE, [3, 200, 100_000])


def test_records_read_back():
    data = write(("a", IMAGE, (1, 2)), ("b", IMAGE[:5], (300,)))
    first, second = (records.decode(record) for record in records.read(io.BytesIO(data)))
    assert (first.id, bytes(first.image), first.labels) == ("a", IMAGE, (1, 2))
    assert (second.id, bytes(second.image), second.labels) == ("b", IMAGE[:5], (300,))
    assert list(records.read_ids(io.BytesIO(data))) == ["a", "b"]


def test_every_flipped_byte_is_found():
    data = bytearray(write(("a", IMAGE[:40], (1, 2)), ("b", IMAGE[40:80], (3,))))
    for position in range(len(data)):
        data[position] ^= 0x10
        with pytest.raises(records.RecordError, match=r"record [01] at byte \d+"):
            list(records.read(io.BytesIO(bytes(data))))
        data[position] ^= 0x10


def test_every_cut_is_found():
    data = write(("a", IMAGE[:40], (1, 2)))
    for end in range(1, len(data)):
        with pytest.raises(records.RecordError, match=r"record 0.*(the file ends inside|ends at byte)"):
            list(records.read(io.BytesIO(data[:end])))
        with pytest.raises(records.RecordError, match="record 0"):
            list(records.read_ids(io.BytesIO(data[:end])))


def example(*features: tuple[bytes, bytes]) -> bytes:
    """A message of features as they are on the wire: (key, `Feature`)."""
    return records._field(1, b"".join(records._entry(*feature) for feature in features))


def list_of(*values: bytes, field: int = 1) -> bytes:
    return records._field(field, b"".join(records._field(1, value) for value in values))


ID, IMAGE_4, LABELS = (b"id", list_of(b"a")), (b"image", list_of(b"1234")), (b"labels", list_of(b"\1\2", field=3))
NEGATIVE = list_of(b"\xff" * 9 + b"\1", field=3)  # -1 as a 64-bit number
PADDED = list_of(b"\x81\0", field=3)  # 1 in two bytes


def test_the_parts_of_an_example_are_what_encode_writes():
    assert example(ID, IMAGE_4, LABELS) == records.encode("a", b"1234", (1, 2))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"features are \[\], expected \['id', 'image', 'label_vector', 'labels'\]"),
        (b"hello", "not a tf.train.Example"),
        (records.encode("a", b"", ())[:-1] + b"\x07", "not a tf.train.Example"),
        (example(IMAGE_4, ID, LABELS), r"features are \['image', 'id', 'labels'\], expected"),
        (example(ID, ID, IMAGE_4, LABELS), r"features are \['id', 'id', 'image', 'labels'\], expected"),
        (example(ID, IMAGE_4), r"features are \['id', 'image'\], expected"),
        (example((b"id", list_of()), IMAGE_4, LABELS), "feature 'id' has 0 values, expected one"),
        (example(ID, (b"image", list_of(b"1", b"2")), LABELS), "feature 'image' has 2 values, expected one"),
        (example((b"id", list_of(b"\xff")), IMAGE_4, LABELS), r"the id b'\\xff' is not UTF-8"),
        (example(ID, IMAGE_4, (b"labels", list_of(b"\1", b"\2", field=3))), "example 'a': not encoded as this project"),
        (example(ID, IMAGE_4, (b"labels", NEGATIVE)), "example 'a': not encoded as this project encodes it"),
        (example(ID, IMAGE_4, (b"labels", PADDED)), "example 'a': not encoded as this project encodes it"),
        (example(ID, IMAGE_4, LABELS) + records._field(2, b""), "example 'a': not encoded as this project encodes it"),
        (example(ID, IMAGE_4, LABELS) * 2, "features are"),
    ],
)
def test_decode_refuses_what_encode_does_not_write(data, words):
    with pytest.raises(records.RecordError, match=words):
        records.decode(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a tf.train.Example"),
        (b"hello", "not a tf.train.Example"),
        (b"\x0a\x80", "invalid length"),
        (b"\x0a" + b"\xff" * 12, "invalid length"),
        (example(IMAGE_4, ID, LABELS), "the id does not come first"),
        (example((b"id", list_of(b"a") + b"\x1a\0"), IMAGE_4), "the id does not come first"),
        (example((b"id", list_of(b"\xff"))), "is not UTF-8"),
        (records.encode("x" * 400, b"", ()), "not a tf.train.Example"),
    ],
)
def test_a_record_without_a_leading_id_is_refused(data, words):
    framed = b"".join((*records.frame(records.encode("a", b"", ())), *records.frame(data)))
    ids = records.read_ids(io.BytesIO(framed))
    assert next(ids) == "a"
    with pytest.raises(records.RecordError, match=rf"^record 1 at byte \d+: no id \(.*{words}"):
        next(ids)


@pytest.mark.parametrize("single", [False, True])
def test_labels_of_both_forms_read_back(single):
    labels = (3,) if single else (0, 3, 27)
    vector = records.label_vector(labels, 28)
    assert list(np.flatnonzero(np.frombuffer(vector, np.uint8))) == list(labels)
    record = records.decode(records.encode("a", b"1234", labels, vector, single))
    assert record == ("a", b"1234", labels, vector, single)


@pytest.mark.parametrize("num_bytes", [0, 1, 125, 126, 127, 128, 16_380, 16_383, 16_384, 1 << 21])
def test_images_of_every_size_read_back(num_bytes):
    image = bytes(num_bytes)
    assert records.decode(records.encode("a", image, (0,))) == ("a", image, (0,), None, False)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda data: data[:5], "record 0 at byte 0: the file ends inside its header"),
        (lambda data: b"\1" + data[1:], "record 0 at byte 0: the length does not match its checksum"),
        (lambda data: data[:-1], "record 0 at byte 0: the file ends inside it"),
    ],
)
def test_damaged_framing_is_named(data, words):
    with pytest.raises(records.RecordError, match=f"^{words}$"):
        list(records.read(io.BytesIO(data(write(("a", IMAGE, (1, 2)))))))


def test_a_file_that_ends_elsewhere_than_its_last_record_is_named():
    data = write(("a", IMAGE, (1, 2)))
    with pytest.raises(
        records.RecordError, match=rf"^record 0: ends at byte {len(data)}, but the file at {len(data) - 9}$"
    ):
        list(records.read_ids(io.BytesIO(data[:-9])))
