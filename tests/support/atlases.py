"""Small sources of other schemas than the default, drawn from a seed."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import tifffile

from pipeline.schema import Schema, parse

FIVE = """
name = "painting"
description = "Cell Painting as TIFFs of a 12-bit camera."
depth = "12"
classes = ["control", "toxic, slowly", "binucleate"]
[images]
folder = "tiffs"
pattern = "{plate}/{well}_{channel}.tif"
[table]
file = "wells.csv"
id = "Well id"
labels = "Found"
separator = ";"
groups = ["plate"]
carry = ["plate", "dose"]
[[channels]]
name = "DNA"
colour = "blue"
[[channels]]
name = "ER"
[[channels]]
name = "RNA"
[[channels]]
name = "AGP"
[[channels]]
name = "Mito"
colour = "#ff00ff"
"""


@dataclasses.dataclass(frozen=True)
class Atlas:
    """A source folder; `pixels` are uint16 `[5, side, side]` and `labels` class names, by id."""

    root: Path
    schema: Schema
    pixels: dict[str, np.ndarray]
    labels: dict[str, list[str]]
    plates: dict[str, str]


def draw_painting(root: Path, num: int = 24, side: int = 40, depth: str = "12", largest: int = 4095) -> Atlas:
    """Draws five-channel 16-bit TIFFs, compressed, in a folder for each of six plates."""
    rng = np.random.default_rng(0)
    schema = parse.parse(FIVE.replace('"12"', f'"{depth}"'), "five")
    pixels, labels, plates = {}, {}, {}
    rows = []
    for k in range(num):
        example_id, plate, well = f"w-{k:03d}", f"P{k % 6}", f"A{k:02d}"
        image = rng.integers(0, largest + 1, (5, side, side), dtype=np.uint16)
        chosen = sorted(rng.choice(3, size=rng.integers(1, 3), replace=False))
        labels[example_id] = [schema.classes[c] for c in chosen]
        pixels[example_id], plates[example_id] = image, plate
        for channel, plane in zip(schema.channel_names, image, strict=True):
            path = root / "tiffs" / plate / f"{well}_{channel}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, plane, compression="lzw")
        rows.append([example_id, plate, well, f"{k} uM", ";".join(labels[example_id])])
    with open(root / "wells.csv", "w", newline="") as file:
        csv.writer(file).writerows([["Well id", "plate", "well", "dose", "Found"], *rows])
    return Atlas(root, schema, pixels, labels, plates)
