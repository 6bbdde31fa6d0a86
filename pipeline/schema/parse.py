"""Schemas as TOML files, and those that come with the package."""

import difflib
import functools
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, MissingError
from pipeline.schema.declared import COLOURS, Channel, Schema, Table

FOLDER = Path(__file__).parent

BUILT_IN = ("hpa_kaggle_2018", "hpa_v18", "hpa_subcell")
"""Names of the schemas that come with the package."""

_STRINGS, _NUMBER, _BOOL = "a list of strings", "a whole number", "true or false"

_KEYS: dict[str, dict[str, str]] = {
    "": {
        "name": "text", "description": "text", "homepage": "text", "licence": "text", "citation": "text",
        "labels": "'single' or 'multi'", "depth": "text", "percentiles": "two numbers", "classes": _STRINGS,
        "images": "a table", "table": "a table", "channels": "a list of tables",
    },
    "images": {"folder": "text", "pattern": "text or a list of patterns", "planes": _NUMBER},
    "table": {
        "file": "text", "id": "text", "labels": "text", "separator": "text", "numbers": _BOOL,
        "id_pattern": "text", "groups": _STRINGS, "carry": _STRINGS,
    },
    "channels": {
        "name": "text", "shows": "text", "colour": "text", "file": "text",
        "plane": "a whole number or a list of them", "range": "two whole numbers",
    },
}  # fmt: skip
"""The keys of a schema file by section, each with what it holds."""


@functools.cache
def builtin(name: str) -> Schema:
    """Returns a schema that comes with the package."""
    return parse((FOLDER / f"{name}.toml").read_text(encoding="utf-8"), name)


def load(name_or_path: str | os.PathLike[str]) -> Schema:
    """Returns a built-in schema by its name, or the one in a TOML file.

    Raises:
      MissingError: there is neither.
      InputError: the file is not a schema; every problem is named.
    """
    text = os.fspath(name_or_path)
    if text in BUILT_IN:
        return builtin(text)
    path = Path(text).expanduser()
    try:
        content = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise MissingError(f"{text}: no such schema, expected a TOML file or one of {', '.join(BUILT_IN)}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save the schema as UTF-8") from None
    return parse(content, str(path))


def parse(text: str, where: str) -> Schema:
    """Returns the schema in the text of a TOML file; `where` names the file in messages.

    Raises:
      InputError: text that is not TOML, unknown or missing keys, values of the wrong type, or a schema that
        contradicts itself.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, nested too deeply, or a number of too many digits
        raise InputError(f"{where}: not TOML ({error})") from None
    problems = _check_keys(values)
    if problems:
        raise InputError(f"{where}: {problems[0] if len(problems) == 1 else _listed(problems)}")
    return _schema(values)


def _listed(problems: list[str]) -> str:
    return "\n  ".join([f"{len(problems)} problems", *problems])


def _check_keys(values: Mapping[str, Any]) -> list[str]:
    problems = _check_section("", values)
    for name in ("images", "table"):
        if isinstance(section := values.get(name, {}), Mapping):
            problems += _check_section(name, section)
    channels = values.get("channels", [])
    for channel in channels if isinstance(channels, list) else []:
        problems += _check_section("channels", channel) if isinstance(channel, Mapping) else ["channels: no table"]
    required = {"": ("name", "classes", "channels", "table"), "table": ("file", "id", "labels")}
    for section, names in required.items():
        present = values if not section else values.get(section, {})
        if isinstance(present, Mapping):
            problems += [f"no {_path(section, name)}" for name in names if name not in present]
    if isinstance(channels, list):
        problems += [
            f"channel {k}: no name" for k, c in enumerate(channels, 1) if isinstance(c, Mapping) and "name" not in c
        ]
    return problems


def _check_section(section: str, values: Mapping[str, Any]) -> list[str]:
    known, problems = _KEYS[section], []
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean '{near[0]}'?" if near else f"expected some of {', '.join(known)}"
            problems.append(f"unknown key '{_path(section, name)}': {advice}")
        elif not _fits(known[name], value):
            problems.append(f"{_path(section, name)} is {value!r:.80}, expected {known[name]}")
    return problems


def _path(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name


def _fits(kind: str, value: Any) -> bool:
    """Returns whether a TOML value is of the kind that a key holds."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    numbers = isinstance(value, list) and all(isinstance(n, int | float) and not isinstance(n, bool) for n in value)
    wholes = isinstance(value, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
    strings = isinstance(value, list) and all(isinstance(word, str) for word in value)
    fits: dict[str, bool] = {
        "text": isinstance(value, str),
        "'single' or 'multi'": value in ("single", "multi"),
        "two numbers": numbers and len(value) == 2,
        "two whole numbers": wholes and len(value) == 2,
        _STRINGS: strings,
        _NUMBER: whole and value > 0,
        _BOOL: isinstance(value, bool),
        "a table": isinstance(value, Mapping),
        "a list of tables": isinstance(value, list) and all(isinstance(item, Mapping) for item in value),
        "text or a list of patterns": isinstance(value, str) or strings,
        "a whole number or a list of them": whole or (wholes and bool(value)),
    }
    return fits[kind]


def _schema(values: Mapping[str, Any]) -> Schema:
    images, table = values.get("images", {}), dict(values["table"])
    patterns = images.get("pattern", [])
    for name in ("groups", "carry"):
        table[name] = tuple(table.get(name, ()))
    settings: dict[str, Any] = {
        name: values[name] for name in ("description", "homepage", "licence", "citation", "depth") if name in values
    }
    if "percentiles" in values:
        settings["percentiles"] = tuple(map(float, values["percentiles"]))
    return Schema(
        name=values["name"],
        channels=tuple(map(_channel, values["channels"])),
        classes=tuple(values["classes"]),
        table=Table(**table),
        patterns=(patterns,) if isinstance(patterns, str) else tuple(patterns),
        folder=images.get("folder", ""),
        single_label=values.get("labels", "multi") == "single",
        file_planes=images.get("planes"),
        **settings,
    )


def _channel(values: Mapping[str, Any]) -> Channel:
    settings = dict(values)
    plane = settings.pop("plane", ())
    settings["planes"] = (plane,) if isinstance(plane, int) else tuple(plane)
    if "range" in settings:
        settings["range"] = tuple(settings["range"])
    if "colour" in settings:
        settings["colour"] = COLOURS.get(settings["colour"], settings["colour"])
    return Channel(**settings)
