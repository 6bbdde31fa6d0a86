"""A schema: the channels, files, label table and classes of a dataset, declared once and validated."""

import dataclasses
import functools
import hashlib
import itertools
import json
import re
import string
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.errors import InputError

DEPTHS = ("file", "8", "12", "16", "percentile", "uint16")
"""How pixel values become those of the dataset.

file: 8-bit files as they are, 16-bit files divided by 257; both may occur. 8, 12, 16: files whose values use that many
bits, scaled to 0..255. percentile: values in a channel's `range` scaled to 0..255, the rest clipped. uint16: 16-bit
files as they are; the published image is uint16.
"""

COLOURS = {
    "red": "#ff0000",
    "green": "#00ff00",
    "blue": "#0000ff",
    "yellow": "#ffff00",
    "cyan": "#00ffff",
    "magenta": "#ff00ff",
    "orange": "#ff8000",
    "white": "#ffffff",
}
"""Names of colours in a schema; any other colour is written as `#rrggbb`."""

FULL_RANGE = {"8": 255, "12": 4095, "16": 65535, "uint16": 65535}
"""Largest value of a pixel by depth."""

MAX_PLANES = 64
"""Largest number of planes of one file."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclasses.dataclass(frozen=True)
class Channel:
    """One channel of the stacked image.

    Attributes:
      name: unique in the schema.
      shows: what is seen in it, such as "nucleus".
      colour: `#rrggbb`, in which it is drawn.
      file: pattern of its file, if it does not follow the schema's.
      planes: planes of the file, counted from 0, whose rounded mean it is; empty for a file of one plane.
      range: (lowest, highest) value of depth `percentile`.
    """

    name: str
    shows: str = ""
    colour: str = "#ffffff"
    file: str | None = None
    planes: tuple[int, ...] = ()
    range: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """The label table: a CSV whose header names its columns.

    Attributes:
      file: its name in the source folder.
      id, labels: columns.
      separator: between the labels of a row.
      numbers: labels are class ids; otherwise they are class names.
      id_pattern: splits an id into further columns, such as `{plate}_{well}`.
      groups: columns; examples that share a value of one of them stay in one split.
      carry: columns to publish beside the groups.
    """

    file: str
    id: str
    labels: str
    separator: str = " "
    numbers: bool = False
    id_pattern: str | None = None
    groups: tuple[str, ...] = ()
    carry: tuple[str, ...] = ()

    @property
    def derived(self) -> tuple[str, ...]:
        """Columns that `id_pattern` makes."""
        return placeholders(self.id_pattern) if self.id_pattern else ()


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of an example: the pattern of its name, and the channels in it, as indices into `Schema.channels`."""

    pattern: str
    channels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Schema:
    """What a dataset is made of.

    Attributes:
      name: identifies the schema in names of datasets and in messages.
      channels: in the order of the last axis of the image.
      classes: names, in the order of the class ids.
      single_label: each example has exactly one class.
      folder: of the images in the source folder; it may be a zip of that name.
      patterns: of the files' names in that folder; the one that most files follow is used.
      file_planes: planes that every file must have; `None` for as many as the channels name.
      depth: one of `DEPTHS`.
      percentiles: lower and upper percentile from which the channels' ranges were computed.

    Raises:
      InputError: invalid or contradictory values, all of them named.
    """

    name: str
    channels: tuple[Channel, ...]
    classes: tuple[str, ...]
    table: Table
    patterns: tuple[str, ...]
    folder: str = ""
    single_label: bool = False
    file_planes: int | None = None
    depth: str = "file"
    percentiles: tuple[float, float] = (0.1, 99.9)
    description: str = ""
    homepage: str = ""
    licence: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            found = problems[0] if len(problems) == 1 else f"{len(problems)} problems\n  " + "\n  ".join(problems)
            raise InputError(f"schema '{self.name}': {found}")

    @property
    def channel_names(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.channels)

    @property
    def num_channels(self) -> int:
        return len(self.channels)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def dtype(self) -> str:
        """Type of the published image: `uint8` or `uint16`."""
        return "uint16" if self.depth == "uint16" else "uint8"

    @property
    def max_value(self) -> int:
        """Largest value that a pixel of the published image can have."""
        return 65535 if self.depth == "uint16" else 255

    @property
    def stains(self) -> dict[str, str]:
        """`{channel: what it shows}`."""
        return {channel.name: channel.shows for channel in self.channels}

    @functools.cached_property
    def default_sources(self) -> tuple[Source, ...]:
        """The files of an example whose names follow the first pattern."""
        return self.sources()

    def files(self, example_id: str) -> tuple[str, ...]:
        """Returns the names of an example's files, where they depend on its id alone."""
        return tuple(source.pattern.format(id=example_id) for source in self.default_sources)

    def sources(self, pattern: str | None = None) -> tuple[Source, ...]:
        """Returns the files of an example for one of `patterns`, by default the first."""
        files: dict[str, list[int]] = {}
        for index, channel in enumerate(self.channels):
            template = channel.file or (pattern or self.patterns[0]).replace("{channel}", channel.name)
            files.setdefault(template, []).append(index)
        return tuple(Source(template, tuple(channels)) for template, channels in files.items())

    @property
    def needs_table(self) -> bool:
        """Whether the files' names depend on more than the id."""
        named = {
            name for pattern in self.patterns for file in self.sources(pattern) for name in placeholders(file.pattern)
        }
        return len(self.patterns) > 1 or named != {"id"}

    @functools.cached_property
    def further_columns(self) -> tuple[str, ...]:
        """Columns that are needed besides id and labels: for file names, groups, and to carry along."""
        named = [*self.table.groups, *self.table.carry]
        for pattern in self.patterns or ("",):
            named += [name for source in self.sources(pattern) for name in placeholders(source.pattern)]
        return tuple(name for name in dict.fromkeys(named) if name != "id")

    @property
    def published_columns(self) -> tuple[str, ...]:
        """Columns that are published by id: the groups, and those to carry along."""
        return tuple(dict.fromkeys((*self.table.groups, *self.table.carry)))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the label table must have."""
        named = (self.table.id, self.table.labels, *self.further_columns)
        return tuple(dict.fromkeys(name for name in named if name not in self.table.derived))

    def num_planes(self, source: Source) -> int:
        """Returns how many planes a file must have."""
        named = [plane for index in source.channels for plane in self.channels[index].planes]
        return self.file_planes or max(named, default=0) + 1

    def to_dict(self) -> dict[str, Any]:
        """Returns the schema as plain values for JSON."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Schema":
        """Returns the schema that `to_dict` gave; raises `InputError` for anything else."""
        try:
            fields = {name: value for name, value in values.items() if name not in ("channels", "table")}
            channels = tuple(Channel(**_checked(Channel, channel)) for channel in values["channels"])
            table = Table(**_checked(Table, values["table"]))
            return cls(channels=channels, table=table, **_checked(cls, fields))
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"not a schema: {str(error)[:120]}") from None

    def digest(self) -> str:
        """SHA-256 (hex) of what decides the pixels: channels, files, depth. Texts and colours are left out."""
        channels = [[channel.name, channel.file, channel.planes, channel.range] for channel in self.channels]
        decisive = [channels, self.patterns, self.file_planes, self.depth]
        return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def placeholders(pattern: str) -> tuple[str, ...]:
    """Returns the names in braces of a pattern, in order.

    Raises:
      ValueError: the braces do not match, or hold more than a name: `{id:>99}` would pad, `{id.x}` look into objects.
    """
    parsed = list(string.Formatter().parse(pattern))
    for _, name, form, conversion in parsed:
        if name is not None and (form or conversion or "." in name or "[" in name):
            raise ValueError("expected only a name in braces, without '.', '[', '!' or ':'")
    return tuple(dict.fromkeys(name for _, name, _, _ in parsed if name is not None))


