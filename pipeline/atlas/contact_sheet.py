"""A contact sheet: one drawn example of each of the 28 classes.

python -m pipeline.atlas.contact_sheet sheet.png --seed 3
"""

from pathlib import Path

import click
import cv2
import imageio.v3 as iio
import numpy as np

from pipeline.atlas.drawing import draw_example
from pipeline.options import HomePath
from pipeline.plan.table import read_labels
from pipeline.schema import HPA_KAGGLE_2018

CLASS_NAMES, FILTERS = HPA_KAGGLE_2018.classes, HPA_KAGGLE_2018.channel_names

GUTTER = 6
"""White pixels between tiles."""

CAPTION = 36
"""White pixels above a tile, for its title: two lines."""

_LINE = 16  # pixels from one line to the next
_FONT = cv2.FONT_HERSHEY_SIMPLEX, 0.44


@click.command()
@click.argument("out", type=HomePath(path_type=Path, dir_okay=False))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the drawings.")
@click.option("--side", default=300, show_default=True, type=click.IntRange(64, 512), help="Side of a tile, in pixels.")
@click.option("--columns", default=7, show_default=True, type=click.IntRange(1, 28), help="Tiles in a row.")
@click.option("--green-only", is_flag=True, help="Show only the protein, in grey.")
@click.option(
    "--beside",
    type=HomePath(path_type=Path, exists=True, file_okay=False),
    help="Instead of classes, show examples of this source (train.csv, train/), each above a drawing of its labels.",
)
def main(out: Path, seed: int, side: int, columns: int, green_only: bool, beside: Path | None) -> None:
    """Draw one example of each class, coloured as the atlas shows them, and write the sheet to the PNG file OUT."""
    sheet = draw_beside(beside, seed, columns) if beside else draw_sheet(seed, side, columns, green_only)
    iio.imwrite(out, sheet, plugin="pillow")


def draw_sheet(seed: int, side: int, columns: int, green_only: bool = False) -> np.ndarray:
    """uint8 `[height, width, 3]`: for each class, the `side` x `side` crop of an example with the most protein."""
    tiles = []
    for label, name in enumerate(CLASS_NAMES):
        images = _crop(draw_example(np.random.default_rng([seed, label]), [label], clear=True), side)
        tile = np.repeat(images["green"][..., None], 3, axis=2) if green_only else composite(images)
        tiles.append(_titled(tile, name))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.concatenate(_rows(tiles, columns))


def draw_beside(source: Path, seed: int, columns: int, rows: int = 2) -> np.ndarray:
    """uint8 `[height, width, 3]`: rows of real examples, each above its row of drawn ones."""
    real, drawn = [], []
    for number, example in enumerate(read_labels(source / "train.csv")[: rows * columns]):
        title = ", ".join(CLASS_NAMES[label] for label in example.labels)
        files = {name: source / "train" / f"{example.id}_{name}.png" for name in FILTERS}
        images = {name: iio.imread(path, plugin="pillow") for name, path in files.items()}
        real.append(_titled(composite(images), f"real: {title}"))
        images = draw_example(np.random.default_rng([seed, number]), example.labels)
        drawn.append(_titled(composite(images), f"synthetic: {title}"))
    pairs = zip(_rows(real, columns), _rows(drawn, columns), strict=True)
    return np.concatenate([row for pair in pairs for row in pair])


def _rows(tiles: list[np.ndarray], columns: int) -> list[np.ndarray]:
    """Joins tiles into rows; an incomplete last row is left out."""
    starts = range(0, len(tiles) - columns + 1, columns)
    return [np.concatenate(tiles[start : start + columns], axis=1) for start in starts]


def composite(images: dict[str, np.ndarray]) -> np.ndarray:
    """The four filters in the atlas's colours, added: uint8 `[H, W, 3]`."""
    red, green, blue, yellow = (images[name].astype(np.float32) for name in FILTERS)
    mixed = np.stack([0.6 * red + 0.35 * yellow, green + 0.22 * yellow, blue], axis=-1)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _crop(images: dict[str, np.ndarray], side: int) -> dict[str, np.ndarray]:
    """The window with the most bright green pixels, among windows 32 pixels apart."""
    green = images["green"]
    bright = green > 0.4 * np.percentile(green, 99.9)
    starts = range(0, green.shape[0] - side + 1, 32)
    windows = [(slice(top, top + side), slice(left, left + side)) for top in starts for left in starts]
    best = max(windows, key=lambda window: int(bright[window].sum()))
    return {name: pixels[best] for name, pixels in images.items()}


def _titled(tile: np.ndarray, title: str) -> np.ndarray:
    """The tile with its title above it, and half a gutter on each side."""
    side = tile.shape[1]
    caption = np.full((CAPTION, side, 3), 255, np.uint8)
    lines = _wrapped(title, side)[:2]
    for number, line in enumerate(lines):
        bottom = CAPTION - 6 - _LINE * (len(lines) - 1 - number)
        cv2.putText(caption, line, (0, bottom), *_FONT, (31, 41, 51), 1, cv2.LINE_AA)
    titled = np.concatenate([caption, tile])
    half = GUTTER // 2
    return np.pad(titled, ((half, half), (half, half), (0, 0)), constant_values=255)


def _wrapped(text: str, width: int) -> list[str]:
    """Splits text into lines of at most `width` pixels; a wider word has its own line."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and cv2.getTextSize(longer, *_FONT, 1)[0][0] > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


if __name__ == "__main__":
    main()
