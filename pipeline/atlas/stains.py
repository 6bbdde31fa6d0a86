"""The three reference stains of a field of cells: microtubules, nuclei, endoplasmic reticulum."""

import dataclasses

import numpy as np
from numpy.random import Generator

from pipeline.atlas import pens
from pipeline.atlas.cells import METAPHASE, TURN, Field, Floats


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """Structures that more than one stain may show. Points are x and y, lengths in pixels."""

    field: Field
    fibres: np.ndarray  # float32 [n, steps, 2], microtubules, from the middle of the cell outwards
    fibre_cell: np.ndarray  # int [n], the cell of each
    spindles: np.ndarray  # float32 [m, steps, 2], fibres of spindles
    spindle_cell: np.ndarray  # int [m], the cell of each
    nucleoli: Floats  # [SIDE, SIDE], 0..1
    nucleolus_xy: np.ndarray  # [k, 2]
    nucleolus_radius: np.ndarray  # [k]
    thickness: np.ndarray  # float64 [number of cells], about 1; a thick cell is brighter
    net: Floats  # [SIDE, SIDE], 0..1: the threads of the endoplasmic reticulum
    droplet_xy: np.ndarray  # [d, 2], droplets of fat, where there is no reticulum
    droplet_radius: np.ndarray  # [d]


def draw_scene(rng: Generator, field: Field, *, fat: bool) -> Scene:
    """Draws the structures of a field; with `fat` every cell has droplets, without it few have."""
    fibre_cell, fibres = _fibres(rng, field)
    spindle_cell, spindles = _spindles(rng, field)
    xy, radius = _nucleoli(rng, field)
    droplet_xy, droplet_radius = _droplets(rng, field, 1.0 if fat else 0.08)
    return Scene(
        field=field,
        fibres=fibres,
        fibre_cell=fibre_cell,
        spindles=spindles,
        spindle_cell=spindle_cell,
        nucleoli=pens.blur(pens.discs(xy, radius), 0.9),
        nucleolus_xy=xy,
        nucleolus_radius=radius,
        thickness=np.exp(rng.normal(0, 0.38, field.num_cells)),
        net=pens.mesh(rng),
        droplet_xy=droplet_xy,
        droplet_radius=droplet_radius,
    )


def _fibres(rng: Generator, field: Field) -> tuple[np.ndarray, np.ndarray]:
    """Microtubules: some fan out from the organising centre, the others wind around the nucleus."""
    cell = np.repeat(field.interphase, field.line.num_fibres)

    def uniform(low: float, high: float) -> np.ndarray:  # float32: there are hundreds of thousands of points
        return rng.uniform(low, high, (len(cell), 1)).astype(np.float32)

    part = np.linspace(0, 1, 16, dtype=np.float32)[None]
    wave = uniform(0.02, 0.10) * np.sin(part * uniform(0.5 * TURN, 1.5 * TURN) + uniform(0, TURN))
    swirl = rng.normal(0, field.line.swirl, (len(cell), 1)).astype(np.float32)
    start, stop = uniform(0.01, 0.5), uniform(0.6, 1.0)
    lines = field.locate(cell[:, None], uniform(0, TURN) + swirl * part + wave, start + (stop - start) * part)
    fans = np.flatnonzero(rng.random(len(cell)) < 0.4)
    pull = np.square(np.maximum(1 - 1.6 * part, 0))[..., None]
    centre = field.organising_centre[cell[fans]].astype(np.float32)
    lines[fans] += pull * (centre[:, None] - lines[fans])
    return cell, lines


def _spindles(rng: Generator, field: Field, each: int = 46) -> tuple[np.ndarray, np.ndarray]:
    """Fibres from the two poles of each metaphase cell to its chromosomes, bowed outwards."""
    cell = np.repeat(field.metaphase, each)
    poles = field.poles[cell, np.arange(len(cell)) % 2]
    across = np.stack([-np.sin(field.axis[cell]), np.cos(field.axis[cell])], axis=-1)
    reach = rng.uniform(-0.42, 0.42, (len(cell), 1)) * field.size[cell][:, None]
    end = field.centre[cell] + across * reach
    part = np.linspace(0, 1, 10)[None, :, None]
    bow = across[:, None] * (reach[:, None] * 0.5 * np.sin(np.pi * part))
    return cell, (poles[:, None] * (1 - part) + end[:, None] * part + bow).astype(np.float32)


