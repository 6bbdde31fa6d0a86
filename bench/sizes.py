"""Rates of decoding, resizing and stacking at several sizes, side by side in one process.

    python -m bench.sizes SOURCE      prints examples per second as JSON, by side of the source images and by size

The images of more than 512 pixels a side are mosaics of those of SOURCE.
"""

import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import imageio.v3 as iio
import numpy as np

from bench.checkout import CORES
from bench.source import examples
from pipeline.images import sources, stack
from pipeline.schema import HPA_KAGGLE_2018

SIDES = {512: (60, 240), 2048: (4, 12), 3072: (4, 8)}
"""Pixels a side of the source images: (different examples, examples to time at once)."""

SIZES = (256, 224, 300, 384, 512)
"""Pixels a side of the results; others are compared with the first."""

ROUNDS = 5


def mosaic(pieces: list[Path], out: Path, side: int) -> None:
    """Writes an image of `side` pixels a side, made of the first of `pieces`, as many as fit."""
    first = iio.imread(pieces[0])
    across = side // len(first)
    images = [iio.imread(pieces[k % len(pieces)]) for k in range(across * across)]
    iio.imwrite(out, np.block([images[row * across : (row + 1) * across] for row in range(across)]))


def lay_out(source: Path, out: Path, side: int, num: int) -> list[str]:
    """Writes the images of `num` examples to the folder `out`; returns their ids."""
    ids = [example_id for example_id, _ in examples(source)][: max(num, 8)]
    out.mkdir()
    for start, example_id in enumerate(ids[:num]):
        for path in (source / "train").glob(f"{example_id}_*"):
            pieces = [path.with_name(path.name.replace(example_id, other)) for other in ids[start:] + ids[:start]]
            mosaic(pieces, out / path.name, side)
    return ids[:num]


def rates(images: Path, ids: list[str], num: int, sizes: tuple[int, ...] = SIZES) -> dict[int, float]:
    """Returns examples per second at each size: medians of rounds in which the sizes alternate."""
    import cv2

    cv2.setNumThreads(1)  # as in the workers of a build
    opened = sources.open_images(images)
    schema = HPA_KAGGLE_2018
    values: dict[int, list[float]] = {size: [] for size in sizes}
    with ThreadPoolExecutor(CORES) as pool:
        for _ in range(ROUNDS):
            for size in sizes:

                def load(number: int, size: int = size) -> None:
                    stack.stack_example(opened, schema.files(ids[number % len(ids)]), schema, size)

                began = time.perf_counter()
                list(pool.map(load, range(num)))
                values[size].append(num / (time.perf_counter() - began))
    return {size: statistics.median(found) for size, found in values.items()}


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
def main(source: Path) -> None:
    """Time the examples of SOURCE at every size."""
    found = {}
    for side, (num_ids, num) in SIDES.items():
        with tempfile.TemporaryDirectory() as work:
            ids = lay_out(source, Path(work) / "images", side, num_ids)
            found[side] = rates(Path(work) / "images", ids, num)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
