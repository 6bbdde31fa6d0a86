"""Verifies that a published dataset is still what was published.

Reads every byte once: files against `SHA256SUMS`, records against their own checksums, contents against the metadata.
Any flipped byte is found and named by file and, in a TFRecord file, by record.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from pipeline.dataset import labels as label_table
from pipeline.dataset import publish
from pipeline.errors import InputError
from pipeline.images.names import check_id
from pipeline.schema import DEFAULT_SIZE, NAME, VERSION
from pipeline.store import files
from pipeline.store.files import Place, Stored
from pipeline.store.layout import CHECKSUMS, LABELS, is_shard
from pipeline.write import records, shard_files

OnProgress = Callable[[int, int], None]


def verify(directory: Place, on_progress: OnProgress = lambda done, total: None) -> list[str]:
    """Returns every problem of the dataset in `directory`; empty if it is intact.

    Args:
      directory: of one version, `.../hpa_stacked/256/1.0.0`.
      on_progress: called with (examples read, examples in total).

    Raises:
      InputError: there is no dataset, or it was replaced while it was read.
    """
    before = _stored_sums(directory)
    problems = list(_problems(directory, _read_sums(directory), on_progress))
    if problems and _stored_sums(directory) != before:
        raise InputError(f"{directory}: was replaced while it was read; run the same command again")
    return problems


def _problems(directory: Place, sums: bytes, on_progress: OnProgress) -> Iterator[str]:
    digests, problems = _parse_sums(sums)
    yield from problems
    present = files.listing(directory).keys() - {CHECKSUMS}
    for name in sorted(digests.keys() - present):
        yield f"{name}: listed in {CHECKSUMS}, but does not exist"
    for name in sorted(present - digests.keys()):
        yield f"{name}: not listed in {CHECKSUMS}"
    for name in sorted(present & digests.keys()):
        if not is_shard(name):
            yield from _verify_file(directory / name, digests[name])
    try:
        form = _form(publish.published_metadata(directory) or {})
        lengths = publish.shard_lengths(directory)
    except InputError as error:
        yield f"{error}: shards not checked"
        return
    except (AttributeError, KeyError, TypeError, ValueError, OSError, OverflowError) as error:
        yield f"dataset_info.json or metadata.json cannot be read ({error!r}): shards not checked"
        return
    yield from _verify_shards(directory, present, digests, lengths, form, on_progress)


def _verify_file(path: Place, digest: str) -> Iterator[str]:
    try:
        if files.sha256_of(path) != digest:
            yield f"{path.name}: changed since it was published (its SHA-256 differs)"
    except FileNotFoundError:
        yield f"{path.name}: removed while it was read"


@dataclasses.dataclass(frozen=True)
class _Form:
    """What every record of a dataset has."""

    num_bytes: int
    num_classes: int
    single_label: bool
    has_vector: bool
    file_format: str


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What was read so far: the shard of each id, and the digest of the table of labels."""

    shard_of: dict[str, str] = dataclasses.field(default_factory=dict)
    labels: label_table.Digest = dataclasses.field(default_factory=label_table.Digest)


def _form(metadata: Mapping[str, Any]) -> _Form:
    """Returns what every record has; raises `KeyError`, `TypeError` or `ValueError` for damaged metadata."""
    size, depth = int(metadata["size"]), metadata.get("schema", {}).get("depth")
    return _Form(
        num_bytes=size * size * len(metadata["channels"]) * (2 if depth == "uint16" else 1),
        num_classes=len(metadata["class_names"]),
        single_label=bool(metadata.get("single_label", False)),
        has_vector=metadata["dataset_version"] != "1.0.0",
        file_format=str(metadata.get("file_format", "tfrecord")),
    )


def _stored_sums(directory: Place) -> Stored | None:
    """Returns size, checksum and times of `SHA256SUMS`, which differ when a dataset has been replaced."""
    return files.listing(directory).get(CHECKSUMS)


