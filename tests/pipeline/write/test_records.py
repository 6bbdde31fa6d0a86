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


def test_anything_else_is_no_record():
    for data in (b"", b"hello", records.encode("a", b"", ())[:-1] + b"\x07"):
        with pytest.raises(records.RecordError):
            records.decode(data)