def _nucleoli(rng: Generator, field: Field) -> tuple[np.ndarray, np.ndarray]:
    """Centres and radii of nucleoli: one to six per nucleus, in its inner part."""
    count = np.clip(rng.poisson(field.line.num_nucleoli, len(field.interphase)), 1, 6)
    cell = np.repeat(field.interphase, count)
    xy = field.locate(cell, rng.uniform(0, TURN, len(cell)), -rng.uniform(0.35, 1, len(cell)))
    radius = field.envelope[cell].mean(axis=1) * rng.uniform(0.11, 0.24, len(cell)) / np.repeat(count, count) ** 0.2
    return xy, radius


def _droplets(rng: Generator, field: Field, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres and radii of droplets of fat: 26 in each cell that has any, in clusters, of many sizes."""
    fat = field.interphase[rng.random(len(field.interphase)) < share]
    cell = np.repeat(fat, 26)
    near = rng.uniform(0, TURN, (len(fat), 3))[np.arange(len(cell)) // 26, rng.integers(0, 3, len(cell))]
    angle, depth = near + rng.normal(0, 0.35, len(cell)), rng.uniform(0.12, 0.75, len(cell))
    return field.locate(cell, angle, depth), np.clip(rng.lognormal(0.75, 0.4, len(cell)), 1.2, 5)


def fibre_image(lines: np.ndarray, cell: np.ndarray, gain: np.ndarray) -> Floats:
    """Fine lines, float32 `[SIDE, SIDE]`, brighter where they cross; `gain` is each cell's brightness."""
    return pens.blur(pens.splat(pens.dense(lines, 5), gain[cell][None, :, None]), 0.75)


def red(rng: Generator, scene: Scene) -> Floats:
    """Microtubules: fibres over a haze of dissolved tubulin; spindles and bridges are the brightest."""
    field = scene.field
    gain = scene.thickness * np.exp(rng.normal(0, 0.15, field.num_cells)) * 45 / field.size
    image = fibre_image(scene.fibres, scene.fibre_cell, gain)
    # Fibres above and below the nucleus are out of focus, so they are dim.
    image *= 1 - np.float32(rng.uniform(0.4, 0.75)) * field.nuclei
    image += 0.5 * pens.glow(image)
    haze = field.of_cells(rng.uniform(0.7, 1.3) * gain)
    image += haze * (field.cytoplasm * (1.1 - 0.7 * field.depth) + 0.3 * field.nuclei) * (0.6 + 0.8 * scene.net)
    if len(scene.spindles):
        image += fibre_image(scene.spindles, scene.spindle_cell, field.size / 35)
    if len(field.pairs):
        image += 3 * pens.blur(pens.strokes(field.bridge[field.pairs], thickness=3), 0.8)
    return image


def blue(rng: Generator, scene: Scene) -> Floats:
    """Nuclei: textured chromatin, dark nucleoli; the chromosomes of a dividing cell are the brightest."""
    field = scene.field
    gain = np.exp(rng.normal(0, 0.25, field.num_cells)) * np.where(field.phase == METAPHASE, 1.7, 1.0)
    chromatin = 1 + 0.10 * pens.texture(rng, "grain") + 0.16 * pens.texture(rng, "blobs")
    image = field.of_cells(gain, field.nucleus) * chromatin
    image *= 1 - 0.6 * scene.nucleoli
    return pens.blur(image, 0.9)


def yellow(rng: Generator, scene: Scene) -> Floats:
    """Endoplasmic reticulum: a network, densest around the nucleus, with holes at droplets."""
    field = scene.field
    gain = scene.thickness * np.exp(rng.normal(0, 0.15, field.num_cells))
    fall = np.float32(rng.uniform(0.8, 2.4))
    sheet = np.exp(field.depth * -fall) * field.cytoplasm + np.float32(rng.uniform(0.1, 0.45)) * field.nuclei
    image = field.of_cells(gain) * sheet * (0.12 + scene.net) * (1 + 0.22 * pens.texture(rng, "patches"))
    if len(scene.droplet_xy):
        image *= 1 - 0.85 * pens.discs(scene.droplet_xy, scene.droplet_radius)
    return pens.blur(np.maximum(image, 0), 0.6)
