"""How does one shard plan become one finished file?

A shard is written to a temporary name and renamed when it is whole, and a report is put beside it the same
way, last: a report that exists speaks of a file that is finished.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from pipeline import records
from pipeline.manifest import Example
from pipeline.schema import FILTERS
from pipeline.shards import ShardPlan
from pipeline.sources import Images
from pipeline.stack import BadExample, Stacked, stack_example

SHARDS, REPORTS = "shards", "reports"
"""The two folders of a build under way: finished files, and a report on each. Only the first is published."""

_TEMPORARY = ".tmp-"

T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class BadImageRow:
    """One row of `quarantine.csv`."""

    id: str
    filter: str
    code: str
    detail: str


@dataclasses.dataclass(frozen=True)
class ShardReport:
    """What a worker says of the shard it wrote.

    `ids` are in the order of the records; `channel_sums` and `channel_squares` are the exact sums over all
    pixels (0..255) and over their squares, per channel.
    """

    filename: str
    plan_fingerprint: str
    ids: tuple[str, ...]
    bad: tuple[BadImageRow, ...]
    num_bytes: int
    sha256: str
    num_pixels: int
    channel_sums: tuple[int, ...]
    channel_squares: tuple[int, ...]
    num_16bit: int

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ShardReport":
        """Raises `ValueError`, `TypeError` or `KeyError` on anything that `to_json` did not write."""
        fields: dict[str, Any] = json.loads(text)
        bad = tuple(BadImageRow(**row) for row in fields.pop("bad"))
        lists: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        return cls(bad=bad, **lists)


def shard_path(directory: Path, filename: str) -> Path:
    """Returns where a build in `directory` puts the shard of that name."""
    return directory / SHARDS / filename


def report_path(directory: Path, filename: str) -> Path:
    """Returns where a build in `directory` puts the report on the shard of that name."""
    return directory / REPORTS / f"{filename}.json"


def read_report(directory: Path, filename: str) -> ShardReport | None:
    """Returns the report of a finished shard; `None` if there is none that can be read."""
    try:
        return ShardReport.from_json(report_path(directory, filename).read_text())
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def write_shard(
    plan: ShardPlan,
    *,
    images: Images,
    size: int,
    directory: Path,
    plan_fingerprint: str,
    pool: ThreadPoolExecutor,
    look_ahead: int,
    observe: Callable[[str, int], None] = lambda name, value: None,
) -> ShardReport:
    """Writes one shard and its report into `directory`, and returns the report.

    Images are decoded in `pool`; no more than `look_ahead` examples are held in memory at a time. `observe` is
    told how long each example took: ("decode_ms", ...) and ("write_ms", ...).

    Raises:
      OSError: the file cannot be written; nothing of it is left behind.
    """
    ids: list[str] = []
    bad: list[BadImageRow] = []
    digest, num_bytes, num_16bit = hashlib.sha256(), 0, 0
    sums = np.zeros((2, len(FILTERS)), np.int64)

    def prepare(example: Example) -> Any:
        start = time.perf_counter()
        try:
            stacked = stack_example(images, example.id, size)
        except BadExample as error:
            return [BadImageRow(example.id, image.filter, image.code, image.detail) for image in error.images]
        return _milliseconds(start), stacked.num_16bit, stacked.moments, _record(example, stacked)

    with replacing(shard_path(directory, plan.filename)) as file:
        for example, result in zip(plan.examples, map_ahead(pool, prepare, plan.examples, look_ahead), strict=True):
            if isinstance(result, list):
                bad += result
                continue
            decode_ms, example_16bit, moments, pieces = result
            start = time.perf_counter()
            num_bytes += _write_pieces(file, digest, pieces)
            observe("decode_ms", decode_ms)
            observe("write_ms", _milliseconds(start))
            ids.append(example.id)
            sums += moments
            num_16bit += example_16bit
    report = ShardReport(
        filename=plan.filename,
        plan_fingerprint=plan_fingerprint,
        ids=tuple(ids),
        bad=tuple(bad),
        num_bytes=num_bytes,
        sha256=digest.hexdigest(),
        num_pixels=len(ids) * size * size,
        channel_sums=tuple(sums[0].tolist()),
        channel_squares=tuple(sums[1].tolist()),
        num_16bit=num_16bit,
    )
    with replacing(report_path(directory, plan.filename)) as file:
        file.write(report.to_json().encode())
    return report


def _milliseconds(start: float) -> int:
    return round(1000 * (time.perf_counter() - start))


def _write_pieces(file: BinaryIO, digest: Any, pieces: Iterable[bytes]) -> int:
    num_bytes = 0
    for piece in pieces:
        num_bytes += file.write(piece)
        digest.update(piece)
    return num_bytes


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yields a binary file that appears at `path` when the block ends well, and leaves nothing otherwise."""
    temporary = path.with_name(f"{_TEMPORARY}{path.name}-{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(temporary, "wb")  # noqa: SIM115
    except OSError as error:
        raise OSError(error.errno, f"{path}: cannot be written ({error.strerror})") from error
    try:
        with file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno,
                f"{path}: the disk is full; free some space and run the same command again: "
                "it continues with the shards that are missing",
            ) from error
        raise


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 (hex) of a file."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove_temporaries(directory: Path) -> None:
    """Removes what killed writers left behind. Only while no writer is at work."""
    for path in directory.glob(f"*/{_TEMPORARY}*"):
        path.unlink(missing_ok=True)


def _record(example: Example, stacked: Stacked) -> tuple[bytes, bytes, bytes]:
    return records.frame(records.encode(example.id, stacked.image.data, example.labels))


def map_ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], look_ahead: int) -> Iterator[R]:
    """Like `pool.map`, in order, but holds no more than `look_ahead` results; `pool.map` holds them all."""
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= look_ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
