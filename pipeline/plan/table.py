"""Reads the label table as examples, and reports every problem in it.

All problems of a table are reported in one message, so that a large table need not be fixed one error at a time.
"""

import csv
import dataclasses
import difflib
import functools
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.errors import InputError
from pipeline.images import zips
from pipeline.images.names import check_id
from pipeline.schema import HPA_KAGGLE_2018, Schema
from pipeline.schema.declared import placeholders
from pipeline.store.files import Place

MAX_LISTED = 10
NEAR = 0.5  # least similarity at which a class is suggested for a label
MAX_SHOWN = 120  # characters of a row or header in a message


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """One row of the label table.

    `labels` are class ids, ascending, without repeats. `files` are the names of its files, in the order of
    `schema.sources()`; empty where they follow from the id (`schema.files`).
    """

    id: str
    labels: tuple[int, ...]
    files: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """`examples` are sorted by id; `columns` is `{column: {id: value}}` of the schema's further columns."""

    examples: list[Example]
    columns: Mapping[str, Mapping[str, str]]


def read_labels(path: Place, schema: Schema = HPA_KAGGLE_2018) -> list[Example]:
    """Returns the examples of a label table; see `read_table`."""
    return read_table(path, schema).examples


def read_table(path: Place, schema: Schema) -> LabelTable:
    """Reads a label table, a CSV with a header; in a zip, the member that the schema names.

    A byte order mark, CRLF line ends and labels in any order are accepted.

    Raises:
      InputError: naming the file and every bad row (ten at most).
    """
    examples: dict[str, Example] = {}
    columns: dict[str, dict[str, str]] = {name: {} for name in schema.further_columns}
    rows: dict[str, int] = {}
    problems: list[str] = []
    for parsed in _parse_rows(path, schema):
        if isinstance(parsed, str):
            problems.append(parsed)
            continue
        number, example, values = parsed
        if example.id in rows:
            problems.append(f"row {number}: id '{example.id}' is already in row {rows[example.id]}; keep one of them")
            continue
        rows[example.id] = number
        examples[example.id] = example
        for name, of in columns.items():
            of[example.id] = values[name]
    if problems:
        raise InputError(f"{path}: {summary(problems, 'bad rows')}")
    if not examples:
        cell = "16 0" if schema.table.numbers and not schema.single_label else schema.classes[0]
        raise InputError(f"{path}: no rows after the header, expected one example a row like 'some-id,{cell}'")
    return LabelTable(sorted(examples.values(), key=lambda example: example.id), columns)


@dataclasses.dataclass(frozen=True)
class GroupTable:
    """`of` is `{id: group}`; `num_extra` counts ids that were left out because the label table does not have them."""

    of: dict[str, str]
    num_extra: int


def read_groups(path: Place, examples: Sequence[Example], *, extra: str = "error") -> GroupTable:
    """Reads a CSV with header `Id,Group`; ids that are not in it have no group.

    `extra` says what to do with ids that are not in the label table: "error" or "ignore".

    Raises:
      InputError: a row that is not 'id,group', a repeated id, or one that is not in the label table.
    """
    known = {example.id for example in examples}
    groups: dict[str, str] = {}
    problems: list[str] = []
    place, num_columns, rows = read_rows(path, ("Id", "Group"))
    for number, row in rows:
        if len(row) != num_columns or not row[place["Group"]].strip():
            problems.append(f"row {number}: expected 'id,group', found {cut(','.join(row))!r}")
            continue
        example_id, group = row[place["Id"]], row[place["Group"]].strip()
        if example_id not in known and extra == "error":
            problems.append(
                f"row {number}: id '{cut(example_id)}' is not in the label table (--groups-extra ignore skips it)"
            )
        elif example_id in groups:
            problems.append(f"row {number}: id '{example_id}' already has a group; keep one of its rows")
        else:
            groups[example_id] = group
    if problems:
        raise InputError(f"{path}: {summary(problems, 'bad rows')}")
    of = {example_id: group for example_id, group in groups.items() if example_id in known}
    return GroupTable(of, len(groups) - len(of))


def summary(problems: Sequence[str], what: str) -> str:
    """Returns one problem as it is, several as a count and a list of at most ten."""
    if len(problems) == 1:
        return problems[0]
    lines = [f"{len(problems)} {what}", *(f"  {problem}" for problem in problems[:MAX_LISTED])]
    if len(problems) > MAX_LISTED:
        lines.append(f"  ... and {len(problems) - MAX_LISTED} more")
    return "\n".join(lines)


def count_labels(examples: Sequence[Example], num_classes: int) -> list[int]:
    """Returns the number of examples of each class."""
    counts = [0] * num_classes
    for example in examples:
        for label in example.labels:
            counts[label] += 1
    return counts


