"""A schema as the text of a TOML file."""

import json
from collections.abc import Iterator, Sequence

from pipeline.schema.declared import COLOURS, Channel, Schema

_COLOUR_NAMES = {code: name for name, code in COLOURS.items()}


def to_toml(schema: Schema, comment: str = "") -> str:
    """Returns the text from which `parse.parse` makes the schema again; `comment` goes on top."""
    return "\n".join([*(f"# {line}" for line in comment.splitlines()), *_lines(schema)]) + "\n"


def _lines(schema: Schema) -> Iterator[str]:
    yield f"name = {_text(schema.name)}"
    for key in ("description", "homepage", "licence", "citation"):
        if value := getattr(schema, key):
            yield f"{key} = {_text(value)}"
    yield f"labels = {_text('single' if schema.single_label else 'multi')}"
    yield f"depth = {_text(schema.depth)}"
    if schema.depth == "percentile" or schema.percentiles != Schema.percentiles:
        yield f"percentiles = {list(schema.percentiles)}"
    yield f"classes = {_list(schema.classes)}"
    yield "\n[images]"
    if schema.folder:
        yield f"folder = {_text(schema.folder)}"
    if schema.patterns:
        yield f"pattern = {_text(schema.patterns[0]) if len(schema.patterns) == 1 else _list(schema.patterns)}"
    if schema.file_planes:
        yield f"planes = {schema.file_planes}"
    yield from _table_lines(schema)
    for channel in schema.channels:
        yield from _channel_lines(channel)


def _table_lines(schema: Schema) -> Iterator[str]:
    table = schema.table
    yield "\n[table]"
    yield f"file = {_text(table.file)}"
    yield f"id = {_text(table.id)}"
    yield f"labels = {_text(table.labels)}"
    if table.separator != " ":
        yield f"separator = {_text(table.separator)}"
    if table.numbers:
        yield "numbers = true"
    if table.id_pattern:
        yield f"id_pattern = {_text(table.id_pattern)}"
    if table.groups:
        yield f"groups = {_list(table.groups)}"
    if table.carry:
        yield f"carry = {_list(table.carry)}"


def _channel_lines(channel: Channel) -> Iterator[str]:
    yield "\n[[channels]]"
    yield f"name = {_text(channel.name)}"
    if channel.shows:
        yield f"shows = {_text(channel.shows)}"
    yield f"colour = {_text(_COLOUR_NAMES.get(channel.colour, channel.colour))}"
    if channel.file:
        yield f"file = {_text(channel.file)}"
    if channel.planes:
        yield f"plane = {channel.planes[0] if len(channel.planes) == 1 else list(channel.planes)}"
    if channel.range:
        yield f"range = {list(channel.range)}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # the only character that TOML escapes and JSON does not


def _list(values: Sequence[str]) -> str:
    short = "[" + ", ".join(map(_text, values)) + "]"
    return short if len(short) <= 100 else "[\n" + "".join(f"    {_text(value)},\n" for value in values) + "]"
