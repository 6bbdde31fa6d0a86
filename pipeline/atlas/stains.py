"""What do the three reference stains show? Microtubules, nuclei and endoplasmic reticulum of a field of cells."""

import dataclasses

import numpy as np

from pipeline.atlas import pens
from pipeline.atlas.cells import METAPHASE, Field, Floats

_TURN = 2 * np.pi


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """The structures that more than one stain may show.

    Attributes:
      field: the cells.
      fibres: float32 `[n, steps, 2]`, x and y of microtubules, from the middle of the cell outwards, pixels.
      fibre_cell: int `[n]`, whose.
      spindles: float32 `[m, steps, 2]`, x and y of the fibres of spindles.
      spindle_cell: int `[m]`, whose.
      nucleoli: float32 `[SIDE, SIDE]`, 0..1.
      nucleolus_xy, nucleolus_radius, nucleolus_cell: `[k, 2]` and `[k]` pixels, `[k]` whose.
      thickness: float64 `[number of cells]`, about 1: a thick cell is brighter in all that fills it.
      net: float32 `[SIDE, SIDE]`, 0..1: the threads of the endoplasmic reticulum.
      droplet_xy, droplet_radius: `[d, 2]` and `[d]`: droplets of fat, which keep the reticulum out.
    """

    field: Field
    fibres: np.ndarray
    fibre_cell: np.ndarray
    spindles: np.ndarray
    spindle_cell: np.ndarray
    nucleoli: Floats
    nucleolus_xy: np.ndarray
    nucleolus_radius: np.ndarray
    nucleolus_cell: np.ndarray
    thickness: np.ndarray
    net: Floats
    droplet_xy: np.ndarray
    droplet_radius: np.ndarray


def draw_scene(rng: np.random.Generator, field: Field, *, fat: bool) -> Scene:
    """Fills the cells of a field; with `fat`, every cell has droplets (else few do)."""
    fibre_cell, fibres = _fibres(rng, field)
    spindle_cell, spindles = _spindles(rng, field)
    cell, xy, radius = _nucleoli(rng, field)
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
        nucleolus_cell=cell,
        thickness=np.exp(rng.normal(0, 0.38, field.num_cells)),
        net=pens.mesh(rng),
        droplet_xy=droplet_xy,
        droplet_radius=droplet_radius,
    )


def _fibres(rng: np.random.Generator, field: Field) -> tuple[np.ndarray, np.ndarray]:
    """Microtubules: some fan out from the organising centre, the rest wind around the nucleus on their way out."""
    cell = np.repeat(field.interphase, field.line.num_fibres)

    def each(low: float, high: float) -> np.ndarray:  # float32: there are hundreds of thousands of points
        return rng.uniform(low, high, (len(cell), 1)).astype(np.float32)

    part = np.linspace(0, 1, 16, dtype=np.float32)[None]
    wave = each(0.02, 0.10) * np.sin(part * each(0.5 * _TURN, 1.5 * _TURN) + each(0, _TURN))
    swirl = rng.normal(0, field.line.swirl, (len(cell), 1)).astype(np.float32)
    start, stop = each(0.01, 0.5), each(0.6, 1.0)
    lines = field.locate(cell[:, None], each(0, _TURN) + swirl * part + wave, start + (stop - start) * part)
    fans = np.flatnonzero(rng.random(len(cell)) < 0.4)
    pull = np.square(np.maximum(1 - 1.6 * part, 0))[..., None]
    centre = field.organising_centre[cell[fans]].astype(np.float32)
    lines[fans] += pull * (centre[:, None] - lines[fans])
    return cell, lines


def _spindles(rng: np.random.Generator, field: Field, each: int = 46) -> tuple[np.ndarray, np.ndarray]:
    """Fibres from the two poles of each metaphase cell to its chromosomes, bowed outwards."""
    cell = np.repeat(field.metaphase, each)
    poles = field.poles[cell, np.arange(len(cell)) % 2]
    across = np.stack([-np.sin(field.axis[cell]), np.cos(field.axis[cell])], axis=-1)
    reach = rng.uniform(-0.42, 0.42, (len(cell), 1)) * field.size[cell][:, None]
    goal = field.centre[cell] + across * reach
    part = np.linspace(0, 1, 10)[None, :, None]
    bow = across[:, None] * (reach[:, None] * 0.5 * np.sin(np.pi * part))
    return cell, (poles[:, None] * (1 - part) + goal[:, None] * part + bow).astype(np.float32)


