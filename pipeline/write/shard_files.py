"""The two file formats of shards, behind one interface: TFRecord, read in order, and ArrayRecord, read in any order."""

import contextlib
import errno
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Protocol

from pipeline.write import records
from pipeline.write.records import RecordError

ARRAY_RECORD_OPTIONS = "group_size:1,uncompressed,max_parallelism:1"
"""One record a group, so that any one is read alone, as TFDS writes them. Uncompressed, so that the bytes do not depend
on the version of a compressor; zstd would halve the size and read at 0.7 of the rate. The options are part of the file,
so the number of threads is fixed too."""

_AT_ONCE = 16
"""Records of an ArrayRecord in memory at a time while it is verified."""


class Sink(Protocol):
    """A shard that is being written. After the block that opened it, `num_bytes` and `sha256` are those of the file."""

    num_bytes: int
    sha256: str

    def add(self, pieces: Sequence[bytes]) -> None:
        """Writes one record, in the pieces that `ShardFormat.pieces` made of it."""


class ShardFormat(Protocol):
    """A file format of shards. `name` is TFDS's, which is the ending of the files too."""

    name: str

    def pieces(self, record: bytes) -> Sequence[bytes]:
        """Returns a record as it is handed to the sink; called in the threads that decode images."""

    def writing(self, file: BinaryIO) -> contextlib.AbstractContextManager[Sink]:
        """Yields the sink that writes records into an empty file."""

    def read(self, file: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
        """Yields the data of every record, checked against the file's checksums; adds the file's bytes to `digest`.

        Raises:
          RecordError: the file is damaged.
        """

    def read_ids(self, file: BinaryIO) -> Iterator[str]:
        """Yields the id of every record; raises `RecordError` for a damaged file."""


class TFRecord:
    """TFRecord framing (`records.frame`)."""

    name = "tfrecord"

    def pieces(self, record: bytes) -> Sequence[bytes]:
        return records.frame(record)

    @contextlib.contextmanager
    def writing(self, file: BinaryIO) -> Iterator["_TFRecordSink"]:
        sink = _TFRecordSink(file)
        yield sink
        file.flush()
        sink.sha256 = sink.digest.hexdigest()

    def read(self, file: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
        yield from records.read(_Hashing(file, digest))

    def read_ids(self, file: BinaryIO) -> Iterator[str]:
        yield from records.read_ids(file)


class _TFRecordSink:
    def __init__(self, file: BinaryIO):
        self._file, self.digest = file, hashlib.sha256()
        self.num_bytes, self.sha256 = 0, ""

    def add(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            self.num_bytes += self._file.write(piece)
            self.digest.update(piece)


class _Hashing:
    """A file whose bytes are added to a digest as they are read."""

    def __init__(self, file: BinaryIO, digest: "hashlib._Hash"):
        self._file, self._digest = file, digest

    def read(self, num_bytes: int) -> bytes:
        data = self._file.read(num_bytes)
        self._digest.update(data)
        return data


class ArrayRecord:
    """ArrayRecord files, which TFDS's data sources and Grain read in any order."""

    name = "array_record"

    def pieces(self, record: bytes) -> Sequence[bytes]:
        return (record,)

    @contextlib.contextmanager
    def writing(self, file: BinaryIO) -> Iterator["_ArrayRecordSink"]:
        sink = _ArrayRecordSink(_module().ArrayRecordWriter(file.name, ARRAY_RECORD_OPTIONS))
        try:
            yield sink
            written = sink.writer.ok()
        finally:
            sink.writer.close()
        if not written:
            raise OSError(errno.EIO, f"{file.name}: cannot be written as an ArrayRecord")
        digest = hashlib.sha256()
        with open(file.name, "rb", buffering=0) as again:
            while block := again.read(1 << 20):
                digest.update(block)
            sink.num_bytes = again.tell()
        sink.sha256 = digest.hexdigest()

    def read(self, file: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
        while block := file.read(1 << 20):
            digest.update(block)
        yield from self._records(file)

    def read_ids(self, file: BinaryIO) -> Iterator[str]:
        for data in self._records(file):
            yield records.decode(data).id

    def _records(self, file: BinaryIO) -> Iterator[bytes]:
        position = 0
        try:
            reader = _module().ArrayRecordReader(file.name)
            num = reader.num_records()
            if not reader.ok():
                raise RecordError("the file is not an ArrayRecord, or it ends early")
            for position in range(0, num, _AT_ONCE):
                yield from reader.read(position, min(position + _AT_ONCE, num))
            reader.close()
        except (RuntimeError, IndexError) as error:
            raise RecordError(f"record {position} or one of the next {_AT_ONCE}: {str(error)[:160]}") from None


class _ArrayRecordSink:
    def __init__(self, writer: Any):
        self.writer = writer
        self.num_bytes, self.sha256 = 0, ""

    def add(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            self.writer.write(piece)


def _module() -> Any:
    from array_record.python import array_record_module

    return array_record_module


FORMATS: dict[str, ShardFormat] = {shard_format.name: shard_format for shard_format in (TFRecord(), ArrayRecord())}


def of_file(name: str) -> ShardFormat:
    """Returns the format of a shard by its name, such as `hpa_stacked-dev.tfrecord-00000-of-00001`."""
    return FORMATS[name.rpartition(".")[2].partition("-")[0]]
