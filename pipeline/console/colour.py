"""Colour on a terminal."""

import os
import re
from typing import IO, Any

ERROR: dict[str, Any] = {"fg": "red", "bold": True}
WARNING: dict[str, Any] = {"fg": "yellow", "bold": True}
SYNTHETIC: dict[str, Any] = {"fg": "magenta", "bold": True}
NEXT: dict[str, Any] = {"fg": "green"}
PROGRESS = "green"

_WORDS = {"Error:": ERROR, "WARNING:": WARNING, "SYNTHETIC": SYNTHETIC, "next:": NEXT}
_MARKED = re.compile(r"^\s*(?:Error:|WARNING:|next:)|\bSYNTHETIC\b", re.MULTILINE)


def shows(stream: IO[Any]) -> bool:
    """Returns whether a stream shows colour: a terminal, unless NO_COLOR (https://no-color.org) or TERM=dumb is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def highlight(text: str, stream: IO[Any]) -> str:
    """Returns text with `Error:`, `WARNING:` and `next:` at the start of a line, and SYNTHETIC anywhere, in colour.

    Text for a stream without colour is returned unchanged.
    """
    if not shows(stream):
        return text
    import click

    return _MARKED.sub(lambda match: click.style(match[0], **_WORDS[match[0].strip()]), text)
