"""Publishes a finished build as a dataset that TFDS reads, and checks what is already published.

Shards, TFDS's metadata and `SHA256SUMS` (which `sha256sum -c` checks too) are completed first. Then the dataset appears
in one step: a reader sees all of it or nothing.
"""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import data_dirs
from pipeline.config import BuildConfig, BuildResult
from pipeline.dataset import croissant, labels, provenance, quarantine
from pipeline.dataset import metadata as tfds_metadata
from pipeline.errors import InputError
from pipeline.plan import kept
from pipeline.plan.manifest import Manifest
from pipeline.schema import DEFAULT_SIZE, VERSION
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.store.layout import (
    CHECKSUMS,
    COLUMNS,
    CROISSANT,
    GROUPS,
    INFO,
    LABELS,
    METADATA,
    QUARANTINE,
    SOURCES,
    SPLIT,
    is_shard,
)
from pipeline.store.workspace import Workspace, open_workspace
from pipeline.write.reports import ShardReport
from pipeline.write.tasks import Task


class AlreadyPublished(InputError):
    """Another dataset is published where this one would go."""


def published_metadata(target: Place) -> dict[str, Any] | None:
    """Returns the metadata of the dataset at `target`; `{}` if it is not one of ours, `None` if nothing is there."""
    if not open_workspace(target).is_published():
        return None
    try:
        metadata = json.loads((target / METADATA).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def shard_lengths(target: Place) -> dict[str, list[int]]:
    """Returns `{split: examples in each shard}` of a published dataset.

    Raises:
      InputError: its metadata cannot be read.
    """
    try:
        info = json.loads((target / INFO).read_text())
        return {str(split["name"]): [int(n) for n in split["shardLengths"]] for split in info["splits"]}
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{target / INFO}: cannot be read ({type(error).__name__}), so this is not a complete dataset; "
            "--overwrite builds it again"
        ) from None


def root_digest(target: Place) -> str:
    """Returns `sha256:` and the SHA-256 (hex) of `SHA256SUMS`: one line that stands for every byte of a dataset."""
    return f"sha256:{files.sha256_of(target / CHECKSUMS)}"


def find_same(
    config: BuildConfig, source: Manifest, workspace: Workspace, fingerprints: Sequence[str]
) -> BuildResult | None:
    """Returns the result of an earlier build of the same dataset, or `None` if it must be built.

    A published dataset is the same if it has one of the `fingerprints`. Writes nothing.

    Raises:
      InputError: another dataset is there and may not be replaced, or a synthetic one would mix with real images.
      StorageError: a source file cannot be read.
    """
    _check_synthetic(config, source, workspace.target)
    metadata = published_metadata(workspace.target)
    if metadata is None or config.overwrite:
        return None
    _check_same(config, source, workspace, metadata, fingerprints)
    lengths = shard_lengths(workspace.target)
    return BuildResult(
        path=workspace.target,
        metadata=metadata,
        num_examples={name: sum(counts) for name, counts in lengths.items()},
        num_shards=sum(map(len, lengths.values())),
        up_to_date=True,
    )


def _what_differs(config: BuildConfig, source: Manifest, metadata: Mapping[str, Any]) -> str:
    """Returns in words how a published dataset with another fingerprint differs from the one to build."""
    if not metadata.get("fingerprint"):
        return "no fingerprint, which this project did not build"
    expected = config.parameters(len(source.examples))
    differ = [name for name, value in expected.items() if metadata.get(name, value) != value]
    if not differ:
        return "other input: other images, labels, schema or kept split"
    listed = (f"{name} {json.dumps(metadata[name])} published, {json.dumps(expected[name])} wanted" for name in differ)
    return f"other parameters ({'; '.join(listed)})" if differ != ["groups_sha256"] else "another table of groups"


def _check_same(
    config: BuildConfig, source: Manifest, workspace: Workspace, metadata: dict[str, Any], fingerprints: Sequence[str]
) -> None:
    target, actual = workspace.target, metadata.get("fingerprint")
    if actual not in fingerprints:
        raise AlreadyPublished(
            f"{target}: holds a dataset of {_what_differs(config, source, metadata)}; "
            "use another data directory, or --overwrite to replace it"
        )
    if ids := provenance.changed_since_published(source, workspace, check_content=config.check_content):
        raise AlreadyPublished(
            f"{target}: was built from other images of {provenance.first_ids(ids)}, which have changed since; "
            "use another data directory, or --overwrite to replace it"
        )


def tidy(workspace: Workspace, source: Manifest) -> None:
    """Completes what a build killed just after publishing left undone; the dataset must be that of this source."""
    _write_default_config(workspace.target.parent.parent)
    provenance.write_listing(workspace, source)
    workspace.clean_up()


