"""The folds of a cross-validation, and the paths of their files."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.schema import Schema

GROUPED, RANDOM = "grouped", "random"
SCHEMES = (GROUPED, RANDOM)
"""Folds that keep the groups of the schema whole, and folds that ignore them."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained.

    Attributes:
        source: folder of the label table and the images.
        schema: of the source, with group columns and a single label for each example.
        out: folder for all output.
        size: pixels a side of the dataset.
        num_folds: folds of each scheme.
        preset: name of the settings to start from.
        values: settings that replace those of the preset.
        budget: images that each run is trained on.
        seed: of the split and of the runs.
    """

    source: Path
    schema: Schema
    out: Path
    size: int
    num_folds: int
    preset: str
    values: Mapping[str, Any]
    budget: int
    seed: int

    def __post_init__(self) -> None:
        if not self.schema.single_label or not self.schema.table.groups:
            raise InputError(
                f"schema '{self.schema.name}': expected labels = \"single\" and group columns, found "
                f"{'a single label' if self.schema.single_label else 'several labels'} and groups = "
                f"{list(self.schema.table.groups)}: folds by group and at random are compared for such schemas only"
            )

    def folds(self) -> list["Fold"]:
        """Returns all folds, alternating between the schemes."""
        return [Fold(self.out, scheme, k, self.num_folds) for k in range(self.num_folds) for scheme in SCHEMES]

    def schema_of(self, scheme: str) -> Schema:
        """Returns the schema of the datasets of a scheme: without group columns for `random`."""
        if scheme == GROUPED:
            return self.schema
        return dataclasses.replace(self.schema, table=dataclasses.replace(self.schema.table, groups=()))

    def words(self, scheme: str) -> str:
        """Returns how examples are divided, in words."""
        return f"by {' and '.join(self.schema.table.groups)}" if scheme == GROUPED else "at random"


@dataclasses.dataclass(frozen=True)
class Fold:
    """Fold `number`, from 0, of the `num` folds of a scheme; its files are in the folder `out`."""

    out: Path
    scheme: str
    number: int
    num: int

    @property
    def name(self) -> str:
        return f"{self.scheme}-{self.number}-of-{self.num}"

    @property
    def splits(self) -> Path:
        """Folder of the splits of all folds of the scheme."""
        return self.out / "splits" / f"{self.scheme}-{self.num}"

    @property
    def split_csv(self) -> Path:
        return self.splits / f"fold-{self.number}.csv"

    @property
    def data_dir(self) -> Path:
        return self.out / "data" / self.name

    @property
    def run(self) -> Path:
        return self.out / self.name

    @property
    def config(self) -> Path:
        return self.out / f"{self.name}.json"

    @property
    def log(self) -> Path:
        return self.out / f"{self.name}.log"
