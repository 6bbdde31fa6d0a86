"""Reports of workers on the shards they wrote."""

import dataclasses
import hashlib
import json
from typing import Any

from pipeline.store import files
from pipeline.store.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class BadImageRow:
    """A bad image: one row of `quarantine.csv`.

    `filter` is its channel, or all channels of the file joined with '+'; `code` is a key of `images.stack.CODES`.
    """

    id: str
    filter: str
    code: str
    detail: str

    def __str__(self) -> str:
        return f"image '{self.id}': channel '{self.filter}': {self.code}: {self.detail}"


@dataclasses.dataclass(frozen=True)
class ShardReport:
    """What a worker states about the shard it wrote.

    `ids` are in the order of the records; `channel_sums` and `channel_squares` are the exact sums of all pixels and of
    their squares, per channel; `num_dim` counts dim images by channel (`stack.DIM`); `stamp` is an object store's own
    checksum of the file; `listed` is copied from the task; `digests` has one digest of the source files for each
    example of the plan (`images.reading.Digested`).
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
    num_dim: tuple[int, ...]
    stamp: str = ""
    listed: str = ""
    digests: tuple[str, ...] = ()

    @property
    def bad_ids(self) -> set[str]:
        """Ids of the examples that were left out."""
        return {row.id for row in self.bad}

    def to_json(self) -> str:
        """Returns a line with a checksum, and the report on a second line."""
        text = json.dumps(dataclasses.asdict(self))
        return f"{_checksum(text)}\n{text}"

    @classmethod
    def from_json(cls, text: str) -> "ShardReport":
        """Returns the report that `to_json` wrote.

        Raises:
          ValueError: any other text.
        """
        checksum, _, body = text.partition("\n")
        if checksum != _checksum(body):
            raise ValueError("the report does not match its checksum")
        try:
            read: dict[str, Any] = json.loads(body)
            bad = tuple(BadImageRow(**row) for row in read.pop("bad"))
            fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in read.items()}
            report = cls(bad=bad, **fields)
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a report ({error!r})") from None
        report._check_types()
        return report

    def _check_types(self) -> None:
        for kind, values in (
            (str, (self.filename, self.plan_fingerprint, self.sha256, self.stamp, self.listed)),
            (str, (value for row in self.bad for value in dataclasses.astuple(row))),
            (str, (*_items(self.ids), *_items(self.digests))),
            (int, (self.num_bytes, self.num_pixels, self.num_16bit)),
            (int, (*_items(self.channel_sums), *_items(self.channel_squares), *_items(self.num_dim))),
        ):
            for value in values:
                if type(value) is not kind:
                    raise ValueError(f"{value!r} in a report, expected {kind.__name__}")


def _items(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise ValueError(f"{value!r} in a report, expected a list")
    return value


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def report_name(shard: str) -> str:
    """Returns the name of the report on the shard of that name."""
    return f"{shard}.json"


def write(workspace: Workspace, report: ShardReport) -> None:
    """Writes a report; it exists only when its shard is finished."""
    with files.replacing(workspace.reports / report_name(report.filename)) as file:
        file.write(report.to_json().encode())


def read(workspace: Workspace, shard: str) -> ShardReport | None:
    """Returns the report on the shard of that name; `None` if there is none, or if it cannot be trusted."""
    try:
        report = ShardReport.from_json((workspace.reports / report_name(shard)).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return report if report.filename == shard else None
