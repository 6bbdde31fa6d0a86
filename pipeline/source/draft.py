"""Drafts a schema from a folder of images and a table, for the user to correct."""

import csv
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import InputError, MissingError
from pipeline.images import formats, sources
from pipeline.images.limits import BadImage
from pipeline.schema import Channel, Schema, Table
from pipeline.schema.declared import COLOURS
from pipeline.store import files
from pipeline.store.files import Place

NUM_ROWS = 40
"""Rows used to match the names of files with the table."""

NUM_IMAGES = 10
"""Images that are decoded to see how many planes and bits they have."""

LABEL_WORDS = ("target", "label", "class", "phenotype", "locali", "location", "categor", "annotation", "moa")
GROUP_WORDS = ("patient", "donor", "antibody", "slide", "plate", "batch")
_PALETTE = ("blue", "green", "red", "yellow", "magenta", "cyan", "orange", "white")

Rows = Sequence[Mapping[str, str]]


@dataclasses.dataclass(frozen=True)
class _Names:
    """How the names of files follow from the table: the id column, the pattern and the channels in it."""

    id: str
    folder: str
    pattern: str
    channels: tuple[str, ...]


def draft(folder: Place, table: str | None = None, name: str | None = None) -> Schema:
    """Returns a schema that fits a folder of images and a table in it, as far as they can be guessed.

    Args:
      folder: holds the table and, at any depth, the images.
      table: name of the table; needed if there are several.
      name: of the schema; by default that of the folder.

    Raises:
      InputError: no table, several tables, no images, or no column that the names of the images follow from.
    """
    table = table or _only_table(folder)
    rows = _read(folder / table)
    names = [path for path, _ in files.entries_below(folder) if path.lower().endswith(sources.ENDINGS)]
    if not names:
        raise InputError(f"{folder}: no images, expected files that end in {', '.join(sources.ENDINGS)}")
    found = _match(folder, rows, names)
    labels = _label_column(folder / table, rows, found)
    separator, numbers, classes, single = _labels([row[labels] for row in rows])
    planes, depth = _look(folder, [path for path in sorted(names) if path.startswith(found.folder)][:NUM_IMAGES])
    others = [column for column in rows[0] if column not in (found.id, labels) and column]
    groups = [column for word in GROUP_WORDS for column in others if word in column.lower()][:1]
    return Schema(
        name=_identifier(name or str(folder).rstrip("/").rpartition("/")[2] or "atlas"),
        channels=_channels(found, planes),
        classes=classes,
        table=Table(table, found.id, labels, separator, numbers, None, tuple(groups), tuple(others)),
        patterns=(found.pattern,),
        folder=found.folder.rstrip("/"),
        single_label=single,
        depth=depth,
        description="",
    )


def _only_table(folder: Place) -> str:
    tables = sorted(name for name in files.listing(folder) if name.lower().endswith(".csv"))
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise MissingError(f"{folder}: no label table, expected a CSV beside the images")
    raise InputError(f"{folder}: {len(tables)} tables ({', '.join(tables[:5])}); name the label table with --table")


def _read(path: Place) -> Rows:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save the table as UTF-8 CSV") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
    rows = [{key: value for key, value in row.items() if isinstance(value, str)} for row in reader]
    if not rows or len(reader.fieldnames or ()) < 2:
        raise InputError(f"{path}: expected a CSV with a header, a column of ids, one of labels, and rows")
    return rows


def _match(folder: Place, rows: Rows, names: Sequence[str]) -> _Names:
    """Returns how names follow from columns: from one with an id for each row, or from several together."""
    unique = [c for c in rows[0] if c and rows[0][c] and len({row.get(c, "") for row in rows}) == len(rows)]
    several = [column for column in rows[0] if column.isidentifier()]
    for columns in [*([column] for column in unique), several]:
        if usual := _usual_templates(rows[:NUM_ROWS], columns, names):
            break
    else:
        raise InputError(
            f"{folder}: no column of the table occurs in the names of the images (the first is {min(names)}); "
            "write the schema by hand, beginning with the output of 'python -m pipeline schema show'"
        )
    if not unique:
        raise InputError(f"{folder}: every column of the table repeats values, expected one with an id for each row")
    id_column = columns[0] if len(columns) == 1 else unique[0]
    templates = {template.replace(f"{{{id_column}}}", "{id}"): name for template, name in usual.items()}
    inner = _common_folder(list(templates))
    pattern, channels = _joined([template[len(inner) :] for template in sorted(templates)])
    return _Names(id_column, inner, pattern, channels)


