"""Generated parts of Markdown documents, between two comment lines."""

import re
from pathlib import Path

from pipeline.errors import InputError, MissingError
from pipeline.store import files

END = "<!-- end -->"


def begin(name: str) -> str:
    """Returns the line before the part called `name`; the line after it is `END`."""
    return f"<!-- {name} -->"


def insert(text: str, path: Path, name: str) -> None:
    """Replaces the part called `name` of the document.

    Raises:
        MissingError: the document does not exist.
        InputError: it lacks the lines around the part.
    """
    if not path.exists():
        raise MissingError(f"{path} does not exist: the table goes between its lines {begin(name)} and {END}")
    part = re.compile(f"({begin(name)}\n).*?({END})", re.DOTALL)
    replaced, num = part.subn(lambda marks: f"{marks[1]}\n{text}\n\n{marks[2]}", path.read_text())
    if not num:
        raise InputError(
            f"{path}: expected the lines {begin(name)} and {END}, between which the table goes; found none"
        )
    with files.replacing(path) as file:
        file.write(replaced.encode())
