"""Names of the files and folders of a dataset."""

import re

from pipeline import schema
from pipeline.store.files import Place

INFO = "dataset_info.json"
"""Without this file there is no dataset: in an object store it is written last and removed first."""

METADATA = "metadata.json"
CHECKSUMS = "SHA256SUMS"
QUARANTINE = "quarantine.csv"
GROUPS = "groups.csv"
SOURCES = "sources.csv"
"""Id and digest of the source files of every example."""
BAD_EXAMPLES = "bad_examples.csv"
"""Beside the dataset: the bad images that stopped the last build."""

_OURS = re.compile(
    rf"{schema.NAME}-.*\.tfrecord-.*|{INFO}|{CHECKSUMS}|{QUARANTINE}|{GROUPS}|{SOURCES}|features\.json|{METADATA}|.*\.labels\.txt"
)


def is_ours(name: str) -> bool:
    """Returns whether a build writes files of this name into a dataset's folder."""
    return _OURS.fullmatch(name) is not None


def is_shard(name: str) -> bool:
    """Returns whether a file of this name is a shard."""
    return ".tfrecord-" in name


def dataset_dir(data_dir: Place, size: int) -> Place:
    """Returns where TFDS looks for the dataset of that size, in pixels a side."""
    return data_dir / schema.NAME / str(size) / schema.VERSION
