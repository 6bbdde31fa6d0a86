"""The two file formats of shards, behind one interface: TFRecord, read in order, and ArrayRecord, read in any order."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Protocol

from pipeline.write import records
from pipeline.write.records import RecordError

ARRAY_RECORD_OPTIONS = "group_size:1,uncompressed,max_parallelism:1"
"""One record per group, as TFDS writes them, so that each can be read alone. Uncompressed, so that the bytes do not
depend on the version of a compressor; zstd would halve the size and read at 0.7 of the rate. The options are part of
the file, so the number of threads is fixed too."""

# Records are read one after the other, mostly from the page cache: reading ahead would only copy them once more.
_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:1"


class Sink(Protocol):
    """A shard that is being written. After the block that opened it, `num_bytes` and `sha256` are those of the file."""

    num_bytes: int
    sha256: str

    def add(self, pieces: Sequence[bytes]) -> None:
        """Writes one record, in the pieces that `ShardFormat.pieces` made of it."""


class ShardFormat(Protocol):
    """A file format of shards. `name` is TFDS's name of the format, which is also in the names of the files."""

    name: str

    def pieces(self, record: bytes) -> Sequence[bytes]:
        """Returns a record as it is handed to the sink; called in the threads that decode images."""

    def writing(self, file: BinaryIO) -> contextlib.AbstractContextManager[Sink]:
        """Yields the sink that writes records into an empty file.

        Raises:
          OSError: the file cannot be written.
        """

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
        with _system_errors():
            sink = _ArrayRecordSink(_module().ArrayRecordWriter(file.name, ARRAY_RECORD_OPTIONS))
        try:
            yield sink
            sink.finish(file.name)
        finally:
            with contextlib.suppress(RuntimeError):  # of a file that failed and is removed
                sink.writer.close()

    def read(self, file: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
        while block := file.read(1 << 20):
            digest.update(block)
        yield from self._records(file)

    def read_ids(self, file: BinaryIO) -> Iterator[str]:
        for index, record in enumerate(self._records(file)):
            try:
                yield records.leading_id(record)
            except RecordError as error:
                raise RecordError(f"record {index}: no id ({error})") from None

    def _records(self, file: BinaryIO) -> Iterator[bytes]:
        reader = _module().ArrayRecordReader(file.name, _READER_OPTIONS)
        try:
            num = reader.num_records()
        except RuntimeError:
            num = 0
        if not reader.ok():
            raise RecordError("the file is not an ArrayRecord, or it ends early")
        for index in range(num):
            try:
                record = reader.read()
            except (RuntimeError, IndexError) as error:
                raise RecordError(f"record {index}: cannot be read ({_reason(error)})") from None
            yield record
        reader.close()


class _ArrayRecordSink:
    def __init__(self, writer: Any):
        self.writer = writer
        self.num_bytes, self.sha256 = 0, ""

    def add(self, pieces: Sequence[bytes]) -> None:
        with _system_errors():
            for piece in pieces:
                self.writer.write(piece)

    def finish(self, path: str) -> None:
        with _system_errors():
            self.writer.close()  # writes the index of the records
        digest = hashlib.sha256()
        with open(path, "rb", buffering=0) as written:
            while block := written.read(1 << 20):
                digest.update(block)
            self.num_bytes, self.sha256 = written.tell(), digest.hexdigest()


@contextlib.contextmanager
def _system_errors() -> Iterator[None]:
    """Turns errors of the library, which names system errors only in words, into `OSError`."""
    try:
        yield
    except RuntimeError as error:
        code = errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else errno.EIO
        raise OSError(code, os.strerror(code)) from error


def _reason(error: Exception) -> str:
    return str(error).partition(";")[0]


def _module() -> Any:
    from array_record.python import array_record_module

    return array_record_module


FORMATS: dict[str, ShardFormat] = {shard_format.name: shard_format for shard_format in (TFRecord(), ArrayRecord())}


def of_file(name: str) -> ShardFormat:
    """Returns the format of a shard by its name, such as `hpa_stacked-dev.tfrecord-00000-of-00001`."""
    return FORMATS[name.rpartition(".")[2].partition("-")[0]]
