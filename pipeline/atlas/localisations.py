"""Drawings of the 28 localisations in green, the stain of the protein.

To add a class, write its function here, list it in `DRAW` at the position of its name among the schema's classes, and
extend the counts in `label_sets`. `test_every_localisation_shows_in_green` then draws it and
`test_localisations_are_in_the_order_of_the_classes` checks its position.

Every function returns float32 `[SIDE, SIDE]`, 0 where there is no protein and about 1 where there is a lot. The
structures follow the pictures and definitions of the Human Protein Atlas' dictionary
(https://www.proteinatlas.org/learn/dictionary), simplified to a cartoon.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from pipeline.atlas import pens, stains
from pipeline.atlas.cells import METAPHASE, SIDE, TURN, Floats, direction
from pipeline.atlas.stains import Scene


def _cells(rng: Generator, scene: Scene, mean: float) -> np.ndarray:
    """Indices of cells with a nucleus, each repeated `mean` times on average; larger cells more often."""
    field = scene.field
    count = rng.poisson(mean * np.clip(field.size / field.size.mean(), 0.4, 2.5))
    return np.repeat(field.interphase, count[field.interphase])


def _in_cytoplasm(rng: Generator, scene: Scene, cell: np.ndarray, low: float, high: float) -> np.ndarray:
    """Points in the cytoplasm, `[n, 2]`, between two depths, uniform over the area."""
    depth = np.sqrt(rng.uniform(low**2, high**2, len(cell)))
    return scene.field.locate(cell, rng.uniform(0, TURN, len(cell)), depth)


def _in_nucleus(rng: Generator, scene: Scene, cell: np.ndarray, outer: float = 0.9) -> np.ndarray:
    """Points in the nucleus, `[n, 2]`, uniform over the area."""
    angle = rng.uniform(0, TURN, len(cell))
    return scene.field.locate(cell, angle, outer * np.sqrt(rng.random(len(cell))) - 1)


def nucleoplasm(rng: Generator, scene: Scene) -> Floats:
    """The nucleus without its nucleoli, grained; a little in the cytoplasm."""
    image = scene.field.nuclei * (0.6 + 0.14 * pens.texture(rng, "grain") + 0.06 * pens.texture(rng, "blobs"))
    cytoplasm = np.float32(rng.uniform(0.02, 0.2)) * scene.field.cytoplasm
    return np.maximum(image, 0) * (1 - 0.75 * scene.nucleoli) + cytoplasm


def nuclear_membrane(rng: Generator, scene: Scene) -> Floats:
    """The rim of the nucleus, a thin line; faint over the nucleus."""
    field = scene.field
    inward, outward = field.nucleus_depth, field.rim_distance
    line = np.exp(np.square(np.maximum(inward - 1, 0) + outward) * np.float32(-0.5))
    return (line * (field.cell > 0) + 0.18 * field.nuclei) * (field.of_cells(field.phase != METAPHASE))


def nucleoli(rng: Generator, scene: Scene) -> Floats:
    """The nucleoli, filled."""
    return scene.nucleoli * (0.9 + 0.12 * pens.texture(rng, "grain"))


def nucleoli_fibrillar_center(rng: Generator, scene: Scene) -> Floats:
    """A few small bright dots inside each nucleolus."""
    which = np.repeat(np.arange(len(scene.nucleolus_xy)), rng.integers(1, 4, len(scene.nucleolus_xy)))
    spread = rng.normal(0, 0.42, (len(which), 2)) * scene.nucleolus_radius[which][:, None]
    return pens.blur(pens.discs(scene.nucleolus_xy[which] + spread, rng.uniform(0.9, 1.6, len(which))), 0.6) * 1.3


def nuclear_speckles(rng: Generator, scene: Scene) -> Floats:
    """About twenty irregular spots in the nucleoplasm, outside the nucleoli."""
    cell = _cells(rng, scene, 20)
    spots = pens.discs(_in_nucleus(rng, scene, cell), rng.uniform(1.2, 2.9, len(cell)), rng.uniform(0.5, 1, len(cell)))
    return pens.blur(spots, 0.8) * (1 - scene.nucleoli) + 0.12 * scene.field.nuclei


def nuclear_bodies(rng: Generator, scene: Scene) -> Floats:
    """Two to six sharp round dots in the nucleus."""
    cell = _cells(rng, scene, 3.5)
    return pens.blur(pens.discs(_in_nucleus(rng, scene, cell, 0.8), rng.uniform(1.3, 2.4, len(cell))), 0.6)


def endoplasmic_reticulum(rng: Generator, scene: Scene) -> Floats:
    """The network that yellow shows, densest around the nucleus."""
    field = scene.field
    return (np.exp(-1.6 * field.depth) * field.cytoplasm + 0.12 * field.nuclei) * (0.1 + 0.9 * scene.net)


def golgi_apparatus(rng: Generator, scene: Scene) -> Floats:
    """A ribbon of stacks along one side of the nucleus, around the organising centre."""
    field = scene.field
    cell = np.repeat(field.interphase, 9)
    start = field.organiser[cell] + rng.normal(0, 0.5, len(cell))
    part = np.linspace(-0.5, 0.5, 5)[None]
    angle = start[:, None] + part * rng.uniform(0.15, 0.8, (len(cell), 1))
    depth = 0.15 + rng.normal(0, 0.075, (len(cell), 1)) + rng.normal(0, 0.03, angle.shape)
    lines = field.locate(cell[:, None], angle, np.clip(depth, 0.03, 0.5))
    return pens.blur(pens.strokes(lines, rng.uniform(0.5, 1, len(cell)), thickness=2), 0.8)


def peroxisomes(rng: Generator, scene: Scene) -> Floats:
    """Many tiny dots of one size, uniform over the cytoplasm."""
    cell = _cells(rng, scene, 75)
    return pens.blur(pens.discs(_in_cytoplasm(rng, scene, cell, 0.1, 0.9), 0.9), 0.6)


def endosomes(rng: Generator, scene: Scene) -> Floats:
    """Hollow vesicles of many sizes, over the whole cytoplasm."""
    cell = _cells(rng, scene, 26)
    where, size = _in_cytoplasm(rng, scene, cell, 0.1, 0.9), np.clip(rng.lognormal(0.8, 0.35, len(cell)), 1, 5)
    return pens.blur(pens.discs(where, size, rng.uniform(0.5, 1, len(cell)), hollow=True), 0.6)


def lysosomes(rng: Generator, scene: Scene) -> Floats:
    """Round filled bodies of different sizes, mostly on the side of the organising centre."""
    cell = _cells(rng, scene, 22)
    angle = scene.field.organiser[cell] + rng.normal(0, 0.8, len(cell))
    where = scene.field.locate(cell, angle, np.clip(np.abs(rng.normal(0.1, 0.28, len(cell))), 0.06, 0.9))
    return pens.blur(pens.discs(where, np.clip(rng.lognormal(0.7, 0.3, len(cell)), 1.2, 4)), 0.6)


def intermediate_filaments(rng: Generator, scene: Scene) -> Floats:
    """Wavy bundles, thicker than microtubules and independent of them: a cage around the nucleus."""
    cell = np.repeat(scene.field.interphase, 34)
    part = np.linspace(0, 1, 16)[None]
    column = (len(cell), 1)
    angle = rng.uniform(0, TURN, column) + rng.normal(0, 0.9, column) * part
    angle = angle + 0.16 * np.sin(TURN * (part * rng.uniform(1, 3, column) + rng.random(column)))
    depth = rng.uniform(0.02, 0.4, column) + rng.uniform(-0.1, 0.5, column) * part
    lines = scene.field.locate(cell[:, None], angle, np.clip(depth, 0.02, 0.85))
    return pens.blur(pens.strokes(lines, rng.uniform(0.3, 1, len(cell))), 0.7)


def actin_filaments(rng: Generator, scene: Scene) -> Floats:
    """Straight parallel bundles along the cell's long axis, across the nucleus too, and a bright edge."""
    field = scene.field
    cell = np.repeat(field.interphase, 20)
    way = field.axis[cell] + rng.normal(0, 0.08, len(cell))
    side = np.where(rng.random(len(cell)) < 0.5, 1, -1) * rng.uniform(0.1, 1.5, len(cell))
    start = field.locate(cell, way + np.pi - side, np.full(len(cell), 0.93))
    stop = field.locate(cell, way + side, np.full(len(cell), 0.93))
    fibres = pens.strokes(np.stack([start, stop], axis=1), rng.uniform(0.4, 1, len(cell)), thickness=1)
    return pens.blur(fibres, 0.7) + 0.5 * np.exp(field.edge_distance * np.float32(-0.6)) * (field.cell > 0)


