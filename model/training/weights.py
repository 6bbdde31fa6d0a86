"""Checksums of weights files: HDF5 has none, and a flipped bit would change predictions unnoticed."""

from pathlib import Path

from pipeline.errors import InputError
from pipeline.store import files


def record(path: Path, written: Path) -> None:
    """Records the checksum of `written`, which is about to be renamed to `path`.

    The checksum of the file now at `path` is kept too: the process may be killed before the rename.
    """
    digests = [files.sha256_of(file) for file in (written, path) if file.exists()]
    with files.replacing(_table(path)) as file:
        file.write("".join(f"{digest}  {path.name}\n" for digest in digests).encode())


def check(path: Path) -> None:
    """Checks the file against its recorded checksum, if there is one.

    Raises:
        InputError: the file was changed since it was written.
    """
    digests = _recorded(path)
    if digests and files.sha256_of(path) not in digests:
        raise InputError(
            f"{path}: changed since it was written (its SHA-256 differs); restore it from a copy, or train again"
        )


def _table(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> list[str]:
    try:
        return [line.partition("  ")[0] for line in _table(path).read_text(errors="replace").splitlines()]
    except FileNotFoundError:
        return []
