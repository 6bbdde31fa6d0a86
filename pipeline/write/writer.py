"""Writes one planned shard: a finished file, then a report on it."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import BinaryIO

import numpy as np

from pipeline.errors import JobError
from pipeline.images import reading
from pipeline.images.reading import Digested
from pipeline.images.sources import Images
from pipeline.images.stack import BadExample, Stacked, max_bytes, stack_example
from pipeline.plan.manifest import file_names
from pipeline.plan.table import Example
from pipeline.schema import Schema
from pipeline.store import files
from pipeline.store.workspace import Workspace
from pipeline.threads import map_ahead
from pipeline.write import records, reports, shard_files
from pipeline.write.in_work import Mark, unmarked
from pipeline.write.reports import BadImageRow, ShardReport
from pipeline.write.shard_files import ShardFormat, Sink
from pipeline.write.tasks import Task

Observe = Callable[[str, int], None]


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """An example ready to be written, as the pieces of a record. `digest` is that of its files."""

    stacked: Stacked
    pieces: Sequence[bytes]
    decode_ms: int
    digest: str


@dataclasses.dataclass(frozen=True)
class _Bad:
    """An example that cannot be used, and the digest of its files."""

    rows: list[BadImageRow]
    digest: str


def write_shard(
    task: Task,
    *,
    workspace: Workspace,
    images: Images,
    schema: Schema,
    size: int,
    pool: ThreadPoolExecutor,
    look_ahead: int,
    observe: Observe = lambda name, value: None,
    mark: Mark = unmarked,
    skip: Mapping[str, Sequence[BadImageRow]] = MappingProxyType({}),
) -> ShardReport:
    """Writes one shard and its report into `workspace`, and returns the report.

    Images are decoded in `pool`, at most `look_ahead` examples ahead, each marked by `mark`; those in `skip` are
    reported as bad. `observe` receives the milliseconds of each example: ("decode_ms", ...) and ("write_ms", ...).

    Raises:
      OSError: the file cannot be written; nothing of it is left behind.
      JobError: a disk or an object store failed, or what was written cannot be read back.
    """
    plan = task.plan
    shard, shard_format = _Shard(schema), shard_files.of_file(plan.filename)

    def prepare(example: Example) -> _Prepared | _Bad:
        if rows := skip.get(example.id):
            return _Bad(list(rows), reading.digest_of(images, file_names(schema, example), max_bytes(schema)))
        with mark(example.id):
            return _prepare(example, images, schema, size, shard_format)

    path = workspace.shards / plan.filename
    with files.replacing(path) as file:
        prepared_ahead = map_ahead(pool, prepare, plan.examples, look_ahead)
        with shard_format.writing(file) as sink:
            for example, prepared in zip(plan.examples, prepared_ahead, strict=True):
                shard.digests.append(prepared.digest)
                if isinstance(prepared, _Bad):
                    shard.bad += prepared.rows
                else:
                    shard.add(sink, example, prepared, observe)
        _check_ids(file, path, shard.ids)
    report = shard.report(task, sink, size, workspace.stamp(plan.filename))
    reports.write(workspace, report)
    return report


def _prepare(
    example: Example, images: Images, schema: Schema, size: int, shard_format: ShardFormat
) -> _Prepared | _Bad:
    """Returns the example as a record, or its bad images."""
    start, digested = time.perf_counter(), Digested(images)
    try:
        stacked = stack_example(digested, file_names(schema, example), schema, size)
    except BadExample as error:
        return _Bad(bad_rows(example.id, error), digested.digest())
    vector = records.label_vector(example.labels, schema.num_classes)
    record = records.encode(example.id, stacked.image.data, example.labels, vector, schema.single_label)
    pieces = shard_format.pieces(record)
    return _Prepared(stacked, pieces, _milliseconds(start), digested.digest())


def bad_rows(example_id: str, error: BadExample) -> list[BadImageRow]:
    """Returns one row for each bad image of an example."""
    return [BadImageRow(example_id, image.filter, image.code, image.detail) for image in error.images]


class _Shard:
    """Running totals of a shard that is being written."""

    def __init__(self, schema: Schema) -> None:
        self.ids: list[str] = []
        self.bad: list[BadImageRow] = []
        self.digests: list[str] = []
        self.num_16bit = 0
        self.moments = np.zeros((2, schema.num_channels), np.int64)
        self.num_dim = np.zeros(schema.num_channels, np.int64)

    def add(self, sink: Sink, example: Example, prepared: _Prepared, observe: Observe) -> None:
        start = time.perf_counter()
        sink.add(prepared.pieces)
        observe("decode_ms", prepared.decode_ms)
        observe("write_ms", _milliseconds(start))
        self.ids.append(example.id)
        self.moments += prepared.stacked.moments
        self.num_16bit += prepared.stacked.num_16bit
        self.num_dim += prepared.stacked.dim

    def report(self, task: Task, sink: Sink, size: int, stamp: str) -> ShardReport:
        sums, squares = self.moments.tolist()
        return ShardReport(
            filename=task.filename,
            plan_fingerprint=task.fingerprint,
            ids=tuple(self.ids),
            bad=tuple(self.bad),
            num_bytes=sink.num_bytes,
            sha256=sink.sha256,
            num_pixels=len(self.ids) * size * size,
            channel_sums=tuple(sums),
            channel_squares=tuple(squares),
            num_16bit=self.num_16bit,
            num_dim=tuple(self.num_dim.tolist()),
            stamp=stamp,
            listed=task.listed,
            digests=tuple(self.digests),
        )


def _check_ids(file: BinaryIO, path: files.Place, ids: Sequence[str]) -> None:
    """Raises `JobError` unless the file, read again before it appears, holds these ids in this order."""
    with open(file.name, "rb") as written:
        if list(shard_files.of_file(path.name).read_ids(written)) != list(ids):
            raise JobError(
                f"{path}: the ids in the file are not those that were written to it; run the same command again"
            )


def _milliseconds(start: float) -> int:
    return round(1000 * (time.perf_counter() - start))