def focal_adhesion_sites(rng: Generator, scene: Scene) -> Floats:
    """Short thick dashes just inside the edge of the cell, pointing outwards."""
    cell = _cells(rng, scene, 22)
    angle = rng.uniform(0, TURN, len(cell))[:, None]
    depth = rng.uniform(0.78, 0.9, len(cell))[:, None] + np.array([0, 0.11])[None]
    lines = scene.field.locate(cell[:, None], np.repeat(angle, 2, axis=1), depth)
    return pens.blur(pens.strokes(lines, rng.uniform(0.6, 1, len(cell)), thickness=2), 0.7)


def microtubules(rng: Generator, scene: Scene) -> Floats:
    """The fibres that red shows."""
    image = stains.fibre_image(scene.fibres, scene.fibre_cell, 1 / scene.field.size) * (1 - 0.8 * scene.field.nuclei)
    return np.minimum(pens.level(image), 2)  # where hundreds cross


def microtubule_ends(rng: Generator, scene: Scene) -> Floats:
    """Little comets at the outer ends of the fibres that red shows."""
    chosen = rng.random(len(scene.fibres)) < 0.5
    return pens.blur(pens.strokes(scene.fibres[chosen, -2:], thickness=2), 0.6)


def cytokinetic_bridge(rng: Generator, scene: Scene) -> Floats:
    """The thread that joins two daughter cells, brightest in its inner half."""
    field = scene.field
    ends = field.bridge[field.pairs]
    middle = ends.mean(axis=1, keepdims=True)
    inner = middle + (ends - middle) * 0.5
    image = 0.7 * pens.strokes(ends, thickness=2) + pens.strokes(inner, thickness=4)
    return pens.blur(image, 0.8) * 1.3