def _nucleoli(rng: np.random.Generator, field: Field) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whose, where and how large: one to six a nucleus, in its inner part."""
    count = np.clip(rng.poisson(field.line.num_nucleoli, len(field.interphase)), 1, 6)
    cell = np.repeat(field.interphase, count)
    xy = field.locate(cell, rng.uniform(0, _TURN, len(cell)), -rng.uniform(0.35, 1, len(cell)))
    radius = field.envelope[cell].mean(axis=1) * rng.uniform(0.11, 0.24, len(cell)) / np.repeat(count, count) ** 0.2
    return cell, xy, radius


def _droplets(rng: np.random.Generator, field: Field, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Droplets of fat in a share of the cells: tens a cell, in clusters, of many sizes."""
    having = field.interphase[rng.random(len(field.interphase)) < share]
    cell = np.repeat(having, 26)
    near = rng.uniform(0, _TURN, (len(having), 3))[np.arange(len(cell)) // 26, rng.integers(0, 3, len(cell))]
    angle, depth = near + rng.normal(0, 0.35, len(cell)), rng.uniform(0.12, 0.75, len(cell))
    return field.locate(cell, angle, depth), np.clip(rng.lognormal(0.75, 0.4, len(cell)), 1.2, 5)


def fibre_image(lines: np.ndarray, cell: np.ndarray, gain: np.ndarray) -> Floats:
    """Lines as the microscope shows them, float32 `[SIDE, SIDE]`, brighter where they cross; `gain` is the cells'."""
    return pens.blur(pens.splat(pens.dense(lines, 5), gain[cell][None, :, None]), 0.75)


def red(rng: np.random.Generator, scene: Scene) -> Floats:
    """Microtubules: fibres over a haze of what is dissolved; spindles and bridges are the brightest."""
    field = scene.field
    gain = scene.thickness * np.exp(rng.normal(0, 0.15, field.num_cells)) * 45 / field.size
    image = fibre_image(scene.fibres, scene.fibre_cell, gain)
    # Above and below the nucleus the focus is off: what crosses it is dim.
    image *= 1 - np.float32(rng.uniform(0.4, 0.75)) * field.nuclei
    image += 0.5 * pens.glow(image)
    haze = field.of_cells(rng.uniform(0.7, 1.3) * gain)
    image += haze * (field.cytoplasm * (1.1 - 0.7 * field.depth) + 0.3 * field.nuclei) * (0.6 + 0.8 * scene.net)
    if len(scene.spindles):
        image += fibre_image(scene.spindles, scene.spindle_cell, field.size / 35)
    paired = np.flatnonzero(field.sister > np.arange(field.num_cells))
    if len(paired):
        image += 3 * pens.blur(pens.strokes(field.bridge[paired], thickness=3), 0.8)
    return image


def blue(rng: np.random.Generator, scene: Scene) -> Floats:
    """Nuclei: chromatin with its texture, dark nucleoli; the chromosomes of a dividing cell are brightest."""
    field = scene.field
    gain = np.exp(rng.normal(0, 0.25, field.num_cells)) * np.where(field.phase == METAPHASE, 1.7, 1.0)
    chromatin = 1 + 0.10 * pens.texture(rng, "grain") + 0.16 * pens.texture(rng, "blobs")
    image = field.of_cells(gain, field.nucleus) * chromatin
    image *= 1 - 0.6 * scene.nucleoli
    return pens.blur(image, 0.9)


def yellow(rng: np.random.Generator, scene: Scene) -> Floats:
    """Endoplasmic reticulum: a network, densest around the nucleus, with holes where droplets lie."""
    field = scene.field
    gain = scene.thickness * np.exp(rng.normal(0, 0.15, field.num_cells))
    fall = np.float32(rng.uniform(0.8, 2.4))
    sheet = np.exp(field.depth * -fall) * field.cytoplasm + np.float32(rng.uniform(0.1, 0.45)) * field.nuclei
    image = field.of_cells(gain) * sheet * (0.12 + scene.net) * (1 + 0.22 * pens.texture(rng, "patches"))
    if len(scene.droplet_xy):
        image *= 1 - 0.85 * pens.discs(scene.droplet_xy, scene.droplet_radius)
    return pens.blur(np.maximum(image, 0), 0.6)
