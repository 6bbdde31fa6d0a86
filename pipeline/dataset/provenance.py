"""Provenance of the examples: digests of their source files, and whether the files have changed.

A worker records a digest of the source files of every example it reads. The digests are published in `sources.csv`;
they depend on contents alone. A file beside the dataset (not part of it) records the stamps of the source files when
they were listed: times on a disk, checksums in a store or a zip. Files with unchanged stamps are not read again.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.errors import InputError
from pipeline.images import reading, stack
from pipeline.plan.manifest import Manifest
from pipeline.plan.table import MAX_LISTED
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.store.layout import CHECKSUMS, SOURCES
from pipeline.store.workspace import Workspace
from pipeline.write.reports import ShardReport
from pipeline.write.tasks import Task


class ChangedSourceError(InputError):
    """Source files changed while a dataset was built from them."""


def by_example(tasks: Sequence[Task], reports: Sequence[ShardReport]) -> dict[str, str]:
    """Returns `{id: digest}` of every planned example, as reported."""
    return {
        example.id: digest
        for task, report in zip(tasks, reports, strict=True)
        for example, digest in zip(task.plan.examples, report.digests, strict=True)
    }


def changed(source: Manifest, digests: Mapping[str, str]) -> list[str]:
    """Returns the ids whose source files do not have these digests now, sorted; reads all of them.

    Raises:
      StorageError: a file cannot be read.
    """

    def differs(example_id: str) -> bool:
        return reading.digest_of(source.images, source.names(examples[example_id]), limit) != digests[example_id]

    examples = {example.id: example for example in source.examples}
    ids, limit = sorted(digests), stack.max_bytes(source.schema)
    with ThreadPoolExecutor(source.images.threads) as pool:
        return [example_id for example_id, differ in zip(ids, pool.map(differs, ids), strict=True) if differ]


def check_unchanged(source: Manifest, tasks: Sequence[Task], reports: Sequence[ShardReport]) -> None:
    """Lists the images again, and rereads bad ones and those whose stamps have changed.

    Raises:
      ChangedSourceError: files differ from what the workers read.
      StorageError: a file cannot be read.
    """
    now, digests = source.relisted(), by_example(tasks, reports)
    bad = {example_id for report in reports for example_id in report.bad_ids}
    suspects = {i: d for i, d in digests.items() if now.stamps[i] != source.stamps[i] or i in bad}
    resized = {i for i in suspects if now.file_bytes[i] != source.file_bytes[i]}
    if ids := sorted(resized.union(changed(now, suspects))):
        raise ChangedSourceError(
            f"the images of {first_ids(ids)} changed while the dataset was built from them, so nothing was published; "
            "run the same command again once nothing writes there"
        )


def changed_since_published(source: Manifest, workspace: Workspace, *, check_content: bool) -> list[str]:
    """Returns the ids whose source files are not those that the published dataset was made from, sorted.

    Reads only the files whose stamps differ from those recorded at publication; with `check_content`, all of them.

    Raises:
      StorageError: a file cannot be read.
    """
    digests = _read_sources(workspace.target / SOURCES)
    listed = {} if check_content else _read_listing(workspace)
    suspects = {
        example_id: digest
        for example_id, digest in digests.items()
        if example_id in source.stamps and listed.get(example_id) != f"{source.stamps[example_id]:016x}"
    }
    return changed(source, suspects) if digests else sorted(source.stamps)


def write_sources(path: Place, tasks: Sequence[Task], reports: Sequence[ShardReport]) -> None:
    """Writes `sources.csv`: id and digest of every planned example, sorted by id."""
    rows = sorted(by_example(tasks, reports).items())
    with files.replacing(path) as file:
        file.write("".join(f"{row[0]},{row[1]}\n" for row in [("id", "digest"), *rows]).encode())


def write_listing(workspace: Workspace, source: Manifest) -> None:
    """Records, beside the published dataset, the stamps of the source files that it is known to be made from."""
    rows = (f"{example.id} {source.stamps[example.id]:016x}\n" for example in source.examples)
    text = "".join([f"{files.sha256_of(workspace.target / CHECKSUMS)}\n", *rows])
    if _read_text(workspace.listing) != text:
        with files.replacing(workspace.listing) as file:
            file.write(text.encode())


def _read_listing(workspace: Workspace) -> dict[str, str]:
    """Returns `{id: stamp}`; empty if there is no listing of exactly this dataset."""
    first, *rows = _read_text(workspace.listing).split("\n")
    if not first or first != files.sha256_of(workspace.target / CHECKSUMS):
        return {}
    return {example_id: stamp for example_id, _, stamp in (row.partition(" ") for row in rows)}


def _read_sources(path: Place) -> dict[str, str]:
    """Returns `{id: digest}`; empty if the table does not exist or is damaged."""
    try:
        rows = list(csv.reader(io.StringIO(_read_text(path))))
    except csv.Error:
        return {}
    if not rows or rows[0] != ["id", "digest"] or any(len(row) != 2 for row in rows):
        return {}
    return {row[0]: row[1] for row in rows[1:]}


def _read_text(path: Place) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def first_ids(ids: Sequence[str]) -> str:
    """Returns at most ten ids in quotes, and how many more there are."""
    more = f" and {len(ids) - MAX_LISTED} more" if len(ids) > MAX_LISTED else ""
    return ", ".join(f"'{example_id}'" for example_id in ids[:MAX_LISTED]) + more