def mitotic_spindle(rng: Generator, scene: Scene) -> Floats:
    """The spindle of a dividing cell: the fibres between its poles and its chromosomes."""
    if not len(scene.spindles):
        return np.zeros((SIDE, SIDE), np.float32)
    return np.minimum(stains.fibre_image(scene.spindles, scene.spindle_cell, scene.field.size / 45), 2)


def microtubule_organizing_center(rng: Generator, scene: Scene) -> Floats:
    """A soft patch around the organising centre, with satellites."""
    cell = np.repeat(scene.field.interphase, 9)
    where = scene.field.organising_centre[cell] + rng.normal(0, 3.2, (len(cell), 2))
    return pens.blur(pens.discs(where, rng.uniform(1, 2.4, len(cell))), 1.3) * 1.3


def centrosome(rng: Generator, scene: Scene) -> Floats:
    """One or two sharp dots at the organising centre; in a spindle, at its poles."""
    field = scene.field
    where = field.organising_centre[field.interphase]
    second = where[rng.random(len(where)) < 0.6] + rng.normal(0, 2.5, 2)
    poles = field.poles[field.metaphase].reshape(-1, 2)
    return pens.blur(pens.discs(np.concatenate([where, second, poles]), 1.9), 0.6) * 1.5


def lipid_droplets(rng: Generator, scene: Scene) -> Floats:
    """Clusters of round droplets, brightest at their surface; yellow has holes there."""
    skin = pens.discs(scene.droplet_xy, scene.droplet_radius, hollow=True)
    return pens.blur(skin + 0.35 * pens.discs(scene.droplet_xy, scene.droplet_radius), 0.6)


def plasma_membrane(rng: Generator, scene: Scene) -> Floats:
    """A line along the whole edge of the cell; faint over the cell."""
    line = np.exp(scene.field.edge_distance * np.float32(-0.55)) * (0.85 + 0.3 * pens.texture(rng, "patches"))
    return (np.maximum(line, 0) + 0.12) * (scene.field.cell > 0)


