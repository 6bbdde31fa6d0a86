"""Ids of examples, which become parts of file names."""

import re

MAX_SHOWN = 120  # characters of an id in a message

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def check_id(example_id: str) -> None:
    """Checks an id that comes from a table, a record or the name of a file.

    Such an id stays in its folder, is a file name on every file system, and is not a formula in a spreadsheet.

    Raises:
      ValueError: the id is too long, or has characters that are not allowed.
    """
    parts = example_id.split("/")
    if len(example_id) > 200 or ".." in example_id or not all(map(_SAFE_NAME.fullmatch, parts)):
        raise ValueError(
            f"id {example_id[:MAX_SHOWN]!r} cannot be part of a file name; expected letters, digits, '-', '_' or '.', "
            "not starting with '-' or '.', without '..', 200 characters at most; '/' separates folders"
        )
