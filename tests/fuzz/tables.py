"""Targets `labels` and `groups`: CSV tables, read again by a short parser of the same rules."""

import csv
import io
import random
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import InputError, shown
from pipeline.plan import kept, table
from pipeline.schema import HPA_KAGGLE_2018, SPLITS, Schema, parse
from tests.fuzz import mutations
from tests.fuzz.target import Case, Wrong, expect

_TOKENS = [
    b"\xef\xbb\xbf", b"\r\n", b"\r", b"\n", b",", b'"', b'""', b"\0", b"\xff", b" ", b"  ", b"\t", b"Id", b"Target", b"28", b"-1",
    b"0x1", b"1e3", b"\xd9\xa1", b"/", b"..", b"../x", b"=1+1", b"@", b"+", b"\x1b[31m", b"\xe2\x80\xae", b"a" * 250, b"9" * 5000,
    b";", b"|", b"\x85", b"\xe2\x80\xa8", b"Group", b"1 1", b"0 27",
]  # fmt: skip

NAMED = """
name = "named"
classes = ["dna", "golgi", "er lumen"]
images.pattern = "{id}_{channel}.png"
table = { file = "t.csv", id = "Id", labels = "Class", separator = "|", groups = ["Slide"] }
channels = [{ name = "red" }, { name = "green" }]
"""
SINGLE = NAMED.replace('"named"', '"single"\nlabels = "single"').replace('["Slide"]', "[]")

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def may_be_id(text: str) -> bool:
    """Returns whether a cell is an id, by the rule in words of `names.check_id`."""
    return len(text) <= 200 and ".." not in text and all(_ID.fullmatch(part) for part in text.split("/"))


class Labels:
    """Tables of up to six rows, of three schemas; the first byte of a case says which."""

    def __init__(self, folder: Path):
        self.path = folder / "train.csv"
        self.schemas = [HPA_KAGGLE_2018, parse.parse(NAMED, "named"), parse.parse(SINGLE, "single")]
        self.counts: dict[str, int] = {}

    def draw(self, rng: random.Random) -> Case:
        which = rng.choice((0, 0, 1, 2))
        rows = _rows(rng, self.schemas[which])
        data = _to_csv(rng, rows)
        if rng.random() < 0.1:
            return Case(bytes([which]) + data, True)
        data = _to_csv(rng, _damaged_rows(rng, rows)) if rng.random() < 0.4 else mutations.damage(rng, data, _TOKENS)
        return Case(bytes([which]) + data)

    def check(self, case: Case) -> str:
        schema = self.schemas[case.data[0] % 3] if case.data else HPA_KAGGLE_2018
        self.path.write_bytes(case.data[1:])
        try:
            found = table.read_table(self.path, schema)
        except InputError as error:
            expect(case.intact is None, "an intact table was refused:", error)
            _check_message(error)
            _expect_refused(case.data[1:], schema)
            return "refused"
        expected = naive(case.data[1:], schema)
        expect(
            {example.id: example.labels for example in found.examples} == expected, "other rows than the short parser"
        )
        return "accepted"


def _check_message(error: Exception) -> None:
    text = shown(str(error))
    expect(len(text) < 20_000 and "\x1b" not in text and "\0" not in text, "a message of", len(text))


def _expect_refused(data: bytes, schema: Schema) -> None:
    try:
        naive(data, schema)
    except (ValueError, csv.Error):
        return
    raise Wrong("refused, but the short parser accepts it")


def naive(data: bytes, schema: Schema) -> dict[str, tuple[int, ...]]:
    """Returns `{id: labels}`; raises `ValueError` or `csv.Error` for a table that does not follow the rules."""
    header, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) or [[]]
    names = [schema.table.id, schema.table.labels, *schema.table.groups]
    columns = [header.index(name) for name in names]
    found: dict[str, tuple[int, ...]] = {}
    for row in rows:
        key, cell = (
            row[columns[0]] if len(row) == len(header) else "",
            row[columns[1]] if len(row) == len(header) else "",
        )
        if len(row) != len(header) or not may_be_id(key) or key in found:
            raise ValueError(row)
        found[key] = naive_labels(cell, schema)
    if not found or any(header.count(name) > 1 for name in names):
        raise ValueError("no rows, or a column twice")
    return found


def naive_labels(cell: str, schema: Schema) -> tuple[int, ...]:
    separator = None if schema.table.separator == " " else schema.table.separator
    words = [cell.strip()] if schema.single_label else [word.strip() for word in cell.split(separator) if word.strip()]
    labels = [number(word) if schema.table.numbers else schema.classes.index(word) for word in words]
    if not labels or len(set(labels)) < len(labels) or max(labels) >= schema.num_classes:
        raise ValueError(cell)
    return tuple(sorted(labels))