def cell_junctions(rng: Generator, scene: Scene) -> Floats:
    """The edge only where two cells touch, beaded."""
    field = scene.field
    square = np.ones((7, 7), np.uint8)
    highest = cv2.dilate(field.cell, square)
    lowest = cv2.erode(np.where(field.cell == 0, 255, field.cell).astype(np.uint8), square)
    touching = (highest != lowest) & (highest > 0) & (lowest < 255) & (field.edge_distance < 2)
    beads = np.clip(0.9 + 0.6 * pens.texture(rng, "blobs"), 0.1, 2)
    return pens.blur(touching.astype(np.float32), 0.8) * beads


def mitochondria(rng: Generator, scene: Scene) -> Floats:
    """Short curved rods in the cytoplasm, most of them around the nucleus."""
    cell = _cells(rng, scene, 48)
    angle, depth = rng.uniform(0, TURN, len(cell)), np.clip(rng.beta(1.3, 2.6, len(cell)), 0.05, 0.9)
    start = scene.field.locate(cell, angle, depth)
    heading = rng.uniform(0, TURN, (len(cell), 1)) + np.cumsum(rng.normal(0, 0.45, (len(cell), 5)), axis=1)
    step = rng.uniform(1.4, 2.8, (len(cell), 1))
    rod = np.cumsum(direction(heading) * step[..., None], axis=1)
    image = pens.blur(pens.strokes(start[:, None] + rod, rng.uniform(0.5, 1, len(cell)), thickness=2), 0.7)
    return image * scene.field.cytoplasm


def aggresome(rng: Generator, scene: Scene) -> Floats:
    """One large lump beside the nucleus, in most cells."""
    field = scene.field
    cell = field.interphase[rng.random(len(field.interphase)) < 0.8]
    where = field.locate(cell, field.organiser[cell], np.full(len(cell), 0.28))
    lump = pens.discs(where, np.maximum(0.11 * field.size[cell], 3) * rng.uniform(0.8, 1.4, len(cell)))
    return pens.blur(lump, 1.2) * (1 + 0.15 * pens.texture(rng, "grain")) + 0.08 * field.cytoplasm


def cytosol(rng: Generator, scene: Scene) -> Floats:
    """The cytoplasm, finely grained, without fibres; some in the nucleus."""
    field = scene.field
    level = field.cytoplasm * (1 - 0.35 * field.depth) + np.float32(rng.uniform(0.4, 1.0)) * field.nuclei
    return level * np.maximum(0.6 + 0.07 * pens.texture(rng, "grain") + 0.05 * pens.texture(rng, "patches"), 0)


def cytoplasmic_bodies(rng: Generator, scene: Scene) -> Floats:
    """A few round granules anywhere in the cytoplasm."""
    cell = _cells(rng, scene, 6)
    return pens.blur(pens.discs(_in_cytoplasm(rng, scene, cell, 0.15, 0.85), rng.uniform(1.6, 2.6, len(cell))), 0.7)


def rods_and_rings(rng: Generator, scene: Scene) -> Floats:
    """About three straight rods or rings per cell, in the cytoplasm."""
    cell = _cells(rng, scene, 3)
    where = _in_cytoplasm(rng, scene, cell, 0.2, 0.75)
    ring = rng.random(len(cell)) < 0.35
    half = direction(rng.uniform(0, TURN, len(cell))) * rng.uniform(4, 8.5, (len(cell), 1))
    rods = pens.strokes(np.stack([where - half, where + half], axis=1)[~ring], thickness=3)
    return pens.blur(rods + pens.discs(where[ring], rng.uniform(4, 6.5, ring.sum()), hollow=True), 0.7)


DRAW: tuple[Callable[[Generator, Scene], Floats], ...] = (
    nucleoplasm, nuclear_membrane, nucleoli, nucleoli_fibrillar_center, nuclear_speckles, nuclear_bodies,
    endoplasmic_reticulum, golgi_apparatus, peroxisomes, endosomes, lysosomes, intermediate_filaments,
    actin_filaments, focal_adhesion_sites, microtubules, microtubule_ends, cytokinetic_bridge, mitotic_spindle,
    microtubule_organizing_center, centrosome, lipid_droplets, plasma_membrane, cell_junctions, mitochondria,
    aggresome, cytosol, cytoplasmic_bodies, rods_and_rings,
)  # fmt: skip
"""The functions by class id, in the order of the classes of the schema."""
