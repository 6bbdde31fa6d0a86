"""Reports: what a worker states about the shard it wrote."""

import dataclasses
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
        return f"image '{self.id}': filter '{self.filter}': {self.code}: {self.detail}"


@dataclasses.dataclass(frozen=True)
class ShardReport:
    """What a worker states about the shard it wrote.

    `ids` are in the order of the records; `channel_sums` and `channel_squares` are the exact sums of all pixels
    and of their squares, per channel; `num_dim` counts dim images by channel (`stack.DIM`); `stamp` is an object store's own checksum of the file.
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

    @property
    def bad_ids(self) -> set[str]:
        """Ids of the examples that were left out."""
        return {row.id for row in self.bad}

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ShardReport":
        """Raises `ValueError`, `TypeError` or `KeyError` for anything that `to_json` did not write."""
        fields: dict[str, Any] = json.loads(text)
        bad = tuple(BadImageRow(**row) for row in fields.pop("bad"))
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        return cls(bad=bad, **values)


def report_name(shard: str) -> str:
    """Returns the name of the report on the shard of that name."""
    return f"{shard}.json"


def write(workspace: Workspace, report: ShardReport) -> None:
    """Writes a report; it exists only when its shard is finished."""
    with files.replacing(workspace.reports / report_name(report.filename)) as file:
        file.write(report.to_json().encode())


def read(workspace: Workspace, shard: str) -> ShardReport | None:
    """Returns the report on a finished shard; `None` if there is none or it cannot be read."""
    try:
        return ShardReport.from_json((workspace.reports / report_name(shard)).read_text())
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