def _check_synthetic(config: BuildConfig, source: Manifest, target: Place) -> None:
    """A synthetic dataset is never built where a real one is expected, nor beside one."""
    kind = {True: "synthetic", False: "real"}
    for other in (folder / VERSION for folder in files.folders(target.parent.parent)):
        metadata = published_metadata(other) or {}
        if metadata.get("synthetic", source.synthetic) != source.synthetic:
            raise AlreadyPublished(
                f"{other}: holds {kind[not source.synthetic]} images, and this source is "
                f"{kind[source.synthetic]}; build it in a separate data directory"
            )
    if source.synthetic and config.data_dir.absolute() == data_dirs.tfds_default():
        raise InputError(
            f"{config.data_dir}: is where TFDS looks by default, and this source is synthetic; "
            "build it in a separate data directory, so that it is never taken for real images"
        )


def publish(
    config: BuildConfig,
    source: Manifest,
    workspace: Workspace,
    tasks: Sequence[Task],
    reports: Sequence[ShardReport],
    metadata: Mapping[str, Any],
) -> None:
    """Completes the dataset and makes it appear at its target.

    Raises:
      InputError: the table of groups changed while the dataset was built.
      OSError: a file cannot be written.
    """
    with files.named_errors(workspace.target), workspace.completing() as folder:
        if config.groups:
            _copy_groups(config.groups, folder / GROUPS, metadata)
        kept.write(folder / SPLIT, {example.id: task.plan.split for task in tasks for example in task.plan.examples})
        labels.write(folder / LABELS, tasks, reports)
        if config.schema.published_columns:
            _write_columns(folder / COLUMNS, source)
        if bad := [row for report in reports for row in report.bad]:
            quarantine.write_table(folder / QUARANTINE, bad)
        provenance.write_sources(folder / SOURCES, tasks, reports)
        tfds_metadata.write_dataset_info(folder, tasks, reports, config.schema, metadata)
        digests = {path.name: files.sha256_of(path) for path in folder.iterdir() if not is_shard(path.name)}
        digests |= {report.filename: report.sha256 for report in reports}
        _write_croissant(folder / CROISSANT, config, digests, metadata)
        _write_checksums(folder, digests)
        workspace.publish(folder)
    tidy(workspace, source)


def _copy_groups(groups: Place, copy: Path, metadata: Mapping[str, Any]) -> None:
    data = groups.read_bytes()
    if hashlib.sha256(data).hexdigest() != metadata["groups_sha256"]:
        raise InputError(f"{groups}: changed while the dataset was built; run the same command again")
    copy.write_bytes(data)


def _write_croissant(path: Path, config: BuildConfig, digests: dict[str, str], metadata: Mapping[str, Any]) -> None:
    """Writes the Croissant description of all files in `digests`, and adds its own digest to them."""
    text = croissant.document(config.schema, config.size, digests, synthetic=metadata["synthetic"]).encode()
    with files.replacing(path) as file:
        file.write(text)
    digests[path.name] = hashlib.sha256(text).hexdigest()


def _write_checksums(folder: Path, digests: Mapping[str, str]) -> None:
    with files.replacing(folder / CHECKSUMS) as file:
        file.write("".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode())


def _write_columns(path: Path, source: Manifest) -> None:
    """Writes a CSV of the group columns and of the columns to carry along, by id."""
    names = source.schema.published_columns
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Id", *names])
    columns = [source.columns[name] for name in names]
    writer.writerows([example.id, *(of[example.id] for of in columns)] for example in source.examples)
    with files.replacing(path) as file:
        file.write(text.getvalue().encode())


def _holds_dataset(folder: Place) -> bool:
    """Returns whether a version is published in a configuration's folder, which may hold only an unfinished build."""
    return any((version / INFO).exists() for version in files.folders(folder) if version.name[:1].isalnum())


def _write_default_config(dataset_root: Place) -> None:
    # Lets `tfds.load("hpa_stacked")` find a configuration without our code; the format is TFDS's.
    names = [path.name for path in files.folders(dataset_root) if path.name[:1].isalnum() and _holds_dataset(path)]
    sizes = sorted((name for name in names if name.isascii() and name.isdigit()), key=int)
    default = str(DEFAULT_SIZE) if str(DEFAULT_SIZE) in sizes else (sizes or sorted(names))[0]
    path, data = dataset_root / ".config" / METADATA, json.dumps({"default_config_name": default}).encode()
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        pass
    with files.replacing(path) as file:
        file.write(data)
