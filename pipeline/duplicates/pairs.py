"""Pairs of examples that show the same thing, found in their fingerprints."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from pipeline.duplicates import hashes, search
from pipeline.duplicates.fingerprints import Table

KINDS = {
    "file": "the same files",
    "pixels": "other files with the same pixels",
    "near": "the same picture, changed",
    "overlap": "pictures of overlapping areas",
}
"""Kinds of pairs, the most certain first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Two examples that show the same thing, `first < second`.

    Attributes:
      first: an id.
      second: an id.
      kind: one of `KINDS`.
      turn: how `first` must be turned to look like `second`, one of `hashes.TURNS`.
      measure: for "near" the share of differing bits, for "overlap" the number of common landmarks.
    """

    first: str
    second: str
    kind: str
    turn: int = 0
    measure: float = 0.0


def find(table: Table, *, rotations: bool = False) -> list[Pair]:
    """Returns the pairs, each once with its most certain kind, sorted by ids.

    For n examples with the same pixels, n - 1 pairs are returned, each with the first of them. Only the first is
    compared with other examples.

    Args:
      table: of the examples.
      rotations: also compare images turned by quarters and flipped.
    """
    found = {(pair.first, pair.second): pair for pair in _equal(table)}
    rows = np.flatnonzero(_class_of(table.pixels) == np.arange(len(table.ids)))
    for turn in hashes.TURNS if rotations else (0,):
        for pair in _similar(table, rows, turn):
            found.setdefault((pair.first, pair.second), pair)
    return [found[key] for key in sorted(found)]


def _class_of(digests: np.ndarray) -> np.ndarray:
    """Returns for each row of uint8 `[N, channels, 32]` the first row that equals it, int `[N]`."""
    if not len(digests):
        return np.zeros(0, int)
    rows = np.ascontiguousarray(digests).reshape(len(digests), -1)
    _, first, inverse = np.unique(rows.view(f"V{rows.shape[1]}")[:, 0], return_index=True, return_inverse=True)
    return first[inverse]


def _equal(table: Table) -> Iterator[Pair]:
    files, pixels = _class_of(table.files), _class_of(table.pixels)
    for row in np.flatnonzero(pixels != np.arange(len(table.ids))):
        kind = "file" if files[row] == files[pixels[row]] else "pixels"
        yield Pair(table.ids[pixels[row]], table.ids[row], kind)


def _similar(table: Table, rows: np.ndarray, turn: int) -> Iterator[Pair]:
    num_channels = len(table.channels)
    images, places = table.hashes[rows], table.landmarks.take(rows)
    near = search.near(hashes.turned(images, turn), images)
    overlaps = search.overlapping(places.turned(turn, num_channels), places, num_channels)
    for kind, (i, j, measures) in (("near", near), ("overlap", overlaps)):
        for a, b, measure in zip(rows[i], rows[j], measures, strict=True):
            yield Pair(table.ids[a], table.ids[b], kind, turn, round(float(measure), 4))