def number(word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise ValueError(word)
    return int(word)


def _rows(rng: random.Random, schema: Schema) -> list[list[str]]:
    header = [schema.table.id, schema.table.labels, *schema.table.groups]
    rows = [header]
    for index in range(rng.randint(1, 6)):
        labels = rng.sample(range(schema.num_classes), 1 if schema.single_label else rng.randint(1, 3))
        words = [str(label) if schema.table.numbers else schema.classes[label] for label in labels]
        cells = [
            f"ex-{index}",
            schema.table.separator.join(words),
            *(f"s{rng.randrange(3)}" for _ in schema.table.groups),
        ]
        rows.append(cells)
    return rows


def _damaged_rows(rng: random.Random, rows: list[list[str]]) -> list[list[str]]:
    rows = [list(row) for row in rows]
    row = rng.choice(rows)
    match rng.randrange(6):
        case 0:
            row[rng.randrange(len(row))] = rng.choice(mutations.TEXTS)
        case 1:
            row.insert(rng.randrange(len(row) + 1), rng.choice(("", "x", *row)))
        case 2:
            del row[rng.randrange(len(row))]
        case 3:
            rows.insert(rng.randrange(len(rows) + 1), list(rng.choice(rows)))
        case 4:
            rows.insert(rng.randrange(len(rows) + 1), [])
        case _:
            place = rng.randrange(len(row))
            row[place] += rng.choice((" ", " 0", " 28", "|dna", ".", "\t", "٣", "x", "/y", "/../y"))
    return rows


def _to_csv(rng: random.Random, rows: Sequence[Sequence[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator=rng.choice(("\n", "\r\n")), quoting=rng.choice((0, 0, 1))).writerows(rows)
    text = file.getvalue()
    return (b"\xef\xbb\xbf" if rng.random() < 0.2 else b"") + text.encode(errors="surrogatepass")


class Groups:
    """Tables `Id,Group` of ids that are in a label table, or not."""

    def __init__(self, folder: Path):
        self.path = folder / "groups.csv"
        self.examples = [table.Example(f"ex-{index}", (0,)) for index in range(6)]

    def draw(self, rng: random.Random) -> Case:
        ids = rng.sample(range(6), rng.randint(1, 6))
        rows = [["Id", "Group"], *([f"ex-{index}", rng.choice(("a", "b", "ü", "a b", "0"))] for index in ids)]
        data = _to_csv(rng, rows)
        match rng.randrange(10):
            case 0:
                return Case(data, True)
            case 1 | 2 | 3:
                return Case(_to_csv(rng, _damaged_rows(rng, rows)))
            case _:
                return Case(mutations.damage(rng, data, _TOKENS))

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        try:
            found = table.read_groups(self.path, self.examples)
        except InputError as error:
            expect(case.intact is None, "an intact table was refused:", error)
            _check_message(error)
            return "refused"
        expect(found.of == self._naive(case.data), "other groups than the short parser")
        return "accepted"

    def _naive(self, data: bytes) -> dict[str, str]:
        header, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        expect(sorted(name for name in header if name in ("Id", "Group")) == ["Group", "Id"], "header", header)
        expect({len(row) for row in rows} <= {len(header)}, "rows of other lengths than the header")
        groups = {row[header.index("Id")]: row[header.index("Group")].strip() for row in rows}
        expect(len(groups) == len(rows) and set(groups) <= {example.id for example in self.examples}, "ids", groups)
        return groups


class Split:
    """Tables `Id,Split` of an earlier split."""

    def __init__(self, folder: Path):
        self.path = folder / "split.csv"

    def draw(self, rng: random.Random) -> Case:
        rows = [["Id", "Split"], *([f"ex-{index}", rng.choice(SPLITS)] for index in range(rng.randint(1, 6)))]
        data = _to_csv(rng, rows)
        match rng.randrange(10):
            case 0:
                return Case(data, dict(rows[1:]))
            case 1 | 2 | 3:
                return Case(_to_csv(rng, _damaged_rows(rng, rows)))
            case _:
                return Case(mutations.damage(rng, data, [*_TOKENS, b"Split", b"train", b"dev"]))

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        try:
            found = kept.read(self.path)
        except InputError as error:
            expect(case.intact is None, "an intact table was refused:", error)
            _check_message(error)
            return "refused"
        header, *rows = csv.reader(io.StringIO(case.data.decode("utf-8-sig"), newline=""))
        expected = {row[header.index("Id")]: row[header.index("Split")] for row in rows}
        expect(found == expected and len(rows) == len(found), "other rows than the short parser")
        expect(set(found.values()) <= set(SPLITS), "splits", found.values())
        return "accepted"
