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
    "png": Entry(_in("png_files", "Png"), 300, mib=1600),
    "jpeg": Entry(_in("jpeg_files", "Jpeg"), 160, mib=800),
    "tiff": Entry(_in("tiff_files", "Tiff"), 70, mib=1600),
    "labels": Entry(_in("tables", "Labels"), 100),
    "groups": Entry(_in("tables", "Groups"), 50),
    "split": Entry(_in("tables", "Split"), 30),
    "fingerprints": Entry(_in("work_files", "Fingerprints"), 30),
    "schema": Entry(_in("schemas", "SchemaFile"), 40),
    "zip": Entry(_in("zip_files", "Zip"), 60),
    "report": Entry(_in("work_files", "Report"), 40),
    "task": Entry(_in("work_files", "TaskFile"), 30),
    "metadata": Entry(_in("datasets", "open_metadata"), 15),
    "info": Entry(_in("datasets", "open_info"), 15),
    "checksums": Entry(_in("datasets", "open_checksums"), 15),
    "sources": Entry(_in("datasets", "open_sources"), 10),
    "tfrecord": Entry(_in("record_files", "TFRecord"), 70),
    "array_record": Entry(_in("record_files", "ArrayRecord"), 15, mib=2048),
    "config": Entry(_in("run_folders", "Config"), 20),
    "evaluation": Entry(_in("run_folders", "Evaluation"), 15),
    "arrays": Entry(_in("run_folders", "Arrays"), 10),
    "checkpoint": Entry(_in("run_folders", "Checkpoint"), 8),
    "weights": Entry(_in("run_folders", "Weights"), 2, mib=512),
}

BROKEN = {"broken": Entry(_in("broken", "Broken"), 1, mib=32)}
"""For tests of the driver."""


def find(name: str) -> Entry:
    """Returns a target by its name."""
    return {**TARGETS, **BROKEN}[name]
