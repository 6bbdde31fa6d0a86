"""Writes one part of a table of fingerprints: a finished file, then a report on it."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import numpy as np

from pipeline.duplicates import fingerprints
from pipeline.duplicates.fingerprints import Channel
from pipeline.images import depth
from pipeline.images.limits import BadImage
from pipeline.images.sources import Images
from pipeline.images.stack import BadExample, read_channels
from pipeline.plan.manifest import file_names
from pipeline.plan.shards import ShardPlan
from pipeline.plan.table import Example
from pipeline.schema import Schema
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.store.workspace import Workspace
from pipeline.threads import map_ahead
from pipeline.write.in_work import Mark, unmarked
from pipeline.write.reports import BadImageRow
from pipeline.write.tasks import Task
from pipeline.write.writer import bad_rows


@dataclasses.dataclass(frozen=True)
class PartReport:
    """What a worker states about the part it wrote: `ids` in the order of its rows, `bad` the unusable images."""

    filename: str
    plan_fingerprint: str
    ids: tuple[str, ...]
    bad: tuple[BadImageRow, ...]
    num_bytes: int
    sha256: str

    @property
    def num_bad(self) -> int:
        """Number of examples that cannot be read."""
        return len({row.id for row in self.bad})


def name(plan: ShardPlan) -> str:
    """Returns the name of a part's file."""
    return f"part-{plan.index:05d}-of-{plan.num_shards:05d}.csv"


def write_part(
    task: Task,
    *,
    workspace: Workspace,
    images: Images,
    schema: Schema,
    size: int,
    pool: ThreadPoolExecutor,
    look_ahead: int,
    observe: Callable[[str, int], None] = lambda name, value: None,
    mark: Mark = unmarked,
    skip: Mapping[str, Sequence[BadImageRow]] = MappingProxyType({}),
) -> PartReport:
    """Writes the rows of one part and its report into `workspace`, and returns the report.

    The arguments are those of `writer.write_shard`; `size` is not used.

    Raises:
      OSError: the file cannot be written; nothing of it is left behind.
      JobError: an object store failed.
    """

    def prepare(example: Example) -> tuple[list[str], list[BadImageRow]]:
        start = time.perf_counter()
        if rows := skip.get(example.id):
            return _bad(example, rows, schema)
        with mark(example.id):
            row = fingerprint(example, images, schema)
        observe("fingerprint_ms", round(1000 * (time.perf_counter() - start)))
        return row

    examples = task.plan.examples
    found = list(map_ahead(pool, prepare, examples, look_ahead))
    data = fingerprints.to_csv(row for row, _ in found)
    report = PartReport(
        filename=name(task.plan),
        plan_fingerprint=task.fingerprint,
        ids=tuple(row[0] for row, _ in found),
        bad=tuple(bad for _, rows in found for bad in rows),
        num_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    _write(workspace.shards / report.filename, data)
    _write(workspace.reports / f"{report.filename}.json", json.dumps(dataclasses.asdict(report)).encode())
    return report


def _write(path: Place, content: bytes) -> None:
    with files.replacing(path) as file:
        file.write(content)


def fingerprint(example: Example, images: Images, schema: Schema) -> tuple[list[str], list[BadImageRow]]:
    """Returns the row of an example, and its bad images if it cannot be read."""
    names = file_names(schema, example)
    images = images.together(names)
    try:
        pixels = read_channels(images, names, schema)
        _check_sizes(pixels, schema)
    except BadExample as error:
        return _bad(example, bad_rows(example.id, error), schema)
    data = {index: images.read(name) for name, source in _sources(names, schema) for index in source}
    channels = [Channel(data[k], image, _full_scale(schema, k, image)) for k, image in enumerate(pixels)]
    return fingerprints.row(example.id, channels), []


def _bad(example: Example, rows: Sequence[BadImageRow], schema: Schema) -> tuple[list[str], list[BadImageRow]]:
    problem = "; ".join(f"{row.filter}: {row.code}" for row in rows)
    return fingerprints.bad_row(example.id, problem, schema.num_channels), list(rows)


def _sources(names: Sequence[str], schema: Schema) -> list[tuple[str, tuple[int, ...]]]:
    """Returns the name of each file with the indices of its channels."""
    return [(name, source.channels) for name, source in zip(names, schema.default_sources, strict=True)]


def _check_sizes(pixels: Sequence[np.ndarray], schema: Schema) -> None:
    expected = pixels[0].shape
    bad = [
        BadImage(channel, "wrong_size", f"{image.shape[1]}x{image.shape[0]}, expected {expected[1]}x{expected[0]}")
        for channel, image in zip(schema.channel_names, pixels, strict=True)
        if image.shape != expected
    ]
    if bad:
        raise BadExample(bad)


def _full_scale(schema: Schema, index: int, image: np.ndarray) -> int:
    limits = schema.channels[index].range
    return limits[1] - limits[0] if limits else depth.full_range(image, schema.depth)


def read_reports(workspace: Workspace, tasks: Sequence[Task]) -> list[PartReport | None]:
    """Returns the report on each part, `None` where there is none for exactly this plan."""
    listed = files.listing(workspace.reports)
    found: list[PartReport | None] = []
    for task in tasks:
        file = f"{name(task.plan)}.json"
        report = _parse(workspace, file) if file in listed else None
        found.append(report if report and report.plan_fingerprint == task.fingerprint else None)
    return found


def _parse(workspace: Workspace, file: str) -> PartReport | None:
    try:
        values = json.loads((workspace.reports / file).read_text())
        bad = tuple(BadImageRow(**row) for row in values.pop("bad"))
        return PartReport(bad=bad, ids=tuple(values.pop("ids")), **values)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
