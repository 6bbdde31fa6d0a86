"""Measures how well duplicates are found: precision and recall for each kind of copy.

    python -m pipeline sample build/sample --num 400
    python -m bench.groups.duplicates build/sample ../shared/data/hpa_sample
    python -m bench.groups.duplicates --scale 31072 --scale 1000000

Every example is copied in one way at a time, and the originals are searched together with their copies. A pair of an
example and its own copy is true, any other is false. `docs/duplicates.md` has the result.
"""

import dataclasses
import itertools
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import cv2
import imageio.v3 as iio
import numpy as np

from pipeline.duplicates import fingerprints, hashes, landmarks, pairs
from pipeline.duplicates.fingerprints import Channel, Table
from pipeline.store import files

CHANNELS = ("red", "green", "blue", "yellow")

WINDOW = 384
"""Pixels a side of the two pictures that are cut from one field of 512."""

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def _noise(image: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    return _clipped(image + rng.normal(0, sigma, image.shape))


def _clipped(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


CHANGES: dict[str, Change] = {
    "re-encoded": lambda image, rng: image,
    "16 bits": lambda image, rng: image.astype(np.uint16) * 257,
    "one row and column cut off": lambda image, rng: image[1:, 1:],
    "8 rows and columns cut off": lambda image, rng: image[8:, 8:],
    "shifted by 16 pixels": lambda image, rng: np.roll(image, (16, 16), (0, 1)),
    "half the size": lambda image, rng: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brightness x 0.7": lambda image, rng: _clipped(image * 0.7),
    "brightness x 1.3": lambda image, rng: _clipped(image * 1.3),
    "brightness + 20": lambda image, rng: _clipped(image + 20.0),
    "gamma 0.7": lambda image, rng: _clipped(255 * (image / 255) ** 0.7),
    "JPEG, quality 90": lambda image, rng: _jpeg(image, 90),
    "JPEG, quality 50": lambda image, rng: _jpeg(image, 50),
    "JPEG, quality 20": lambda image, rng: _jpeg(image, 20),
    "noise, sigma 4": lambda image, rng: _noise(image, rng, 4),
    "noise, sigma 12": lambda image, rng: _noise(image, rng, 12),
    "noise, sigma 25": lambda image, rng: _noise(image, rng, 25),
}
"""What is done to each channel of a copy."""

OVERLAPS = ((0, 38), (0, 96), (38, 128), (96, 128), (128, 128))
"""Shifts (down, right) in pixels between two windows of one field."""

Example = list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Score:
    """Pairs found: `true` of the `wanted` true pairs, and `false` of the `unlike` false pairs."""

    kind: str
    true: int
    wanted: int
    false: int
    unlike: int

    def row(self) -> str:
        """Returns a row of a Markdown table."""
        precision = f"{self.true / (self.true + self.false):.3f}" if self.true + self.false else "none found"
        return f"| {self.kind} | {precision} | {self.true / self.wanted:.3f} | {self.false} of {self.unlike:,} |"


def read_examples(source: Path) -> list[Example]:
    """Returns the four channels of every example of a source, uint8."""
    ids = sorted({path.name.rpartition("_")[0] for path in (source / "train").glob("*.png")})
    return [[iio.imread(source / "train" / f"{i}_{name}.png", plugin="pillow") for name in CHANNELS] for i in ids]


def rows_of(examples: Sequence[Example], first: int = 0) -> list[list[str]]:
    """Returns the fingerprints of examples; their ids are numbers from `first` on."""
    rows = []
    for number, example in enumerate(examples, first):
        channels = [Channel(f"{number}".encode(), image, np.iinfo(image.dtype).max) for image in example]
        rows.append(fingerprints.row(f"{number:06d}", channels))
    return rows


def table_of(rows: Sequence[Sequence[str]], folder: Path) -> Table:
    """Returns the table of these rows, written and read again."""
    path = folder / "fingerprints.csv"
    with files.replacing(path) as file:
        file.write(fingerprints.to_csv([fingerprints.header(CHANNELS), *rows]))
    return fingerprints.read(path)


def score(kind: str, table: Table, *, rotations: bool = False) -> Score:
    """Searches a table of n examples followed by their n copies."""
    num = len(table.ids) // 2
    found = [(int(pair.first), int(pair.second)) for pair in pairs.find(table, rotations=rotations)]
    true = sum(second - first == num for first, second in found)
    unlike = num * (2 * num - 1) - num
    return Score(kind, true, num, len(found) - true, unlike)


def window(example: Example, top: int, left: int) -> Example:
    """Returns a part of a field."""
    return [image[top : top + WINDOW, left : left + WINDOW] for image in example]


def copies(examples: Sequence[Example], change: Change, seed: int = 0) -> list[Example]:
    """Returns a changed copy of each example."""
    rng = np.random.default_rng(seed)
    return [[change(image, rng) for image in example] for example in examples]


def turned(examples: Sequence[Example], seed: int = 0) -> list[Example]:
    """Returns a copy of each example, turned or flipped at random; all channels alike."""
    rng = np.random.default_rng(seed)
    turns = rng.integers(1, len(hashes.TURNS), len(examples))
    return [
        [hashes.turned_image(image, int(turn)) for image in example]
        for example, turn in zip(examples, turns, strict=True)
    ]


def scores(examples: list[Example], folder: Path) -> Iterator[Score]:
    """Yields the score of every kind of copy."""
    originals, num = rows_of(examples), len(examples)

    def search(kind: str, changed: Sequence[Example], *, rotations: bool = False) -> Score:
        return score(kind, table_of(originals + rows_of(changed, num), folder), rotations=rotations)

    for name, change in CHANGES.items():
        yield search(name, copies(examples, change))
    yield search("rotated or flipped", turned(examples), rotations=True)
    noisy = copies(turned(examples), CHANGES["noise, sigma 12"])
    yield search("rotated or flipped, noise, sigma 12", noisy, rotations=True)
    originals = rows_of([window(example, 0, 0) for example in examples])
    for down, right in OVERLAPS:
        share = (WINDOW - down) * (WINDOW - right) / WINDOW**2
        yield search(f"neighbour, {share:.0%} in common", [window(example, down, right) for example in examples])


def unlike(examples: list[Example], folder: Path) -> Iterator[str]:
    """Yields how many pairs are found among examples that are all different."""
    table, num = table_of(rows_of(examples), folder), len(examples)
    turns = len(hashes.TURNS)
    for what, searched, rotations, times in (
        ("as they are", table, False, 1),
        ("with rotations", table, True, 1),
        ("with all their turns as further examples", with_turns(table), False, turns**2),
    ):
        began = time.process_time()
        found = pairs.find(searched, rotations=rotations)
        used = time.process_time() - began
        false = sum(int(pair.first) % num != int(pair.second) % num for pair in found)  # turns of one example are alike
        of = times * num * (num - 1) // 2
        yield f"{len(searched.ids):,} examples, {what}: {false} false pairs of {of:,}; {used:.1f} s of a processor"


def with_turns(table: Table) -> Table:
    """Returns the fingerprints of all eight turns of each example, as if they were different examples."""
    num, num_channels = len(hashes.TURNS) * len(table.ids), len(table.channels)
    found = [table.landmarks.turned(turn, num_channels) for turn in hashes.TURNS]
    return dataclasses.replace(
        _numbered(num),
        hashes=np.concatenate([hashes.turned(table.hashes, turn) for turn in hashes.TURNS]),
        landmarks=landmarks.Landmarks(
            np.concatenate([each.places for each in found]),
            np.concatenate([each.hashes for each in found]),
            np.concatenate([each.counts for each in found]),
        ),
    )


def _numbered(num: int) -> Table:
    """Returns a table of different files with random hashes and landmarks."""
    rng = np.random.default_rng(0)
    prints = rng.integers(0, 256, (num, len(CHANNELS), hashes.BYTES), dtype=np.uint8)
    prints[..., 0] |= 128
    places = rng.integers(landmarks.RADIUS, 128 - landmarks.RADIUS, (num, landmarks.MOST, 2), dtype=np.uint8)
    values = rng.integers(0, 1 << 63, (num, landmarks.MOST), dtype=np.uint64) | np.uint64(15)
    digests = np.zeros((num, len(CHANNELS), 32), np.uint8)
    digests[..., :4] = np.arange(num, dtype=">u4").view(np.uint8).reshape(num, 1, 4)
    return Table(
        channels=CHANNELS,
        ids=tuple(f"{number:08d}" for number in range(num)),
        files=digests,
        file_bytes=np.ones((num, len(CHANNELS)), np.int64),
        pixels=digests,
        hashes=prints,
        landmarks=landmarks.Landmarks(places, values, np.full(num, landmarks.MOST)),
        bad={},
    )


def drawn_table(num: int, planted: int) -> Table:
    """Returns random fingerprints, of which the last `planted` repeat the first with 3% of the hashes' bits changed."""
    table, rng = _numbered(num), np.random.default_rng(1)
    flipped = np.packbits(rng.random((planted, len(CHANNELS), 8 * hashes.BYTES)) < 0.03, axis=-1)
    flipped[..., 0] &= 127
    for column in (table.hashes, table.landmarks.places, table.landmarks.hashes):
        column[num - planted :] = column[:planted]
    table.hashes[num - planted :] ^= flipped
    return table


def scale(num: int) -> str:
    """Returns the time and memory of a search among `num` random fingerprints."""
    planted = num // 100
    table = drawn_table(num, planted)
    began, used = time.perf_counter(), time.process_time()
    found = pairs.find(table)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    true = sum(int(pair.second) - int(pair.first) == num - planted for pair in found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"{num:,} examples: {seconds:.1f} s ({used:.1f} s of a processor), {peak:.2f} GiB; "
        f"{true:,} of {planted:,} planted pairs, {len(found) - true} others"
    )


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--scale", "sizes", multiple=True, type=int, help="Only time a search among this many fingerprints.")
@click.option("--only-unlike", is_flag=True, help="Only count false pairs among the examples themselves.")
@click.option("--work", default="build/duplicates", type=click.Path(path_type=Path), help="Folder for tables.")
def main(sources: tuple[Path, ...], sizes: tuple[int, ...], only_unlike: bool, work: Path) -> None:
    """Print the precision and recall of each kind of copy of the examples of SOURCES, in Kaggle's layout."""
    cv2.setNumThreads(1)
    for num in sizes:
        click.echo(scale(num))
    examples = list(itertools.chain(*map(read_examples, sources)))
    if not examples:
        return
    for line in unlike(examples, work):
        click.echo(line)
    if not only_unlike:
        click.echo("\n| copy | precision | recall | false pairs |\n|---|---|---|---|")
        for found in scores(examples, work):
            click.echo(found.row())


if __name__ == "__main__":
    main()