def _checked(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a dataclass with tuples for lists; raises `TypeError` for a value of another type."""
    hints, frozen = typing.get_type_hints(kind), {name: _frozen(value) for name, value in values.items()}
    for name, value in frozen.items():
        if name in hints and not _is(value, hints[name]):
            raise TypeError(f"{name} is {value!r:.80}, expected {getattr(hints[name], '__name__', hints[name])}")
    return frozen


def _is(value: Any, hint: Any) -> bool:
    """Returns whether a value has the type of an annotation of a field."""
    inner = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return any(_is(value, kind) for kind in inner)
    if typing.get_origin(hint) is tuple:
        kinds = inner[:1] * len(value) if isinstance(value, tuple) and inner[-1] is Ellipsis else inner
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is, value, kinds))
    return type(value) in ((int, float) if hint is float else (hint,))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _problems(schema: Schema) -> Iterator[str]:
    if not _NAME.fullmatch(schema.name):
        yield "name: expected letters, digits and '_', starting with a letter, 64 characters at most"
    if schema.depth not in DEPTHS:
        yield f"depth is '{schema.depth}', expected one of {', '.join(DEPTHS)}"
    low, high = schema.percentiles
    if not 0 <= low < high <= 100:
        yield f"percentiles [{low}, {high}], expected [lower, upper] with 0 <= lower < upper <= 100"
    if schema.file_planes is not None and not 1 <= schema.file_planes <= MAX_PLANES:
        yield f"files of {schema.file_planes} planes, expected 1 to {MAX_PLANES}"
    yield from _class_problems(schema.classes)
    yield from _channel_problems(schema)
    yield from _pattern_problems(schema)
    yield from _table_problems(schema.table)
    if not (schema.single_label or schema.table.numbers):
        for name in schema.classes:
            if schema.table.separator in name:
                yield f"class '{name}' contains the separator {schema.table.separator!r}: set another table.separator"


def _class_problems(classes: Sequence[str]) -> Iterator[str]:
    if len(classes) < 2:
        yield f"{len(classes)} classes, expected at least 2"
    for name in _repeated(classes):
        yield f"class '{name}' is listed twice"
    for name in classes:
        if not name.strip() or not name.isprintable():
            yield f"class {name!r}: expected a printable name"


def _channel_problems(schema: Schema) -> Iterator[str]:
    if not schema.channels:
        yield "no channels, expected at least one"
    for name in _repeated(schema.channel_names):
        yield f"two channels are called '{name}'"
    for channel in schema.channels:
        where = f"channel '{channel.name}'"
        if not _CHANNEL.fullmatch(channel.name):
            yield f"{where}: expected letters, digits, '_', '.', '+' or '-' in its name, 64 at most"
        if channel.file == "":
            yield f"{where}: its file has an empty name"
        if not _COLOUR.fullmatch(channel.colour):
            yield f"{where}: colour is '{channel.colour}', expected #rrggbb or one of {', '.join(COLOURS)}"
        if any(not 0 <= plane < MAX_PLANES for plane in channel.planes) or _repeated(channel.planes):
            yield f"{where}: planes {list(channel.planes)}, expected different numbers from 0 to {MAX_PLANES - 1}"
        if schema.file_planes is not None and any(plane >= schema.file_planes for plane in channel.planes):
            yield f"{where}: planes {list(channel.planes)}, but files have {schema.file_planes}, counted from 0"
        yield from _range_problems(schema, channel)


def _range_problems(schema: Schema, channel: Channel) -> Iterator[str]:
    where = f"channel '{channel.name}'"
    if schema.depth != "percentile":
        if channel.range is not None:
            yield f"{where}: has a range, which only depth 'percentile' uses"
    elif channel.range is None:
        if any(other.range for other in schema.channels):
            yield f"{where}: no range = [low, high], but other channels have one"
    elif not 0 <= channel.range[0] < channel.range[1] <= 65535:
        yield f"{where}: range {list(channel.range)}, expected [low, high] with 0 <= low < high <= 65535"


def _pattern_problems(schema: Schema) -> Iterator[str]:
    if not schema.patterns and not all(channel.file for channel in schema.channels):
        yield "no pattern for the names of the files, such as '{id}_{channel}.png'"
        return
    for pattern in [*schema.patterns, *(channel.file for channel in schema.channels if channel.file)]:
        try:
            names = set(placeholders(pattern)) - {"channel"}
        except ValueError as error:
            yield f"pattern '{pattern}': {error}"
            continue
        if not names:
            yield f"pattern '{pattern}': expected {{id}} or a column of the label table, by which examples differ"
        if pattern.startswith("/") or ".." in pattern.split("/"):
            yield f"pattern '{pattern}': expected a name inside the folder of the images"
    yield from _sharing_problems(schema)


def _sharing_problems(schema: Schema) -> Iterator[str]:
    """Yields what is wrong with channels that share a file."""
    for pattern in schema.patterns or ("",):
        for file in schema.sources(pattern):
            unstated = [schema.channels[index].name for index in file.channels if not schema.channels[index].planes]
            if len(file.channels) > 1 and unstated:
                yield f"channels {', '.join(unstated)} share the file '{file.pattern}': give each its plane"
                return
    if len({tuple(file.channels for file in schema.sources(pattern)) for pattern in schema.patterns}) > 1:
        yield f"patterns {', '.join(schema.patterns)}: expected the same channels in a file by each of them"


def _table_problems(table: Table) -> Iterator[str]:
    if table.id == table.labels:
        yield f"table: the id and the labels are both column '{table.id}'"
    if not table.separator:
        yield "table: the separator is empty"
    if table.id_pattern is not None:
        try:
            derived = placeholders(table.id_pattern)
        except ValueError as error:
            yield f"table: id_pattern '{table.id_pattern}': {error}"
            return
        if not all(name.isidentifier() for name in derived):
            yield f"table: id_pattern '{table.id_pattern}': expected names like {{plate}} in braces"


def _repeated(names: Sequence[Any]) -> list[Any]:
    return sorted({first for first, second in itertools.pairwise(sorted(names)) if first == second})
