"""What does each localisation look like? One drawn example of each of the 28 classes on a sheet.

python -m pipeline.atlas.contact_sheet sheet.png --seed 3
"""

from pathlib import Path

import click
import numpy as np

from pipeline.schema import CLASS_NAMES, FILTERS


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another seed, other cells.")
@click.option("--side", default=300, show_default=True, type=click.IntRange(64, 512), help="Pixels a tile.")
@click.option("--columns", default=7, show_default=True, type=click.IntRange(1, 28), help="Tiles in a row.")
@click.option("--green-only", is_flag=True, help="The protein alone, in grey.")
@click.option(
    "--beside",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Instead of classes: examples of this source (train.csv, train/), each above a drawn one with its labels.",
)
def main(out: Path, seed: int, side: int, columns: int, green_only: bool, beside: Path | None) -> None:
    """Draw one example of each class, coloured as the atlas shows them, and write the sheet to the PNG file OUT."""
    import imageio.v3 as iio

    sheet = draw_beside(beside, seed, columns) if beside else draw_sheet(seed, side, columns, green_only)
    iio.imwrite(out, sheet, plugin="pillow")


def draw_sheet(seed: int, side: int, columns: int, green_only: bool = False) -> np.ndarray:
    """uint8 `[rows * side, columns * side, 3]`: for each class the part of an example with most of the protein."""
    from pipeline.atlas.drawing import draw_example

    tiles = []
    for label, name in enumerate(CLASS_NAMES):
        images = _crop(draw_example(np.random.default_rng([seed, label]), [label], clear=True), side)
        tile = np.repeat(images["green"][..., None], 3, axis=2) if green_only else composite(images)
        tiles.append(_named(tile, name))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def draw_beside(source: Path, seed: int, columns: int, rows: int = 2) -> np.ndarray:
    """uint8 `[2 * rows * 512, columns * 512, 3]`: rows of real examples, each above its row of drawn ones."""
    import imageio.v3 as iio

    from pipeline.atlas.drawing import draw_example
    from pipeline.plan.manifest import read_labels

    examples = read_labels(source / "train.csv")[: rows * columns]
    real, drawn = [], []
    for number, example in enumerate(examples):
        title = ", ".join(CLASS_NAMES[label] for label in example.labels)
        files = {name: source / "train" / f"{example.id}_{name}.png" for name in FILTERS}
        images = {name: iio.imread(path, plugin="pillow") for name, path in files.items()}
        real.append(_named(composite(images), f"real: {title}"))
        images = draw_example(np.random.default_rng([seed, number]), example.labels)
        drawn.append(_named(composite(images), f"synthetic: {title}"))
    lines = []
    for start in range(0, len(examples) - columns + 1, columns):
        lines += [np.concatenate(tiles[start : start + columns], axis=1) for tiles in (real, drawn)]
    return np.concatenate(lines)


def composite(images: dict[str, np.ndarray]) -> np.ndarray:
    """Colours the four filters as the atlas does and adds them up: uint8 `[H, W, 3]`."""
    red, green, blue, yellow = (images[name].astype(np.float32) for name in FILTERS)
    mixed = np.stack([0.6 * red + 0.35 * yellow, green + 0.22 * yellow, blue], axis=-1)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _crop(images: dict[str, np.ndarray], side: int) -> dict[str, np.ndarray]:
    """The window, of all those at steps of 32 pixels, that holds most of what is bright in green."""
    green = images["green"]
    bright = green > 0.4 * np.percentile(green, 99.9)
    starts = range(0, green.shape[0] - side + 1, 32)
    windows = [(slice(top, top + side), slice(left, left + side)) for top in starts for left in starts]
    best = max(windows, key=lambda window: int(bright[window].sum()))
    return {name: pixels[best] for name, pixels in images.items()}


def _named(tile: np.ndarray, name: str) -> np.ndarray:
    import cv2

    tile = np.ascontiguousarray(tile)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, name, (7, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.48, colour, width, cv2.LINE_AA)
    return tile


if __name__ == "__main__":
    main()
