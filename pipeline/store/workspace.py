"""The place where a dataset is built and published: all differences between a disk and an object store.

A build works in `.<version>.building/` beside the dataset's folder. On a disk, shards are written to its `shards/`
folder, which is renamed as a whole to publish. An object store cannot rename: there shards are written where they will
be published, and count as a dataset only when `dataset_info.json` is beside them.
"""

import abc
import contextlib
import dataclasses
import errno
import os
import shutil
import tempfile
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Generic, Self, TypeVar

from pipeline.errors import InputError
from pipeline.store import exchange, files, locks
from pipeline.store.files import Place, Stored
from pipeline.store.layout import BAD_EXAMPLES, INFO, is_ours
from pipeline.store.locks import CheckHeld
from pipeline.store.objects import ObjectPath

P = TypeVar("P", Path, ObjectPath)


@dataclasses.dataclass(frozen=True)
class _Workspace(abc.ABC, Generic[P]):
    """The place of one dataset; `target` is the folder that is published.

    A small immutable value that is sent to the workers.
    """

    target: P

    poll_seconds = 0.2
    """Seconds between checks of the reports while workers write."""

    @property
    def directory(self) -> P:
        """The folder of the build, beside the target."""
        return self.target.with_name(f".{self.target.name}.building")

    @property
    def reports(self) -> P:
        """The folder with a report on each finished shard; it is not published."""
        return self.directory / "reports"

    @property
    def tasks(self) -> P:
        """The folder with the file of tasks of a run."""
        return self.directory / "tasks"

    @property
    def bad_examples(self) -> P:
        """The table of bad images that stopped a build."""
        return self.target.with_name(BAD_EXAMPLES)

    @property
    def listing(self) -> P:
        """The stamps of the source files of the published dataset (`dataset.provenance`); it is not published."""
        return self.target.with_name(f".{self.target.name}.listing")

    @property
    @abc.abstractmethod
    def shards(self) -> P:
        """The folder in which shards appear."""

    @property
    @abc.abstractmethod
    def work_folder(self) -> Path | None:
        """The folder in which workers mark the examples that they are decoding; `None` in an object store."""

    @property
    def _lock(self) -> P:
        return self.target.with_name(f".{self.target.name}.lock")

    def absolute(self) -> Self:
        """Returns the same workspace independent of the current folder."""
        return dataclasses.replace(self, target=self.target.absolute())

    def finished(self) -> dict[str, Stored]:
        """Returns the listing of the folder of shards."""
        return files.listing(self.shards)

    @abc.abstractmethod
    def lock(self) -> contextlib.AbstractContextManager[CheckHeld]:
        """Holds the right to build here; two builds in one place would mix their shards.

        Raises:
          InputError: another build is running, or the place cannot be written.
        """

    @abc.abstractmethod
    def prepare(self) -> None:
        """Makes the folders of a build and removes what killed writers left behind.

        Raises:
          InputError: one of them is a link to another place, whose files the build would remove.
        """

    @abc.abstractmethod
    def check_space(self, num_bytes: int) -> None:
        """Raises `OSError` if `num_bytes` bytes do not fit on the disk."""

    @abc.abstractmethod
    def stamp(self, name: str) -> str:
        """Returns the store's own checksum of a finished shard; empty on a disk."""

    @abc.abstractmethod
    def reopen(self, name: str) -> contextlib.AbstractContextManager[BinaryIO | None]:
        """Yields a finished shard to be read again, or `None` where the store's checksum vouches for its content."""

    @abc.abstractmethod
    def is_intact(self, name: str, sha256: str) -> bool:
        """Returns whether a finished shard, whose size and stamp are right, still has its SHA-256."""

    @abc.abstractmethod
    def discard(self, keep: Container[str]) -> None:
        """Removes all files but those to keep from the folder of shards; in a store, a dataset is unpublished first."""

    @abc.abstractmethod
    def is_published(self) -> bool:
        """Returns whether a dataset, or something that is not ours, is at the target."""

    @abc.abstractmethod
    def completing(self) -> contextlib.AbstractContextManager[Path]:
        """Yields a local folder for the metadata files that complete the dataset."""

    @abc.abstractmethod
    def publish(self, completed: Path) -> None:
        """Makes the shards and the files in `completed` the published dataset, replacing an older one."""

    def clean_up(self) -> None:
        """Removes what a published dataset no longer needs."""
        self.bad_examples.unlink(missing_ok=True)
        for path in (self.bad_examples, self.listing):
            files.remove_temporaries_of(path)
        files.remove_tree(self.directory)
        files.remove_tree(self._replaced)

    @property
    def _replaced(self) -> P:
        return self.target.with_name(f".{self.target.name}.replaced")