def _usual_templates(rows: Rows, columns: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Returns the templates that match a file for most of the rows, each with such a file."""
    counts: Counter[str] = Counter()
    files_of: dict[str, str] = {}
    for row in rows:
        found: dict[str, tuple[int, str]] = {}
        for name in names:
            template, replaced = _template(name, row, columns)
            if replaced:
                found[template] = (replaced, name)
        # A row's own files have more of its values in their names than other files have.
        most = max((replaced for replaced, _ in found.values()), default=0)
        own = {template: name for template, (replaced, name) in found.items() if replaced == most}
        counts.update(own.keys())
        files_of = {**own, **files_of}
    return {template: files_of[template] for template, count in counts.items() if 2 * count > len(rows)}


def _template(name: str, row: Mapping[str, str], columns: Sequence[str]) -> tuple[str, int]:
    """Returns the name with values of the row replaced by `{column}`, and how many were."""
    template, replaced = name.replace("{", "{{").replace("}", "}}"), 0
    for column in sorted(columns, key=lambda column: -len(row[column])):
        if value := row[column]:
            expression = rf"(?<![A-Za-z0-9{{]){re.escape(value)}(?![A-Za-z0-9}}])"
            after = re.sub(expression, f"{{{column}}}", template, count=1)
            replaced, template = replaced + (after != template), after
    return template, replaced


def _common_folder(templates: Sequence[str]) -> str:
    """Returns the folders, without any placeholder, that all templates begin with; "" or with a slash at the end."""
    common = _common_start(templates).partition("{")[0]
    return common[: common.rfind("/") + 1]


def _joined(templates: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Returns one pattern with `{channel}` and the channels, from the templates of the files of an example."""
    if len(templates) == 1:
        return templates[0], ("channel",)
    start = _common_start(templates)
    end = _common_start([template[len(start) :][::-1] for template in templates])[::-1]
    channels = tuple(template[len(start) : len(template) - len(end)] for template in templates)
    return f"{start}{{channel}}{end}", channels


def _common_start(texts: Sequence[str]) -> str:
    """Returns the longest common start of the texts."""
    shortest = min(texts, key=len)
    return next((shortest[:k] for k, mark in enumerate(shortest) if any(t[k] != mark for t in texts)), shortest)


def _label_column(path: Place, rows: Rows, found: _Names) -> str:
    others = [column for column in rows[0] if column and column != found.id]
    named = [column for word in LABEL_WORDS for column in others if word in column.lower()]
    repeating = sorted((len({row.get(c, "") for row in rows}), c) for c in others)
    usable = [column for count, column in repeating if 1 < count < len(rows)]
    if not named and not usable:
        raise InputError(f"{path}: no column could hold labels; name it in a schema written by hand")
    return (named or usable)[0]


def _labels(cells: Sequence[str]) -> tuple[str, bool, tuple[str, ...], bool]:
    """Returns separator, whether labels are numbers, class names, and whether each row has one label."""
    separator = next((mark for mark in "|;," if any(mark in cell for cell in cells)), " ")
    words = [word.strip() for cell in cells for word in cell.split(separator)]
    if all(word.isdigit() and len(word) < 5 for word in words):
        single = all(separator not in cell.strip() for cell in cells)
        return separator, True, tuple(f"class {k}" for k in range(max(map(int, words)) + 1)), single
    if separator == " ":
        return " ", False, tuple(sorted({cell.strip() for cell in cells} - {""})), True
    return separator, False, tuple(sorted(set(words) - {""})), False


def _look(folder: Place, names: Sequence[str]) -> tuple[int, str]:
    """Returns the number of planes of the images and the depth of their values."""
    found: list[tuple[int, str, int]] = []
    for name in names:
        data = (folder / name).read_bytes()
        for planes in (1, 3, 4, 2, *range(5, 17)):
            try:
                decoded = formats.decode(name, data, lambda code, detail: BadImage("", code, detail), planes)
            except BadImage:
                continue
            found.append((planes, str(decoded[0].dtype), max(int(plane.max()) for plane in decoded)))
            break
    if not found:
        raise InputError(f"{folder}: none of its first {len(names)} images could be decoded")
    planes = Counter(planes for planes, _, _ in found).most_common(1)[0][0]
    largest = max(value for _, dtype, value in found)
    if all(dtype == np.dtype("uint8") for _, dtype, _ in found):
        return planes, "file"
    return planes, "12" if largest <= 4095 else "16"


def _channels(found: _Names, planes: int) -> tuple[Channel, ...]:
    channels: list[Channel] = []
    for token in found.channels:
        for plane in range(planes):
            name = re.sub(r"[^A-Za-z0-9.+-]+", "_", token).strip("_.+-") or "channel"
            name = name if planes == 1 else f"{name}_{plane}"
            usual = found.pattern if len(found.channels) == 1 else found.pattern.replace("{channel}", name)
            actual = found.pattern.replace("{channel}", token)
            index = len(channels)
            colour = name if name in COLOURS else "white" if len(found.channels) * planes == 1 else _PALETTE[index % 8]
            channels.append(
                Channel(
                    name=name,
                    shows="?",
                    colour=COLOURS[colour],
                    file=None if usual == actual else actual,
                    planes=(plane,) if planes > 1 else (),
                )
            )
    return tuple(channels)


def _identifier(name: str) -> str:
    cleaned = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:64]
    return cleaned if cleaned[:1].isalpha() else f"atlas_{cleaned}"[:64]
