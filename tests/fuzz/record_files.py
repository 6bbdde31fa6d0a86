"""Targets `tfrecord` and `array_record`: shards with damage to their framing or, with right checksums, inside records."""

import contextlib
import hashlib
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

from pipeline.images.names import check_id
from pipeline.write import records, shard_files
from pipeline.write.records import RecordError
from tests.fuzz import mutations
from tests.fuzz.target import Case, Wrong, expect

_LENGTHS = (0, 1, 2**31, 2**32, 2**60, 2**63, 2**64 - 1)
_TOKENS = [b"\x0a", b"\x12", b"\x1a", b"\x0a\x02id", b"image", b"labels", b"label", b"label_vector", b"\xff" * 10, b"\x80" * 9 + b"\x01", b"\x0a\x00"]  # fmt: skip


def draw_records(rng: random.Random) -> list[bytes]:
    """Returns one to three records, all multi-label, all single-label or all of version 1.0.0."""
    form = rng.randrange(3)
    found = []
    for index in range(rng.randint(1, 3)):
        labels = [rng.randrange(28)] if form == 1 else sorted(rng.sample(range(28), rng.randint(1, 3)))
        vector = None if form == 2 else records.label_vector(labels, 28)
        found.append(records.encode(f"ex-{index}", rng.randbytes(16), labels, vector, form == 1))
    return found


def to_file(found: list[bytes]) -> bytes:
    return b"".join(part for record in found for part in records.frame(record))


class TFRecord:
    """Files of one to three records of 2 x 2 pixels; what is accepted is compared with TensorFlow's own messages."""

    def __init__(self, folder: Path):
        import tensorflow as tf

        self.message = tf.train.Example
        self.parse = tf.io.parse_single_example
        self.data_set = tf.data.TFRecordDataset
        self.feature = {
            "id": tf.io.FixedLenFeature([], tf.string),
            "image": tf.io.FixedLenFeature([], tf.string),
            "labels": tf.io.VarLenFeature(tf.int64),
            "label": tf.io.VarLenFeature(tf.int64),
        }
        self.path = folder / "shard"
        self.counts = {"compared by file": 0, "compared by message": 0}

    def draw(self, rng: random.Random) -> Case:
        found = draw_records(rng)
        match rng.randrange(10):
            case 0:
                return Case(to_file(found), found)
            case 1 | 2 | 3:
                return Case(mutations.damage(rng, to_file(found), _TOKENS))
            case 4:
                out = bytearray(to_file(found))
                struct.pack_into("<Q", out, 0, rng.choice(_LENGTHS))
                out[8:12] = records.frame(b"")[0][8:] if rng.random() < 0.2 else _header_crc(out[:8])
                return Case(bytes(out))
            case _:
                place = rng.randrange(len(found))
                found[place] = mutations.damage(rng, found[place], _TOKENS)
                return Case(to_file(found))

    def check(self, case: Case) -> str:
        try:
            found = list(records.read(io.BytesIO(case.data)))
        except RecordError:
            expect(case.intact is None, "an intact file was refused")
            self._read_ids(case.data)
            return "refused"
        decoded = [record for data in found if (record := self._decode(data)) is not None]
        if len(found) < 4 and zlib.crc32(case.data) % 64 == 0:
            self._compare_file(case.data, found)
        ids = self._read_ids(case.data)
        if case.intact is not None:
            expect(found == case.intact and len(decoded) == len(found), "other records than written")
        if len(decoded) < len(found):
            return "refused record"
        expect(ids == [record.id for record in decoded], "other ids when only they are read")
        return "accepted"

    def _decode(self, data: bytes) -> records.Record | None:
        try:
            record = records.decode(data)
        except RecordError:
            return None
        features = self.message.FromString(data).features.feature
        self.counts["compared by message"] += 1
        expect(features["id"].bytes_list.value[:] == [record.id.encode()], "another id than TensorFlow")
        expect(features["image"].bytes_list.value[:] == [record.image], "another image than TensorFlow")
        name = "label" if record.single else "labels"
        expect(tuple(features[name].int64_list.value) == record.labels, "other labels than TensorFlow")
        with contextlib.suppress(ValueError):
            check_id(record.id)
        return record

    def _read_ids(self, data: bytes) -> list[str] | None:
        try:
            return list(records.read_ids(io.BytesIO(data)))
        except RecordError:
            return None

    def _compare_file(self, data: bytes, found: list[bytes]) -> None:
        self.path.write_bytes(data)
        self.counts["compared by file"] += 1
        expect(
            [bytes(record.numpy()) for record in self.data_set(str(self.path))] == found,
            "other records than TensorFlow",
        )
        for record in found:
            if (ours := self._decode(record)) is not None:
                theirs = self.parse(record, self.feature)
                expect(theirs["image"].numpy() == ours.image, "another image than TensorFlow's parser")


def _header_crc(length: bytes) -> bytes:
    return records._CRC.pack(records._masked_crc(bytes(length)))


class ArrayRecord:
    """Files of one to three records, uncompressed."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.seeds: list[tuple[bytes, list[bytes]]] = []
        for index in range(24):
            found = draw_records(random.Random(index))
            path = folder / f"seed-{index}"
            with open(path, "wb") as file, shard_files.FORMATS["array_record"].writing(file) as sink:
                for record in found:
                    sink.add([record])
            self.seeds.append((path.read_bytes(), found))
        self.path = folder / "hpa_stacked-train.array_record-00000-of-00001"

    def draw(self, rng: random.Random) -> Case:
        data, found = rng.choice(self.seeds)
        if rng.random() < 0.1:
            return Case(data, found)
        if rng.random() < 0.1:
            return Case(mutations.splice(rng, data, rng.choice(self.seeds)[0]))
        return Case(mutations.damage(rng, data))

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        form: Any = shard_files.of_file(self.path.name)
        digest = hashlib.sha256()
        try:
            with open(self.path, "rb", buffering=0) as file:
                found = list(form.read(file, digest))
        except RecordError:
            expect(case.intact is None, "an intact file was refused")
            return "refused"
        expect(digest.hexdigest() == hashlib.sha256(case.data).hexdigest(), "another digest")
        if case.intact is not None:
            expect(found == case.intact, "other records than written")
        try:
            decoded = [records.decode(data).id for data in found]
        except RecordError:
            return "refused record"
        with open(self.path, "rb", buffering=0) as file:
            if list(form.read_ids(file)) != decoded:
                raise Wrong("other ids when only they are read")
        return "accepted"