def _read_sums(directory: Place) -> bytes:
    try:
        return (directory / CHECKSUMS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        found = f"no {CHECKSUMS} there" if directory.is_dir() else "no such folder"
        raise InputError(
            f"{directory}: {found}; expected the folder of one version of the dataset, "
            f"like data/{NAME}/{DEFAULT_SIZE}/{VERSION}"
        ) from None


def _parse_sums(data: bytes) -> tuple[dict[str, str], list[str]]:
    """Returns `{file name: SHA-256}` and the problems of the list itself."""
    try:
        lines = data.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        return {}, [f"{CHECKSUMS}: not text"]
    digests, problems = {}, []
    for number, line in enumerate(lines, 1):
        digest, gap, name = line.partition("  ")
        if len(digest) == 64 and gap and name and "/" not in name:
            digests[name] = digest
        else:
            problems.append(f"{CHECKSUMS}: line {number} is not 'digest  name'")
    return digests, problems


def _verify_shards(
    directory: Place,
    present: Set[str],
    digests: dict[str, str],
    lengths: dict[str, list[int]],
    form: _Form,
    on_progress: OnProgress,
) -> Iterator[str]:
    seen, intact = _Seen(), True
    total, done = sum(itertools.chain(*lengths.values())), 0
    for split, counts in lengths.items():
        for index, expected in enumerate(counts):
            name = f"{NAME}-{split}.{form.file_format}-{index:05d}-of-{len(counts):05d}"
            if name not in present:
                intact = False
                if name not in digests:
                    yield f"{name}: does not exist"
                continue
            problems = _verify_shard(directory / name, digests.get(name, ""), expected, form, seen, split)
            intact = intact and not problems
            yield from problems
            done += expected
            on_progress(done, total)
    if intact and seen.labels.hexdigest() != digests.get(LABELS, seen.labels.hexdigest()):
        yield f"{LABELS}: its rows are not the ids, splits and labels of the records in their order"


def _verify_shard(path: Place, digest: str, expected: int, form: _Form, seen: _Seen, split: str) -> list[str]:
    problems, count, actual = [], 0, hashlib.sha256()
    try:
        with files.reading(path) as file:
            for record in shard_files.of_file(path.name).read(file, actual):
                problems += [
                    f"{path.name}: record {count}: {p}" for p in _verify_record(record, form, path, seen, split)
                ]
                count += 1
        if count != expected:
            problems.append(f"{path.name}: {count} records, expected {expected} as dataset_info.json says")
    except records.RecordError as error:
        problems.append(f"{path.name}: {error}")
    except FileNotFoundError:
        problems.append(f"{path.name}: removed while it was read")
    if not problems and actual.hexdigest() != digest:
        problems.append(f"{path.name}: changed since it was published (its SHA-256 differs)")
    return problems


def _verify_record(data: bytes, form: _Form, path: Place, seen: _Seen, split: str) -> Iterator[str]:
    try:
        record = records.decode(data)
        check_id(record.id)
    except ValueError as error:
        yield str(error)
        return
    if record.id in seen.shard_of:
        yield f"id '{record.id}' is already in {seen.shard_of[record.id]}"
    seen.shard_of[record.id] = path.name
    seen.labels.add(record.id, split, record.labels)
    if len(record.image) != form.num_bytes:
        yield f"id '{record.id}': image of {len(record.image)} bytes, expected {form.num_bytes}"
    labels = list(record.labels)
    if not labels or labels != sorted(set(labels)) or labels[-1] >= form.num_classes:
        yield f"id '{record.id}': labels {labels}, expected ascending class ids 0..{form.num_classes - 1}"
        return
    if record.single != form.single_label or (form.single_label and len(labels) > 1):
        yield f"id '{record.id}': labels {labels}, expected {'exactly one' if form.single_label else 'a list'}"
    if record.label_vector != (records.label_vector(labels, form.num_classes) if form.has_vector else None):
        yield f"id '{record.id}': its label vector does not match the labels {labels}"
