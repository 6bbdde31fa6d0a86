"""The fingerprint of an example, and the table of fingerprints.

The table is a CSV with one row for each example, sorted by id. For each channel it has the size and the SHA-256 of the
file, the SHA-256 of the pixels, the perceptual hash, the bit depth, the mean and the share of empty pixels (below 1/32
of the full scale); for the example its width, its height and its landmarks. Digests and hashes are in hex.
"""

import csv
import dataclasses
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.duplicates import grids, hashes, landmarks
from pipeline.errors import InputError
from pipeline.store import files
from pipeline.store.files import Place

COLUMNS = ("id", "width", "height", "landmarks", "problem")
CHANNEL_COLUMNS = ("bytes", "file_sha256", "pixels_sha256", "hash", "bits", "mean", "empty")

_LANDMARK_BYTES = 2 + 8  # a place and a hash


class Channel(NamedTuple):
    """One channel of an example as it was read: its file's bytes and its pixels, uint8 or uint16 `[H, W]`."""

    data: bytes
    pixels: np.ndarray
    full_scale: int


def row(example_id: str, channels: Sequence[Channel]) -> list[str]:
    """Returns the row of an example, in the order of `header`. All channels have the same height and width."""
    grid = [grids.means(channel.pixels) for channel in channels]
    height, width = channels[0].pixels.shape
    found = _pack(*landmarks.find(np.stack([fine for fine, _ in grid]), channels[0].full_scale))
    values = [example_id, str(width), str(height), found.hex(), ""]
    for channel, (_, coarse) in zip(channels, grid, strict=True):
        values += _channel_values(channel, coarse)
    return values


def bad_row(example_id: str, problem: str, num_channels: int) -> list[str]:
    """Returns the row of an example that cannot be read."""
    return [example_id, "", "", "", problem, *[""] * (num_channels * len(CHANNEL_COLUMNS))]


def header(channels: Iterable[str]) -> list[str]:
    """Returns the names of the columns for examples with these channels."""
    return [*COLUMNS, *(f"{column}_{channel}" for channel in channels for column in CHANNEL_COLUMNS)]


