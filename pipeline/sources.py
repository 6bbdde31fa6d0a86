"""Where do the images lie, and how are their bytes read?

A source is a small immutable value: it travels to the workers, and each process opens what it needs itself.
"""

import dataclasses
import functools
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pipeline.errors import InputError

LAYOUT = "train.csv beside train/<Id>_{red,green,blue,yellow}.png, or beside an unopened train.zip of them"


class Images(Protocol):
    """A flat set of image files, known by name (`<Id>_<filter>.png`)."""

    def entries(self) -> Iterator[tuple[str, int]]:
        """Yields (name, size in bytes) of every file."""

    def read(self, name: str) -> bytes:
        """Returns a file's bytes; raises `FileNotFoundError` or another `OSError`."""

    def local_path(self, name: str) -> str | None:
        """Returns the path of the file where it has one on this machine."""


@dataclasses.dataclass(frozen=True)
class Folder:
    """Images in one folder."""

    path: str

    def entries(self) -> Iterator[tuple[str, int]]:
        with os.scandir(self.path) as entries:
            for entry in entries:
                try:
                    yield entry.name, entry.stat().st_size
                except FileNotFoundError:  # a dangling link is as good as no file
                    continue

    def read(self, name: str) -> bytes:
        with open(self.local_path(name), "rb", buffering=0) as file:
            return file.read()

    def local_path(self, name: str) -> str:
        return os.path.join(self.path, name)


@dataclasses.dataclass(frozen=True)
class Zip:
    """Images in a zip, read in place; `prefix` is their folder inside it ("" or "train/")."""

    path: str
    prefix: str

    def entries(self) -> Iterator[tuple[str, int]]:
        for info in _open_zip(self.path).infolist():
            name = info.filename.removeprefix(self.prefix)
            if info.filename.startswith(self.prefix) and "/" not in name and name:
                yield name, info.file_size

    def read(self, name: str) -> bytes:
        try:
            return _open_zip(self.path).read(self.prefix + name)
        except KeyError:
            raise FileNotFoundError(f"{self.path}: no member '{self.prefix}{name}'") from None
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            # A damaged, encrypted or strangely compressed member.
            raise OSError(str(error)) from error

    def local_path(self, name: str) -> None:
        return None


@functools.lru_cache(maxsize=4)
def _open_zip(path: str) -> zipfile.ZipFile:
    # Kept open for the life of the process: reading the central directory of 124,288 files takes about a
    # second. ZipFile locks around its file handle, so threads may share it.
    return zipfile.ZipFile(path)


def open_images(path: Path) -> Images:
    """Returns the images in a folder or a `.zip`.

    Raises:
      FileNotFoundError: nothing there.
      InputError: something else there.
    """
    if path.is_dir():
        return Folder(str(path.absolute()))
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or zip, expected the images <Id>_<filter>.png")
    try:
        names = _open_zip(str(path.absolute())).namelist()
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: expected a folder or a zip of images, but {error}") from None
    prefix = next((name.rpartition("/") for name in names if name.endswith("_green.png")), ("", "", ""))
    return Zip(str(path.absolute()), prefix[0] + prefix[1])


def find(source_dir: Path) -> tuple[Path, Path]:
    """Returns (label table, images) of a folder in Kaggle's layout.

    Raises:
      FileNotFoundError: naming every path that was expected.
    """
    labels, folder, archive = (source_dir / name for name in ("train.csv", "train", "train.zip"))
    images = archive if archive.exists() and not folder.exists() else folder
    missing = [str(path) for path in (labels, images) if not path.exists()]
    if missing:
        if str(folder) in missing:
            missing[missing.index(str(folder))] = f"{folder}{os.sep} or {archive}"
        raise FileNotFoundError(f"{source_dir}: missing {' and '.join(missing)}; expected {LAYOUT}")
    return labels, images
