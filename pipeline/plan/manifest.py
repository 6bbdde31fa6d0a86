"""The label table and the listing of the images, checked before any pixel is decoded.

Every problem of a table is reported in one message, so that a large source need not be fixed one error at a time.
"""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.errors import InputError, shortened
from pipeline.images import sources
from pipeline.schema import CLASS_NAMES, FILTERS, NUM_CLASSES, SYNTHETIC_PREFIX, VERSION
from pipeline.store.files import Place

HEADER = ("Id", "Target")
MAX_LISTED = 10

_SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """One row of the label table: `labels` are class ids 0..27, ascending, without repeats."""

    id: str
    labels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The input of a build.

    Attributes:
      examples: sorted by id.
      images: where the images are.
      file_bytes: `{id: sizes}`, the size in bytes of the file of each filter, in `FILTERS` order; -1 if it is missing.
      num_unlisted: image files whose id is not in the label table.
      stamps: `{id: number}` that stands for sizes and stamps (`sources.Entry`) of the files of each example.
    """

    examples: tuple[Example, ...]
    images: sources.Images
    file_bytes: Mapping[str, tuple[int, ...]]
    num_unlisted: int
    stamps: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        return any(example.id.startswith(SYNTHETIC_PREFIX) for example in self.examples)

    def missing(self) -> Iterator[tuple[str, str]]:
        """Yields (id, filter) of every missing image."""
        for example in self.examples:
            for name, num_bytes in zip(FILTERS, self.file_bytes[example.id], strict=True):
                if num_bytes < 0:
                    yield example.id, name

    def listed(self, examples: Iterable[Example]) -> str:
        """Returns what stands for the listing of the files of these examples; it changes if a file is replaced."""
        rows = "".join(f"{example.id} {self.stamps[example.id]:x}\n" for example in examples)
        return hashlib.sha256(rows.encode()).hexdigest()

    def relisted(self) -> "Manifest":
        """Returns the same examples with their images listed again."""
        return _listed(self.examples, self.images.fresh())

    def fingerprint(self, **parameters: object) -> str:
        """SHA-256 (hex) of everything that decides the published bytes: labels, listing, parameters, version.

        It does not depend on the order of the rows, nor on whether the images are in a folder or in a zip.
        """
        digest = hashlib.sha256(json.dumps([VERSION, parameters], sort_keys=True).encode())
        for example in self.examples:
            digest.update(json.dumps([example.id, example.labels, self.file_bytes[example.id]]).encode())
        return digest.hexdigest()


def read(labels_path: Place, images: sources.Images) -> Manifest:
    """Reads the label table and lists the images.

    Raises:
      InputError: a table that cannot be used. Missing images raise no error here, see `Manifest.missing`.
    """
    examples = read_labels(labels_path)
    manifest = _listed(tuple(examples), images)
    num_synthetic = sum(example.id.startswith(SYNTHETIC_PREFIX) for example in examples)
    if 0 < num_synthetic < len(examples):
        raise InputError(
            f"{labels_path}: {num_synthetic} of {len(examples)} ids start with '{SYNTHETIC_PREFIX}'; "
            "drawn and real examples cannot be mixed: build them separately"
        )
    return manifest


def read_labels(path: Place) -> list[Example]:
    """Returns the examples of a label table (CSV, header `Id,Target`), sorted by id.

    A byte order mark, CRLF line ends and labels in any order are accepted.

    Raises:
      InputError: naming the file and every bad row (ten at most).
    """
    examples: dict[str, Example] = {}
    rows: dict[str, int] = {}
    problems: list[str] = []
    for number, row in _rows(path, HEADER):
        try:
            example = _parse_row(row)
            if example.id in rows:
                raise ValueError(f"id '{example.id}' is already in row {rows[example.id]}; keep one of them")
            rows[example.id] = number
            examples[example.id] = example
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    if problems:
        raise InputError(f"{path}: {summary(problems, 'bad rows')}")
    if not examples:
        raise InputError(f"{path}: no rows after the header, expected one example a row like 'some-id,16 0'")
    return sorted(examples.values(), key=lambda example: example.id)


def read_groups(path: Place, examples: Sequence[Example]) -> dict[str, str]:
    """Returns `{id: group}` from a CSV with header `Id,Group`; ids that are not in it have no group.

    Raises:
      InputError: a row that names an id twice, or one that is not in the label table.
    """
    known = {example.id for example in examples}
    groups: dict[str, str] = {}
    problems: list[str] = []
    for number, row in _rows(path, ("Id", "Group")):
        if len(row) != 2 or not row[1].strip():
            problems.append(f"row {number}: expected 'id,group', found {shortened(','.join(row))!r}")
        elif row[0] not in known:
            problems.append(f"row {number}: id '{shortened(row[0])}' is not in the label table")
        elif row[0] in groups:
            problems.append(f"row {number}: id '{row[0]}' already has a group; keep one of its rows")
        else:
            groups[row[0]] = row[1].strip()
    if problems:
        raise InputError(f"{path}: {summary(problems, 'bad rows')}")
    return groups


def summary(problems: Sequence[str], what: str) -> str:
    """Returns one problem as it is, several as a count and a list of at most ten."""
    if len(problems) == 1:
        return problems[0]
    lines = [f"{len(problems)} {what}", *(f"  {problem}" for problem in problems[:MAX_LISTED])]
    if len(problems) > MAX_LISTED:
        lines.append(f"  ... and {len(problems) - MAX_LISTED} more")
    return "\n".join(lines)


def count_labels(examples: Iterable[Example]) -> list[int]:
    """Returns the number of examples of each class, a list of 28."""
    counts = [0] * NUM_CLASSES
    for example in examples:
        for label in example.labels:
            counts[label] += 1
    return counts


def _rows(path: Place, header: tuple[str, str]) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, columns) of each row after the header."""
    expected = ",".join(header)
    try:
        # utf-8-sig: spreadsheets write a byte order mark before the header.
        reader = csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
        first = next(reader, None)
        if first is None:
            raise InputError(f"{path}: the file is empty, expected the header '{expected}'")
        if tuple(first) != header:
            raise InputError(f"{path}: the header is '{shortened(','.join(first))}', expected '{expected}'")
        for row in reader:
            yield reader.line_num, row
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a CSV with the header '{expected}'") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a CSV with the header '{expected}'") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save the table as UTF-8 CSV") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV ({error})") from None


