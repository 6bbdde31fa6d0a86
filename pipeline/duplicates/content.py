"""The content of a source, according to a table of fingerprints."""

import hashlib

from pipeline.duplicates.fingerprints import Table
from pipeline.errors import InputError
from pipeline.plan.manifest import Manifest
from pipeline.plan.table import summary
from pipeline.store.files import Place


def digest(path: Place, table: Table, source: Manifest) -> str:
    """Returns the SHA-256 (hex) of the ids and of the SHA-256 of all files of a source.

    Raises:
      InputError: see `check`.
    """
    check(path, table, source)
    rows = {example_id: row for row, example_id in enumerate(table.ids)}
    found = hashlib.sha256()
    for example in source.examples:
        row = rows.get(example.id)
        files = b"unreadable" if row is None else table.files[row].tobytes()
        found.update(hashlib.sha256(example.id.encode()).digest() + hashlib.sha256(files).digest())
    return found.hexdigest()


def check(path: Place, table: Table, source: Manifest) -> None:
    """Checks that the table at `path` has the fingerprints of these files, as far as their sizes tell.

    Raises:
      InputError: other channels, examples without a fingerprint, or files of other sizes.
    """
    expected = source.schema.channel_names
    if table.channels != expected:
        raise InputError(
            f"{path}: fingerprints of the channels {', '.join(table.channels)}, expected {', '.join(expected)}"
        )
    rows = {example_id: row for row, example_id in enumerate(table.ids)}
    problems = []
    for example in source.examples:
        if example.id not in rows and example.id not in table.bad:
            problems.append(f"id '{example.id}' has no fingerprint")
        elif example.id in rows and _sizes(source, example.id) != table.file_bytes[rows[example.id]].tolist():
            problems.append(f"id '{example.id}' has files of other sizes than when its fingerprint was made")
    if problems:
        raise InputError(
            f"{path}: {summary(problems, 'examples without a valid fingerprint')}; run 'pipeline fingerprint' again"
        )


def _sizes(source: Manifest, example_id: str) -> list[int]:
    """Returns the size of the file of each channel, in bytes."""
    sizes = [0] * source.schema.num_channels
    for num_bytes, file in zip(source.file_bytes[example_id], source.schema.default_sources, strict=True):
        for channel in file.channels:
            sizes[channel] = num_bytes
    return sizes
