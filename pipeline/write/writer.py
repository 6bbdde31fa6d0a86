"""How does one shard plan become one finished file?

A shard appears when it is whole (`storage`), and then a report on it the same way: a report that exists speaks
of a file that is finished.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar

import numpy as np

from pipeline.errors import JobError
from pipeline.images.sources import Images
from pipeline.images.stack import BadExample, Stacked, stack_example
from pipeline.plan.manifest import Example
from pipeline.plan.shards import ShardPlan
from pipeline.schema import FILTERS
from pipeline.store import files
from pipeline.store.files import ObjectPath, Place, replacing
from pipeline.threads import map_ahead
from pipeline.write import records

SHARDS, REPORTS = "shards", "reports"
"""The two folders of a build under way: finished files, and a report on each. Only the first is published."""

_BUILDING = ".building"

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
    stamp: str = ""  # an object store's own checksum of the file

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


def building_dir(target: Place) -> Place:
    """Returns where the dataset of `target` is built: beside it."""
    return target.with_name(f".{target.name}{_BUILDING}")


def shards_dir(directory: Place) -> Place:
    """Returns where a build in `directory` puts its shards.

    On a disk, out of sight, until the folder is renamed as a whole. An object store cannot rename: there they
    are put where they will be published, and are no dataset until the metadata stands beside them.
    """
    if isinstance(directory, ObjectPath):
        return directory.with_name(directory.name.removeprefix(".").removesuffix(_BUILDING))
    return directory / SHARDS


def shard_path(directory: Place, filename: str) -> Place:
    """Returns where a build in `directory` puts the shard of that name."""
    return shards_dir(directory) / filename


def report_path(directory: Place, filename: str) -> Place:
    """Returns where a build in `directory` puts the report on the shard of that name."""
    return directory / REPORTS / f"{filename}.json"


def read_report(directory: Place, filename: str) -> ShardReport | None:
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
    directory: Place,
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
      JobError: an object store failed, or what was written cannot be read back.
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

    path = shard_path(directory, plan.filename)
    with replacing(path) as file:
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
        if isinstance(path, ObjectPath):
            _check_ids(file, path, ids)  # on a disk, the driver does
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
        stamp=files.stamp(path) if isinstance(path, ObjectPath) else "",
    )
    with replacing(report_path(directory, plan.filename)) as file:
        file.write(report.to_json().encode())
    return report


def _check_ids(file: BinaryIO, path: Place, ids: Sequence[str]) -> None:
    """Raises `JobError` unless the file, read again, holds these ids in this order."""
    file.flush()
    with open(file.name, "rb") as written:
        if list(records.read_ids(written)) != list(ids):
            raise JobError(f"{path}: the ids in the file are not those that were written to it; run it again")


def _milliseconds(start: float) -> int:
    return round(1000 * (time.perf_counter() - start))


def _write_pieces(file: BinaryIO, digest: Any, pieces: Iterable[bytes]) -> int:
    num_bytes = 0
    for piece in pieces:
        num_bytes += file.write(piece)
        digest.update(piece)
    return num_bytes


def _record(example: Example, stacked: Stacked) -> tuple[bytes, bytes, bytes]:
    return records.frame(records.encode(example.id, stacked.image.data, example.labels))