def _channel_values(channel: Channel, coarse: np.ndarray) -> list[str]:
    pixels = np.ascontiguousarray(channel.pixels)
    little_endian = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    shape = f"{pixels.dtype.name} {pixels.shape}"
    num_empty = int((pixels < -(-channel.full_scale // 32)).sum())
    return [
        str(len(channel.data)),
        hashlib.sha256(channel.data).hexdigest(),
        hashlib.sha256(shape.encode() + little_endian.tobytes()).hexdigest(),
        hashes.of_grid(coarse, channel.full_scale).hex(),
        str(8 * pixels.itemsize),
        f"{int(pixels.sum(dtype=np.int64)) / (pixels.size * channel.full_scale):.6f}",
        f"{num_empty / pixels.size:.6f}",
    ]


def _pack(places: np.ndarray, found: np.ndarray) -> bytes:
    return np.concatenate([places, found.astype(">u8")[:, None].view(np.uint8)], axis=1).tobytes()


def to_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Returns rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Fingerprints of N examples, sorted by id, without those that cannot be read.

    Attributes:
      channels: names of the channels.
      ids: of the examples.
      files: SHA-256 of the file of each channel, uint8 `[N, channels, 32]`.
      file_bytes: size of each file in bytes, int64 `[N, channels]`.
      pixels: SHA-256 of the pixels of each channel, uint8 `[N, channels, 32]`.
      hashes: uint8 `[N, channels, 32]`.
      landmarks: of each example.
      bad: `{id: problem}` of the examples that cannot be read.
    """

    channels: tuple[str, ...]
    ids: tuple[str, ...]
    files: np.ndarray
    file_bytes: np.ndarray
    pixels: np.ndarray
    hashes: np.ndarray
    landmarks: landmarks.Landmarks
    bad: dict[str, str]


def read(path: Place) -> Table:
    """Reads a table of fingerprints.

    Raises:
      InputError: the file is missing or is not such a table.
    """
    columns, reader = _Columns(path), None
    with _open(path) as text:
        try:
            reader = csv.reader(text)
            channels = _channels(path, next(reader, []))
            width = len(header(channels))
            for values in reader:
                if len(values) != width:
                    raise _bad_row(path, reader.line_num, f"{len(values)} columns, expected {width}")
                columns.add(values, reader.line_num)
        except (UnicodeDecodeError, csv.Error) as error:
            raise _bad_row(path, reader.line_num + 1 if reader else 1, str(error)) from None
    return columns.table(channels)


def _open(path: Place) -> io.TextIOWrapper:
    try:
        return io.TextIOWrapper(files.open_seekable(path), encoding="utf-8", newline="")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a table written by 'pipeline fingerprint'") from None


def _channels(path: Place, names: Sequence[str]) -> tuple[str, ...]:
    found = tuple(name.removeprefix("bytes_") for name in names if name.startswith("bytes_"))
    if not found or list(names) != header(found):
        raise InputError(f"{path}: the header is not what 'pipeline fingerprint' writes; run it again")
    return found


def _bad_row(path: Place, number: int, what: str) -> InputError:
    return InputError(f"{path}: row {number} is damaged: {what}; write the table again with 'pipeline fingerprint'")


class _Columns:
    """Columns of a table that is being read, as bytes: 1.2 kB for each example of four channels."""

    def __init__(self, path: Place):
        self.path, self.ids, self.bad, self.bytes = path, [], {}, []  # type: ignore[var-annotated]
        self.files, self.pixels, self.hashes = bytearray(), bytearray(), bytearray()
        self.landmarks, self.counts = bytearray(), []  # type: ignore[var-annotated]

    def add(self, values: Sequence[str], number: int) -> None:
        example_id, _, _, found, problem = values[: len(COLUMNS)]
        before = self.ids[-1] if self.ids else ""
        if example_id <= before:
            raise _bad_row(self.path, number, f"id '{example_id}' comes after '{before}', expected ids in order")
        if problem:
            self.bad[example_id] = problem
            return
        self.ids.append(example_id)
        step = len(CHANNEL_COLUMNS)
        try:
            self._add_channels(values[len(COLUMNS) :], step)
            places = bytes.fromhex(found)
            if len(places) % _LANDMARK_BYTES or len(places) > landmarks.MOST * _LANDMARK_BYTES:
                raise ValueError
            self.counts.append(len(places) // _LANDMARK_BYTES)
            self.landmarks += places.ljust(landmarks.MOST * _LANDMARK_BYTES, b"\0")
        except ValueError:
            raise _bad_row(self.path, number, "a value is not hexadecimal, or not a number") from None

    def _add_channels(self, values: Sequence[str], step: int) -> None:
        sizes = [int(value) for value in values[0::step]]
        if not all(0 <= size < 2**63 for size in sizes):
            raise ValueError
        self.bytes.append(sizes)
        for column, offset in ((self.files, 1), (self.pixels, 2), (self.hashes, 3)):
            for value in values[offset::step]:
                data = bytes.fromhex(value)
                if len(data) != 32:
                    raise ValueError
                column += data

    def table(self, channels: tuple[str, ...]) -> Table:
        shape = (len(self.ids), len(channels), 32)
        files_, pixels, hashes_ = (
            np.frombuffer(bytes(column), np.uint8).reshape(shape) for column in (self.files, self.pixels, self.hashes)
        )
        found = np.frombuffer(bytes(self.landmarks), np.uint8).reshape(len(self.ids), landmarks.MOST, _LANDMARK_BYTES)
        values = np.ascontiguousarray(found[..., 2:]).view(">u8")[..., 0].astype(np.uint64)
        return Table(
            channels=channels,
            ids=tuple(self.ids),
            files=files_,
            file_bytes=np.array(self.bytes, np.int64).reshape(shape[:2]),
            pixels=pixels,
            hashes=hashes_,
            landmarks=landmarks.Landmarks(found[..., :2], values, np.array(self.counts, int)),
            bad=self.bad,
        )


def rows_of(data: bytes) -> Iterator[list[str]]:
    """Yields the rows of a CSV that `to_csv` made."""
    yield from csv.reader(io.StringIO(data.decode(), newline=""))
