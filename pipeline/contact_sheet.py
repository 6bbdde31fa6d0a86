"""What does each localisation look like? One drawn example of each of the 28 classes on a sheet.

    python -m pipeline.contact_sheet sheet.png --seed 3
"""

from pathlib import Path

import click
import numpy as np

from pipeline.schema import CLASS_NAMES


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another seed, other cells.")
@click.option("--side", default=300, show_default=True, type=click.IntRange(64, 512), help="Pixels a tile.")
@click.option("--columns", default=7, show_default=True, type=click.IntRange(1, 28), help="Tiles in a row.")
@click.option("--green-only", is_flag=True, help="The protein alone, in grey.")
def main(out: Path, seed: int, side: int, columns: int, green_only: bool) -> None:
    """Draw one example of each class, coloured as the atlas shows them, and write the sheet to the PNG file OUT."""
    import imageio.v3 as iio

    iio.imwrite(out, draw_sheet(seed, side, columns, green_only), plugin="pillow")


def draw_sheet(seed: int, side: int, columns: int, green_only: bool = False) -> np.ndarray:
    """uint8 `[rows * side, columns * side, 3]`: for each class the part of an example with most of the protein."""
    from pipeline.drawing import draw_example

    tiles = []
    for label, name in enumerate(CLASS_NAMES):
        images = _crop(draw_example(np.random.default_rng([seed, label]), [label], clear=True), side)
        tile = np.repeat(images["green"][..., None], 3, axis=2) if green_only else composite(images)
        tiles.append(_named(tile, name))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def composite(images: dict[str, np.ndarray]) -> np.ndarray:
    """Colours the four filters as the atlas does and adds them up: uint8 `[H, W, 3]`."""
    red, green, blue, yellow = (images[name].astype(np.float32) for name in ("red", "green", "blue", "yellow"))
    mixed = np.stack([0.6 * red + 0.35 * yellow, green + 0.22 * yellow, blue], axis=-1)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _crop(images: dict[str, np.ndarray], side: int) -> dict[str, np.ndarray]:
    """The window with most green, of all those at steps of 32 pixels."""
    green = images["green"].astype(np.float64)
    starts = range(0, green.shape[0] - side + 1, 32)
    top, left = max(((t, s) for t in starts for s in starts), key=lambda at: _light(green, at, side))
    return {name: pixels[top : top + side, left : left + side] for name, pixels in images.items()}


def _light(green: np.ndarray, at: tuple[int, int], side: int) -> float:
    """How much there is to see in a window: a high power, so that one bright dot outweighs a dim cell."""
    return float(np.power(green[at[0] : at[0] + side, at[1] : at[1] + side], 4).sum())


def _named(tile: np.ndarray, name: str) -> np.ndarray:
    import cv2

    tile = np.ascontiguousarray(tile)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, name, (7, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.48, colour, width, cv2.LINE_AA)
    return tile


if __name__ == "__main__":
    main()