def read_rows(
    path: Place, required: Sequence[str], member: str = ""
) -> tuple[dict[str, int], int, Iterator[tuple[int, list[str]]]]:
    """Returns the positions of the required columns, how many columns there are, and (line number, row) of each row."""
    expected = ",".join(required)
    try:
        # utf-8-sig: spreadsheets write a byte order mark before the header.
        text = _read(path, member).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""))
        header = next(reader, None)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a CSV with the header '{expected}'") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a CSV with the header '{expected}'") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save the table as UTF-8 CSV") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV ({error})") from None
    if header is None:
        raise InputError(f"{path}: the file is empty, expected the header '{expected}'")
    if any(name not in header for name in required):
        raise InputError(f"{path}: the header is '{cut(','.join(header))}', expected '{expected}'")
    for name in required:
        if header.count(name) > 1:
            raise InputError(f"{path}: the header has column '{name}' {header.count(name)} times, expected once")
    return {name: header.index(name) for name in required}, len(header), _numbered(path, reader)


def _numbered(path: Place, reader: Any) -> Iterator[tuple[int, list[str]]]:
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV ({error})") from None


def _read(path: Place, member: str) -> bytes:
    """Returns the bytes of a table; `member` is its name if `path` is a zip."""
    if not path.name.endswith(".zip"):
        return path.read_bytes()
    return zips.read(path, member)


def _parse_rows(path: Place, schema: Schema) -> Iterator[tuple[int, Example, dict[str, str]] | str]:
    """Yields (line number, example, further columns) of each row, or what is wrong with it."""
    table, wanted = schema.table, schema.further_columns
    place, num_columns, rows = read_rows(path, schema.columns, table.file)
    own = [name for name in wanted if name not in table.derived]
    split_id = _id_splitter(table.id_pattern)
    parse_labels = _label_parser(schema)
    for number, row in rows:
        try:
            if not row or row == [""]:
                raise ValueError("blank row; remove it")
            if len(row) != num_columns:
                raise ValueError(f"{len(row)} columns, expected {num_columns} like the header: {cut(','.join(row))!r}")
            example_id = row[place[table.id]]
            check_id(example_id)
            labels = parse_labels(example_id, row[place[table.labels]])
            columns = {name: row[place[name]].strip() for name in own}
            yield number, Example(example_id, labels), {**columns, **split_id(example_id)}
        except ValueError as error:
            yield f"row {number}: {error}"


def _id_splitter(pattern: str | None) -> Callable[[str], dict[str, str]]:
    if pattern is None:
        return lambda example_id: {}
    names = placeholders(pattern)
    expression = re.escape(pattern)
    for name in names:
        expression = expression.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>[^/]+?)", 1)
    compiled = re.compile(expression)

    def split(example_id: str) -> dict[str, str]:
        if found := compiled.fullmatch(example_id):
            return found.groupdict()
        raise ValueError(f"id '{example_id}' does not have the form '{pattern}'")

    return split


def _label_parser(schema: Schema) -> Callable[[str, str], tuple[int, ...]]:
    """Returns the function from (id, cell of labels) to class ids, ascending."""
    parse = _number_parser(schema) if schema.table.numbers else _name_parser(schema)
    separator = None if schema.table.separator == " " else schema.table.separator
    single = schema.single_label

    @functools.lru_cache(maxsize=1 << 16)  # a million rows hold few distinct cells
    def parse_cell(cell: str) -> tuple[int, ...]:
        words = [cell.strip()] if single else [word.strip() for word in cell.split(separator)]
        words = [word for word in words if word]
        if not words:
            raise ValueError(f"has no labels, expected {_expected(schema)}")
        labels = sorted(map(parse, words))
        for first, second in itertools.pairwise(labels):
            if first == second:
                raise ValueError(
                    f"has label {schema.classes[first] if not schema.table.numbers else first} more than once"
                )
        return tuple(labels)

    def parse_row(example_id: str, cell: str) -> tuple[int, ...]:
        try:
            return parse_cell(cell)
        except ValueError as error:
            raise ValueError(f"id '{example_id}' {error}") from None

    return parse_row


def _expected(schema: Schema) -> str:
    many = (
        ""
        if schema.single_label
        else f" separated by {'spaces' if schema.table.separator == ' ' else repr(schema.table.separator)}"
    )
    if schema.table.numbers:
        return f"class id{'' if schema.single_label else 's'} 0..{schema.num_classes - 1}{many}"
    return f"class name{'' if schema.single_label else 's'}{many}"


def _number_parser(schema: Schema) -> Callable[[str], int]:
    last = schema.num_classes - 1

    def parse(word: str) -> int:
        if not (word.isascii() and word.isdigit()):
            raise ValueError(f"has label '{cut(word)}', expected a whole number 0..{last}")
        if len(word) > 9 or int(word) > last:
            raise ValueError(f"has label {cut(word)}, expected 0..{last} ({schema.classes[last]})")
        return int(word)

    return parse


def _name_parser(schema: Schema) -> Callable[[str], int]:
    ids = {name: index for index, name in enumerate(schema.classes)}

    def parse(word: str) -> int:
        if word in ids:
            return ids[word]
        near = difflib.get_close_matches(word, ids, n=1, cutoff=NEAR)
        known = f"; the nearest is '{near[0]}'" if near else ""
        if not near and len(ids) <= MAX_LISTED:
            known = "; the classes are " + ", ".join(f"'{cut(name)}'" for name in ids)
        raise ValueError(
            f"has label '{cut(word)}', which is not a class of schema '{schema.name}'{known}; "
            "correct it, or add it to classes in the schema"
        )

    return parse


def cut(text: str) -> str:
    """Returns text, shortened for a message."""
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
