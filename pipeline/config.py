"""Parameters and result of a build."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.errors import InputError
from pipeline.plan import shards, splits
from pipeline.schema import DEFAULT_SIZE, HPA_KAGGLE_2018, VERSION, Schema
from pipeline.store import files, layout
from pipeline.store.files import Place
from pipeline.write.reports import BadImageRow, ShardReport
from pipeline.write.shard_files import FORMATS
from pipeline.write.writer import write_shard

FINGERPRINTS_VERSION = 1
"""Incremented when the same images give other fingerprints or other groups of duplicates."""


@dataclasses.dataclass(frozen=True)
class BuildConfig:
    """One build. The first group of fields decides the bytes of the dataset, the second does not.

    Places may be given as paths or as URLs (`files.at`).

    Raises:
      InputError: a value out of range.
    """

    labels: Place
    images: Place
    data_dir: Place
    schema: Schema = HPA_KAGGLE_2018
    size: int = DEFAULT_SIZE
    seed: int = 0
    split_sizes: tuple[int, ...] | None = None
    groups: Place | None = None
    keep: Place | None = None
    resplit: bool = False
    groups_extra: str = "error"  # or "ignore": ids of `groups` that are not in the label table
    find_groups: bool = False  # of duplicates, instead of reading `groups`
    fingerprints: Place | None = None
    num_shards: int | None = None
    shard_mib: float = shards.DEFAULT_SHARD_MIB
    max_examples: int | None = None
    file_format: str = "tfrecord"

    threads: int | None = None
    on_error: str = "fail"
    max_bad: float = 0.01
    overwrite: bool = False
    check_content: bool = False
    beam_args: Sequence[str] | Any = ()  # flags, or ready PipelineOptions
    write: Callable[..., ShardReport] = write_shard

    def __post_init__(self) -> None:
        for name in ("labels", "images", "data_dir", "groups", "keep", "fingerprints"):
            if (place := getattr(self, name)) is not None:
                object.__setattr__(self, name, files.at(place))
        if not 1 <= self.size <= 4096:
            raise InputError(f"size is {self.size}, expected 1 to 4096 pixels a side")
        if self.groups_extra not in ("error", "ignore"):
            raise InputError(f"groups_extra is '{self.groups_extra}', expected 'error' or 'ignore'")
        if self.schema.depth == "percentile" and self.schema.channels[0].range is None:
            raise InputError(
                f"schema '{self.schema.name}': depth 'percentile' needs the range of each channel; "
                "'python -m pipeline schema range' measures them"
            )
        if self.keep is not None and self.resplit:
            raise InputError("keep and resplit exclude each other: keep an earlier split, or split anew")
        if self.file_format not in FORMATS:
            raise InputError(f"file_format is '{self.file_format}', expected one of {', '.join(FORMATS)}")
        if self.on_error not in ("fail", "quarantine"):
            raise InputError(f"on_error is '{self.on_error}', expected 'fail' or 'quarantine'")
        if not 0 <= self.max_bad <= 1:
            raise InputError(f"max_bad is {self.max_bad}, expected a share from 0 to 1 (0% to 100%)")

    @property
    def target(self) -> Place:
        """The folder of the dataset."""
        return layout.dataset_dir(self.data_dir, self.schema, self.size)

    def parameters(self, num_examples: int) -> dict[str, Any]:
        """Returns what decides the bytes of the dataset besides its input, as plain values for its metadata."""
        found = {"groups_found_by": FINGERPRINTS_VERSION} if self.find_groups else {}
        return {
            "dataset_version": VERSION,
            "seed": self.seed,
            "split_sizes": list(self.split_sizes or splits.proportional_sizes(num_examples)),
            "groups_sha256": files.sha256_of(self.groups) if self.groups else None,
            "num_shards_per_split": self.num_shards,
            "shard_mib": float(self.shard_mib),
            "max_examples_per_split": self.max_examples,
            "file_format": self.file_format,
            **found,
        }


@dataclasses.dataclass(frozen=True)
class BuildResult:
    """What a build did. `metadata` is the published `metadata.json`; `metrics` are this run's, as lines; `kept` are
    lines on what happened to an earlier split, and `warnings` lines on what a person should look at."""

    path: Place
    metadata: dict[str, Any]
    num_examples: dict[str, int]
    num_shards: int
    num_shards_resumed: int = 0
    bad: tuple[BadImageRow, ...] = ()
    metrics: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    up_to_date: bool = False
    warnings: tuple[str, ...] = ()
