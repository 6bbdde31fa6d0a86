"""Exchanges two folders atomically, so that each name always exists."""

import contextlib
import ctypes
import os
from pathlib import Path

_AT_FDCWD = -100  # linux/fcntl.h: paths are relative to the current folder
_RENAME_EXCHANGE = 2  # linux/fs.h


def exchange(one: Path, other: Path) -> bool:
    """Swaps two existing folders of one file system; returns whether the system could."""
    with contextlib.suppress(AttributeError, OSError):  # not Linux, or an older C library
        rename = ctypes.CDLL(None).renameat2
        return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
    return False