class DiskWorkspace(_Workspace[Path]):
    """A dataset on a disk: a folder that is complete before it is renamed to its place."""

    @property
    def shards(self) -> Path:
        return self.directory / "shards"

    @property
    def work_folder(self) -> Path | None:
        return self.directory / "work"

    def lock(self) -> contextlib.AbstractContextManager[CheckHeld]:
        return locks.disk_lock(self._lock)

    def prepare(self) -> None:
        for folder in (self.target, self.directory, self.shards, self.reports, self.tasks):
            if folder.is_symlink():
                raise InputError(f"{folder}: is a link, expected a folder or nothing there; remove the link")
        for folder in (self.shards, self.reports):
            folder.mkdir(parents=True, exist_ok=True)
        files.remove_temporaries(self.directory)

    def check_space(self, num_bytes: int) -> None:
        free = shutil.disk_usage(self.directory).free
        if num_bytes > free:
            raise OSError(
                errno.ENOSPC,
                f"{self.directory}: {num_bytes / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; "
                "free some space, or choose another data directory",
            )

    def stamp(self, name: str) -> str:
        return ""

    @contextlib.contextmanager
    def reopen(self, name: str) -> Iterator[BinaryIO | None]:
        with open(self.shards / name, "rb") as file:
            yield file

    def is_intact(self, name: str, sha256: str) -> bool:
        return files.sha256_of(self.shards / name) == sha256

    def discard(self, keep: Container[str]) -> None:
        files.remove(self.shards / name for name in self.finished() if name not in keep)

    def is_published(self) -> bool:
        return self.target.exists()

    @contextlib.contextmanager
    def completing(self) -> Iterator[Path]:
        yield self.shards

    def publish(self, completed: Path) -> None:
        """Renames the complete folder; an older dataset is swapped with it and then deleted.

        Where the system cannot swap two folders in one step, the older one is moved aside first. After a kill between
        those two renames, the next run of the same command finds all shards finished and repeats the rename.
        """
        for path in completed.iterdir():
            _sync(path)  # most of it has reached the disk by now
        _sync(completed)
        if self.target.exists():
            shutil.rmtree(self._replaced, ignore_errors=True)
            if exchange.exchange(completed, self.target):
                completed.rename(self._replaced)
            else:
                self.target.rename(self._replaced)
                completed.rename(self.target)
        else:
            completed.rename(self.target)
        _sync(self.target.parent)
        shutil.rmtree(self._replaced, ignore_errors=True)


class StoreWorkspace(_Workspace[ObjectPath]):
    """A dataset in an object store: published by writing `dataset_info.json` last."""

    poll_seconds = 5.0

    @property
    def shards(self) -> ObjectPath:
        return self.target

    @property
    def work_folder(self) -> Path | None:
        return None

    def lock(self) -> contextlib.AbstractContextManager[CheckHeld]:
        return locks.store_lock(self._lock)

    def prepare(self) -> None:
        """Does nothing: folders are parts of names, and unfinished uploads leave no object."""

    def check_space(self, num_bytes: int) -> None:
        """Does nothing."""

    def stamp(self, name: str) -> str:
        return (self.shards / name).stamp()

    @contextlib.contextmanager
    def reopen(self, name: str) -> Iterator[BinaryIO | None]:
        yield None

    def is_intact(self, name: str, sha256: str) -> bool:
        return True  # the stamp was compared

    def discard(self, keep: Container[str]) -> None:
        (self.target / INFO).unlink(missing_ok=True)  # a listing may lag behind and not have it yet
        files.remove(self.target / name for name in self.finished() if name not in keep)

    def is_published(self) -> bool:
        names: Mapping[str, Stored] = files.listing(self.target)
        # Shards without metadata are a build under way; files that we never write belong to somebody else.
        return INFO in names or not all(map(is_ours, names)) or (self.target / INFO).exists()

    @contextlib.contextmanager
    def completing(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="hpa_stacked-") as folder:
            yield Path(folder)

    def publish(self, completed: Path) -> None:
        """Uploads the metadata beside the shards, `dataset_info.json` last."""
        for path in sorted(completed.iterdir(), key=lambda path: path.name == INFO):
            (self.target / path.name).upload(path)


Workspace = DiskWorkspace | StoreWorkspace


def open_workspace(target: Place) -> Workspace:
    """Returns the workspace of the dataset to be published at `target`."""
    return StoreWorkspace(target) if isinstance(target, ObjectPath) else DiskWorkspace(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
