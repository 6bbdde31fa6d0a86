"""All targets by name."""

import importlib
from pathlib import Path
from typing import Any

from tests.fuzz.target import Entry


def _in(module: str, name: str) -> Any:
    """Returns a function that imports a target and opens it: a process pays only for its own."""

    def open_target(folder: Path) -> Any:
        return getattr(importlib.import_module(f"tests.fuzz.{module}"), name)(folder)

    return open_target


# A file of a few bytes may claim 8192 x 8192 pixels of four planes of 16 bits: 512 MiB, and a copy of them.
TARGETS = {
    "png": Entry(_in("png_files", "Png"), 30, mib=1600),
    "jpeg": Entry(_in("jpeg_files", "Jpeg"), 16, mib=800),
    "tiff": Entry(_in("tiff_files", "Tiff"), 9, mib=1600),
    "labels": Entry(_in("tables", "Labels"), 12),
    "groups": Entry(_in("tables", "Groups"), 5),
    "schema": Entry(_in("schemas", "SchemaFile"), 5),
    "zip": Entry(_in("zip_files", "Zip"), 8),
}
