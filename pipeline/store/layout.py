"""Names of the files and folders of a dataset."""

import re

from pipeline.schema import HPA_KAGGLE_2018, NAME, VERSION, Schema
from pipeline.store.files import Place

INFO = "dataset_info.json"
"""Without this file there is no dataset: in an object store it is written last and removed first."""

METADATA = "metadata.json"
CHECKSUMS = "SHA256SUMS"
CROISSANT = "croissant.json"
QUARANTINE = "quarantine.csv"
GROUPS = "groups.csv"
SPLIT = "split.csv"
"""The split of every example, which a dataset that grows keeps."""

SOURCES = "sources.csv"
"""Id and digest of the source files of every example."""

LABELS = "labels.csv"
"""Id, split and labels of every record, in the order of the records."""

COLUMNS = "columns.csv"
"""The columns of the label table that the schema carries along, by id."""

KEPT = "kept.csv"
"""In the folder of a build: the split of the dataset that it replaces."""

BAD_EXAMPLES = "bad_examples.csv"
"""Beside the dataset: the bad images that stopped the last build."""

_OURS = re.compile(
    rf"{NAME}-.*\.(tfrecord|array_record)-.*|croissant\.json|{INFO}|{CHECKSUMS}|{QUARANTINE}|{GROUPS}|{SPLIT}|{LABELS}|{COLUMNS}|{SOURCES}|LICENSE|features\.json|{METADATA}|.*\.labels\.txt"
)


def is_ours(name: str) -> bool:
    """Returns whether a build writes files of this name into a dataset's folder."""
    return _OURS.fullmatch(name) is not None


def is_shard(name: str) -> bool:
    """Returns whether a file of this name is a shard."""
    return ".tfrecord-" in name or ".array_record-" in name


def config_name(schema: Schema, size: int) -> str:
    """Returns the name of the TFDS configuration for a size in pixels a side: `256`, or `mitocheck-64`."""
    return str(size) if schema == HPA_KAGGLE_2018 else f"{schema.name}-{size}"


def dataset_dir(data_dir: Place, schema: Schema, size: int) -> Place:
    """Returns where TFDS looks for the dataset of a schema and a size."""
    return data_dir / NAME / config_name(schema, size) / VERSION
