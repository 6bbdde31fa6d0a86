"""The data directory of a command: one rule for all commands.

`--data-dir` (`DATA_DIR` in make) names the data directory. Without it,

- `shards` writes a synthetic dataset to `build/synthetic`, and any other to TFDS's own directory;
- `train` reads the directory that was built last in this folder, else TFDS's own.

`build/last` records what was built last, unless `train` already reads that directory.
"""

import os
from pathlib import Path

from pipeline.schema import SYNTHETIC_NOTICE
from pipeline.store import files
from pipeline.store.files import Place

SYNTHETIC = Path("build/synthetic")

LAST = "HPA_STACKED_LAST"
"""Environment variable that names a file to use instead of `build/last`; if it is empty, nothing is remembered."""


def tfds_default() -> Place:
    """Returns the data directory that TFDS uses when none is named: $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    return files.at(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).absolute()


def to_build(labels: Place) -> Place:
    """Returns where to build if no data directory is named; `labels` is the label table."""
    return SYNTHETIC if (labels.parent / SYNTHETIC_NOTICE).exists() else tfds_default()


def to_read() -> Place:
    """Returns where to read if no data directory is named: what was built last in this folder and still exists."""
    try:
        last = Path(_last().read_text(encoding="utf-8").rstrip("\n"))
        return last if last.is_absolute() and last.is_dir() else tfds_default()
    except (OSError, ValueError):
        return tfds_default()


def _last() -> Path:
    """Returns the file that holds the absolute path of the data directory that was built last."""
    return Path(os.environ.get(LAST, "build/last") or os.path.join(os.devnull, "nothing"))


def remember(data_dir: Place) -> bool:
    """Records what was built last; returns whether `to_read` finds it from now on.

    A directory in an object store is not recorded: the trainer reads from disks.
    """
    if files.is_remote(data_dir):
        return False
    if data_dir.absolute() != to_read():
        try:
            with files.replacing(_last()) as file:
                file.write(f"{data_dir.absolute()}\n".encode())
        except OSError:  # such as a folder that cannot be written
            return False
    return data_dir.absolute() == to_read()
