"""The four filters of one drawn example: a field of cells, stained, as a camera records it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from pipeline.atlas import cells, localisations, pens, stains
from pipeline.atlas.cells import SIDE, Floats
from pipeline.schema import HPA_KAGGLE_2018

CLASS_NAMES = HPA_KAGGLE_2018.classes

DRAWING_VERSION = 1
"""Incremented when the same seed gives other pixels or labels."""

_BRIDGE, _SPINDLE = CLASS_NAMES.index("Cytokinetic bridge"), CLASS_NAMES.index("Mitotic spindle")
_JUNCTIONS, _DROPLETS = CLASS_NAMES.index("Cell junctions"), CLASS_NAMES.index("Lipid droplets")

# Grey level of the bright parts of a filter: the 99th percentile of the 60 real examples; green by trial.
_EXPOSURE = {"red": 170.0, "green": 110.0, "blue": 170.0, "yellow": 140.0}

# Limit on the 90th percentile of green, in grey levels, before random variation; of 60 real examples, 54 are below 82.
_FILLED = 75.0

# Variance of the noise per grey level of light, and without light (square grey levels); by trial.
_NOISE = {"red": (4.0, 2.0), "green": (4.0, 2.0), "blue": (1.5, 1.0), "yellow": (4.5, 2.0)}

# Lowest and highest black level, in standard deviations of the noise without light; by trial.
_BLACK = {"red": (-0.3, 2.6), "green": (-0.3, 2.3), "blue": (0.7, 2.2), "yellow": (-0.3, 2.6)}


def generator(seed: int, index: int, *, balanced: bool) -> Generator:
    """Returns the random generator of the pictures of example `index` of a sample."""
    return Generator(np.random.PCG64(np.random.SeedSequence([seed, index, int(balanced), 1])))


def draw_example(rng: Generator, labels: Sequence[int], *, clear: bool = False) -> dict[str, np.ndarray]:
    """Draws one example, `{filter: uint8 [SIDE, SIDE]}`, with the protein (green) at the localisations `labels`.

    With `clear`, the field has many cells and is well exposed.
    """
    scene = stage(rng, labels, clear=clear)
    signals = {
        "red": pens.level(stains.red(rng, scene)),
        "green": protein(rng, scene, labels, clear=clear),
        "blue": pens.level(stains.blue(rng, scene)),
        "yellow": pens.level(stains.yellow(rng, scene)),
    }
    return _photograph(rng, signals, clear)


def stage(rng: Generator, labels: Sequence[int], *, clear: bool = False) -> stains.Scene:
    """Draws a field of cells that can show the labels: a spindle needs a dividing cell, a junction needs neighbours.

    Any field may have dividing cells and fat, so that the labels cannot be read from red, blue and yellow alone.
    """
    line = cells.CELL_LINES[rng.integers(len(cells.CELL_LINES))]
    line = dataclasses.replace(
        line,
        radius=line.radius * rng.uniform(0.8, 1.2),
        crowding=float(np.clip(line.crowding * rng.lognormal(-0.2, 0.35), 0.7 if clear else 0.08, 1)),
    )
    if _JUNCTIONS in labels:
        line = dataclasses.replace(line, crowding=max(line.crowding, 0.8), gap=1.0)
    num_mitoses = rng.integers(1, 5) if _SPINDLE in labels else int(rng.random() < 0.12)
    num_bridges = rng.integers(2, 5) if _BRIDGE in labels else int(rng.random() < 0.10)
    field = cells.draw_field(rng, line, num_mitoses=int(num_mitoses), num_bridges=int(num_bridges))
    return stains.draw_scene(rng, field, fat=_DROPLETS in labels)


def protein(rng: Generator, scene: stains.Scene, labels: Sequence[int], *, clear: bool = False) -> Floats:
    """Draws the protein of interest, float32 `[SIDE, SIDE]`: its localisations, and a trace of it everywhere.

    The amount differs from cell to cell; in one field in ten, about half of the cells have little.
    """
    field = scene.field
    image = np.zeros((SIDE, SIDE), np.float32)
    shares = rng.uniform(0.5, 1, len(labels)) if len(labels) > 1 else np.ones(1)
    for label, share in zip(labels, shares / shares.max(), strict=True):
        image += np.float32(share) * localisations.DRAW[label](rng, scene)
    gain = np.exp(rng.normal(0, 0.2 if clear else rng.uniform(0.2, 0.6), field.num_cells))
    if rng.random() < 0.1 and not clear:
        gain *= np.where(rng.random(field.num_cells) < 0.5, 0.15, 1)
    image *= field.of_cells(gain, outside=1.0)
    trace = min(0.005 + rng.exponential(0.03), 0.15)
    unspecific = (field.cell > 0) + np.float32(rng.uniform(0.5, 2.5)) * field.nuclei
    return image + np.float32(trace) * unspecific * (1 + 0.3 * pens.texture(rng, "grain"))


def _photograph(rng: Generator, signals: dict[str, Floats], clear: bool) -> dict[str, np.ndarray]:
    """Adds bleed-through of the other stains to green, then the exposure, black level and noise of each filter."""
    green = signals["green"]
    for name in ("red", "blue", "yellow"):
        green = green + np.float32(min(rng.exponential(0.025), 0.1)) * signals[name]
    faint = rng.uniform(0.1, 0.4) if rng.random() < 0.03 and not clear else 1.0
    empty = rng.uniform(0.06, 0.3) if rng.random() < 0.08 and not clear else 1.0
    images = {}
    for name, signal in {**signals, "green": green}.items():
        gain = rng.lognormal(0, 0.3)
        exposure = _EXPOSURE[name] * (max(gain, 1.0) if clear else gain)
        if name == "green":
            # A protein that fills the cells is exposed less, or most of the picture would be white.
            filled = float(np.percentile(signal[1::3, 1::3], 90))
            exposure = min(exposure, _FILLED * rng.lognormal(0, 0.25) / max(filled, 1e-3)) * empty
        exposure *= faint
        images[name] = _expose(rng, signal, exposure, *_NOISE[name], rng.uniform(*_BLACK[name]))
    return images


def _expose(rng: Generator, signal: Floats, exposure: float, grain: float, dark: float, black: float) -> np.ndarray:
    """Returns uint8 `[SIDE, SIDE]`, with noise that grows with the square root of the light.

    `grain`, `dark` and `black` are as in `_NOISE` and `_BLACK`.
    """
    light = np.maximum(signal * np.float32(exposure), 0)
    grain, dark = grain * rng.lognormal(0, 0.4), dark * rng.lognormal(0, 0.6)
    noise = np.sqrt(light * np.float32(grain) + np.float32(dark))
    noise *= pens.texture(rng, "white")
    light += noise
    light += np.float32(0.5 - black * np.sqrt(dark))  # 0.5: the cast rounds down
    np.clip(light, 0, 255, out=light)
    return light.astype(np.uint8)