def _parse_row(row: list[str]) -> Example:
    if not row or row == [""]:
        raise ValueError("blank row; remove it")
    if len(row) != 2:
        raise ValueError(f"{len(row)} columns, expected 2 (id,labels): {shortened(','.join(row))!r}")
    example_id, target = row
    check_id(example_id)
    return Example(example_id, _parse_target(example_id, target))


def check_id(example_id: str) -> None:
    """Raises `ValueError` unless the id is safe as part of a file name on every file system."""
    if not _SAFE_ID.fullmatch(example_id) or ".." in example_id:
        raise ValueError(
            f"id {shortened(example_id, 300)!r} cannot be part of a file name; expected letters, digits, '-', '_' or '.', "
            "not starting with '-' or '.', without '..', 200 characters at most"
        )


def _parse_target(example_id: str, target: str) -> tuple[int, ...]:
    words = target.split()
    if not words:
        raise ValueError(f"id '{example_id}' has no labels, expected class ids 0..27 separated by spaces")
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise ValueError(f"id '{example_id}' has label '{shortened(word)}', expected a whole number 0..27")
        if len(word) > 9 or int(word) >= NUM_CLASSES:
            last = NUM_CLASSES - 1
            raise ValueError(f"id '{example_id}' has label {shortened(word)}, expected 0..{last} ({CLASS_NAMES[last]})")
    labels = sorted(int(word) for word in words)
    for first, second in itertools.pairwise(labels):
        if first == second:
            raise ValueError(f"id '{example_id}' has label {first} more than once")
    return tuple(labels)


def _listed(examples: tuple[Example, ...], images: sources.Images) -> Manifest:
    """Returns the manifest of these examples with their images as a listing shows them now."""
    column = {name: k for k, name in enumerate(FILTERS)}
    file_bytes = {example.id: (-1,) * len(FILTERS) for example in examples}
    stamps = dict.fromkeys(file_bytes, 0)
    num_unlisted = 0
    for name, num_bytes, stamp in images.entries():
        stem, dot, extension = name.rpartition(".")
        example_id, _, filter_name = stem.rpartition("_")
        if not dot or extension != "png" or filter_name not in column:
            continue
        if example_id not in file_bytes:
            num_unlisted += 1
            continue
        row = list(file_bytes[example_id])
        row[column[filter_name]] = num_bytes
        file_bytes[example_id] = tuple(row)
        stamps[example_id] ^= _hash(f"{filter_name}/{num_bytes}/{stamp}")  # files are listed in any order
    return Manifest(examples, images, file_bytes, num_unlisted, stamps)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
