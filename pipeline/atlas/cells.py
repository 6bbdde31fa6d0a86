"""Geometry of a field of cells: centres, outlines and nuclei, which all four stains of an example share.

A point in a cell is given by its angle around the cell's centre and its *depth*: -1 is the centre, 0 the nuclear
envelope, 1 the plasma membrane. `Field.locate` converts them to pixels, so that a structure is described relative to
the cell ("beside the nucleus", "along the edge"), whatever the cell's shape.
"""

import dataclasses
import functools

import cv2
import numpy as np
from numpy.random import Generator

SIDE = 512  # pixels a side, as in the Kaggle set
MAX_CELLS = 120  # in a field; the maps of cells have 8 bits
ANGLES = 96  # vertices of an outline, about 4 pixels apart on a large cell
INTERPHASE, METAPHASE, DAUGHTER = 0, 1, 2  # phases of a cell; daughters come in pairs, joined by a bridge
TURN = 2 * np.pi
_THETA = np.arange(ANGLES) * (TURN / ANGLES)

Floats = np.ndarray  # float32


@dataclasses.dataclass(frozen=True)
class CellLine:
    """Appearance of the cells of one line; lengths in pixels, the rest are ratios."""

    name: str
    radius: float  # of a cell without neighbours
    nucleus: float  # radius of the nucleus, as a share of the cell's
    elongation: float  # 0: round; 0.6: spindle-shaped
    ruggedness: float  # of the outline
    tails: float  # share of the cells with a tail
    crowding: float  # 0.1: a few cells, 1: confluent
    gap: float  # pixels between neighbours
    swirl: float  # how far fibres wind around the nucleus, in radians
    num_fibres: int  # microtubules per cell
    num_nucleoli: float  # mean number per nucleus


CELL_LINES = (
    CellLine("large and flat, as U-2 OS", 76, 0.40, 0.25, 0.10, 0.2, 0.85, 2.0, 0.7, 150, 3.0),
    CellLine("confluent epithelial, as A-431", 50, 0.50, 0.15, 0.07, 0.0, 1.2, 1.0, 1.1, 100, 2.5),
    CellLine("spindle-shaped, as U-251 MG", 62, 0.42, 0.42, 0.13, 0.7, 0.65, 3.0, 0.4, 130, 2.0),
    CellLine("cobblestone, as MCF7", 45, 0.54, 0.12, 0.08, 0.0, 1.1, 1.5, 1.3, 80, 2.2),
    CellLine("small and tight, as HEK 293", 38, 0.50, 0.22, 0.16, 0.3, 1.0, 1.5, 0.9, 60, 2.5),
    CellLine("loose and ragged, as HeLa", 58, 0.46, 0.26, 0.17, 0.4, 0.8, 3.0, 0.8, 120, 3.5),
    CellLine("fibroblast, as BJ", 80, 0.36, 0.50, 0.10, 0.6, 0.6, 3.0, 0.3, 150, 2.5),
    CellLine("round and scattered, as PC-3", 50, 0.52, 0.10, 0.12, 0.1, 0.6, 3.0, 1.2, 100, 2.0),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """The `n` cells of one example; some are partly outside the picture. Lengths in pixels, angles in radians."""

    line: CellLine
    centre: np.ndarray  # float32 [n, 2], x and y of the nuclei's centres
    outline: np.ndarray  # float32 [n, ANGLES], distance from the centre to the plasma membrane
    envelope: np.ndarray  # likewise to the nuclear envelope (of a metaphase cell: to the rim of its chromosomes)
    phase: np.ndarray  # int [n]
    axis: np.ndarray  # float64 [n], long axis of the cell; of a dividing cell, the direction of the division
    organiser: np.ndarray  # float64 [n], the side of the nucleus where microtubules are organised
    sister: np.ndarray  # int [n], index of the other daughter, or -1
    bridge: np.ndarray  # float64 [n, 2, 2], the two ends (x, y) of the bridge between daughters
    cell: np.ndarray  # uint8 [SIDE, SIDE], 0 is background, k + 1 is cell k
    nucleus: np.ndarray  # uint8 [SIDE, SIDE], likewise

    @property
    def num_cells(self) -> int:
        return len(self.centre)

    @functools.cached_property
    def size(self) -> np.ndarray:
        """Mean distance of the plasma membrane from the centre, float32 `[n]`, pixels."""
        return self.outline.mean(axis=1)

    @functools.cached_property
    def interphase(self) -> np.ndarray:
        """Indices of the cells with a whole nucleus (daughters included)."""
        return np.flatnonzero(self.phase != METAPHASE)

    @functools.cached_property
    def metaphase(self) -> np.ndarray:
        """Indices of the cells with a spindle."""
        return np.flatnonzero(self.phase == METAPHASE)

    @functools.cached_property
    def pairs(self) -> np.ndarray:
        """Indices of one daughter of each pair."""
        return np.flatnonzero(self.sister > np.arange(self.num_cells))

    def locate(self, cell: np.ndarray, angle: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Returns x and y, `[..., 2]` in pixels, of points in cells (`cell`, `angle`, `depth` broadcast)."""
        vertex = np.mod(angle, TURN) * (ANGLES / TURN)
        low = vertex.astype(np.int32)
        part = (vertex - low).astype(np.float32)
        low %= ANGLES
        before, after = cell * ANGLES + low, cell * ANGLES + (low + 1) % ANGLES
        rim = self.envelope.take(before) * (1 - part) + self.envelope.take(after) * part
        edge = self.outline.take(before) * (1 - part) + self.outline.take(after) * part
        radius = np.where(depth < 0, rim * (1 + depth), rim + (edge - rim) * depth)
        return direction(angle) * radius[..., None] + self.centre[cell]

    @functools.cached_property
    def poles(self) -> np.ndarray:
        """x and y of the ends of each cell's spindle, `[n, 2, 2]`; meaningful for metaphase cells only."""
        offset = direction(self.axis) * (0.55 * self.size)[:, None]
        return np.stack([self.centre + offset, self.centre - offset], axis=1)

    @functools.cached_property
    def organising_centre(self) -> np.ndarray:
        """x and y of each cell's microtubule organising centre, `[n, 2]`: close to the nucleus, outside it."""
        return self.locate(np.arange(self.num_cells), self.organiser, np.full(self.num_cells, 0.14))

    @functools.cached_property
    def borders(self) -> np.ndarray:
        """bool `[SIDE, SIDE]`: the pixels where the map of cells changes."""
        border = np.zeros((SIDE, SIDE), bool)
        border[:, :-1] = self.cell[:, 1:] != self.cell[:, :-1]
        border[:-1] |= self.cell[1:] != self.cell[:-1]
        return border

    @functools.cached_property
    def edge_distance(self) -> Floats:
        """float32 `[SIDE, SIDE]`: pixels to the edge of the cell, 0 outside."""
        inside = ((self.cell > 0) & ~self.borders).view(np.uint8)
        return cv2.distanceTransform(inside, cv2.DIST_L2, 3)

    @functools.cached_property
    def rim_distance(self) -> Floats:
        """float32 `[SIDE, SIDE]`: pixels from the nearest nuclear envelope outwards, 0 inside nuclei."""
        return cv2.distanceTransform((self.nucleus == 0).view(np.uint8), cv2.DIST_L2, 3)

    @functools.cached_property
    def nucleus_depth(self) -> Floats:
        """float32 `[SIDE, SIDE]`: pixels from the nuclear envelope inwards, 0 outside nuclei."""
        return cv2.distanceTransform((self.nucleus > 0).view(np.uint8), cv2.DIST_L2, 3)

    @functools.cached_property
    def depth(self) -> Floats:
        """float32 `[SIDE, SIDE]`: 0 at the nuclear envelope, 1 at the plasma membrane and outside."""
        return self.rim_distance / (self.rim_distance + self.edge_distance + 1e-3)

    @functools.cached_property
    def cytoplasm(self) -> Floats:
        """float32 `[SIDE, SIDE]`, 0 or 1: inside a cell and outside its nucleus."""
        return ((self.cell > 0) & (self.nucleus == 0)).astype(np.float32)

    @functools.cached_property
    def nuclei(self) -> Floats:
        """float32 `[SIDE, SIDE]`, 0 or 1: inside the nucleus of a cell that has one."""
        return (self.of_cells(self.phase != METAPHASE, self.nucleus)).astype(np.float32)

    def of_cells(self, values: np.ndarray, where: np.ndarray | None = None, outside: float = 0.0) -> Floats:
        """Returns each cell's value at its pixels in the map `where` (default: `cell`), float32 `[SIDE, SIDE]`."""
        table = np.full(256, outside, np.float32)
        table[1 : 1 + len(values)] = values
        return cv2.LUT(self.cell if where is None else where, table)


def direction(angle: np.ndarray | float) -> np.ndarray:
    """Returns the unit vectors, x and y `[..., 2]`, of angles in radians."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def draw_field(rng: Generator, line: CellLine, *, num_mitoses: int, num_bridges: int) -> Field:
    """Places and outlines the cells of one line.

    Args:
      num_mitoses: metaphase cells wanted; at most half of the cells that are whole in the picture.
      num_bridges: pairs of daughters wanted; a pair too near another is left out.
    """
    centre = _scatter(rng, line)
    centre, phase, axis, sister = _divide(rng, line, centre, num_mitoses, num_bridges)
    num = len(centre)
    radius = line.radius * np.exp(rng.normal(0, 0.13, num))
    radius[phase == METAPHASE] = 0.62 * line.radius
    radius[phase == DAUGHTER] = 0.66 * line.radius
    outline = _press(line, centre, _outlines(rng, line, radius, axis, phase), radius, sister)
    envelope = np.minimum(_envelopes(rng, line, radius, axis, phase), 0.86 * outline)
    bridge = _bridges(centre, outline, sister)
    return Field(
        line=line,
        centre=centre.astype(np.float32),
        outline=outline.astype(np.float32),
        envelope=envelope.astype(np.float32),
        phase=phase,
        axis=axis,
        organiser=rng.uniform(0, TURN, num),
        sister=sister,
        bridge=bridge,
        cell=_join(_fill(centre, outline), bridge, sister),
        nucleus=_fill(centre, envelope),
    )


def _scatter(rng: Generator, line: CellLine) -> np.ndarray:
    """Returns random centres, x and y `[n, 2]`, without those too near an earlier one."""
    margin = 0.7 * line.radius
    area = (SIDE + 2 * margin) ** 2
    spacing = line.radius * np.clip(2.2 - 0.9 * line.crowding, 1.2, 1.8)
    # Random centres cover about 1 / 1.4 of an area.
    wanted = min(max(7, round(line.crowding * area / (1.4 * spacing**2))), MAX_CELLS)
    candidates = rng.uniform(-margin, SIDE + margin, (10 * wanted, 2))
    candidates[:6] = rng.uniform(0.15 * SIDE, 0.85 * SIDE, (6, 2))  # a microscopist chooses a field with cells in it
    kept: list[np.ndarray] = []
    while len(candidates) and len(kept) < wanted:
        kept.append(candidates[0])
        candidates = candidates[np.square(candidates - candidates[0]).sum(axis=-1) >= spacing**2]
    return np.array(kept)


def _divide(
    rng: Generator, line: CellLine, centre: np.ndarray, num_mitoses: int, num_bridges: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Adds daughters and turns some cells into metaphase cells; returns centre, phase, axis and sister."""
    common = rng.uniform(0, np.pi)  # the cells of a field tend to have the same orientation
    margin = 0.6 * line.radius
    daughters = _place_daughters(rng, line, margin, num_bridges)
    for daughter in daughters:
        centre = centre[_distance(centre, daughter) > 1.25 * line.radius]
    centre = np.concatenate([daughters, centre])
    num = len(centre)
    phase, sister = np.full(num, INTERPHASE), np.full(num, -1)
    axis = common + rng.normal(0, 0.5, num)
    index = np.arange(len(daughters))
    phase[index] = DAUGHTER
    sister[index] = index ^ 1
    towards = centre[sister[index]] - centre[index]
    axis[index] = np.arctan2(towards[:, 1], towards[:, 0])
    inside = np.all((centre > margin) & (centre < SIDE - margin), axis=1) & (phase == INTERPHASE)
    most = max(1, inside.sum() // 2)  # the other cells show the protein
    chosen = np.flatnonzero(inside)[: min(num_mitoses, most)]
    phase[chosen] = METAPHASE
    axis[chosen] = rng.uniform(0, TURN, len(chosen))
    return centre, phase, axis, sister


def _place_daughters(rng: Generator, line: CellLine, margin: float, num_pairs: int) -> np.ndarray:
    """Returns the centres of daughters, x and y `[n, 2]`, the two of a pair one after the other."""
    centre = np.empty((0, 2))
    for _ in range(num_pairs):
        middle = rng.uniform(margin + line.radius, SIDE - margin - line.radius, 2)
        step = 0.95 * line.radius * direction(rng.uniform(0, TURN))
        if _distance(centre, middle).min(initial=np.inf) > 3 * line.radius:
            centre = np.concatenate([centre, [middle - step, middle + step]])
    return centre


def _distance(points: np.ndarray, point: np.ndarray) -> np.ndarray:
    return np.hypot(points[:, 0] - point[0], points[:, 1] - point[1])


def _outlines(rng: Generator, line: CellLine, radius: np.ndarray, axis: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Distances to the plasma membrane of free cells, `[n, ANGLES]`; dividing cells are nearly round."""
    num = len(radius)
    calm = np.where(phase == INTERPHASE, 1.0, np.where(phase == METAPHASE, 0.1, 0.4))[:, None]
    turned = _THETA[None] - axis[:, None]
    shape = line.elongation * np.cos(2 * turned) * rng.uniform(0.5, 1.5, (num, 1))
    for order in range(1, 10):
        height = line.ruggedness * rng.normal(0, 1 / np.sqrt(order), (num, 1)) * (1.0 if order < 5 else 0.6)
        shape = shape + height * np.cos(order * _THETA[None] + rng.uniform(0, TURN, (num, 1)))
    length = rng.uniform(0.4, 1.0, (num, 1)) * (rng.random((num, 1)) < line.tails)
    side = np.where(rng.random((num, 1)) < 0.5, 0, np.pi)
    shape = shape + length * np.exp(25 * (np.cos(turned - side) - 1))
    return radius[:, None] * np.exp(calm * shape)


def _envelopes(rng: Generator, line: CellLine, radius: np.ndarray, axis: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Distances to the nuclear envelope, `[n, ANGLES]`: a lumpy ellipse; in metaphase a plate across the axis."""
    num = len(radius)
    turned = _THETA[None] - axis[:, None] - rng.normal(0, 0.2, (num, 1)) * (phase == INTERPHASE)[:, None]
    size = line.nucleus * line.radius * np.exp(rng.normal(0, 0.1, num))
    size[phase == DAUGHTER] *= 0.72
    long = np.exp(np.minimum(0.5 * line.elongation, 0.3) + np.abs(rng.normal(0, 0.08, num)))
    along, across = size * long, size / long
    plate = phase == METAPHASE
    along[plate], across[plate] = 0.13 * radius[plate], 0.62 * radius[plate]
    egg = along[:, None] * across[:, None] / np.hypot(across[:, None] * np.cos(turned), along[:, None] * np.sin(turned))
    lumps = np.ones((num, ANGLES))
    for order in range(1, 5):
        lumps += rng.normal(0, 0.05 / order, (num, 1)) * np.cos(order * _THETA + rng.uniform(0, TURN, (num, 1)))
    return egg * lumps


def _press(
    line: CellLine, centre: np.ndarray, outline: np.ndarray, radius: np.ndarray, sister: np.ndarray
) -> np.ndarray:
    """Limits outlines where neighbours meet, by a line between the two centres, and smooths them."""
    offset = centre[None] - centre[:, None]
    distance = np.hypot(offset[..., 0], offset[..., 1])
    np.fill_diagonal(distance, np.inf)
    share = radius[:, None] / (radius[:, None] + radius[None])
    gap = np.full_like(distance, line.gap)
    daughters = np.flatnonzero(sister >= 0)
    gap[daughters, sister[daughters]] = 0.5 * line.radius
    reach = np.maximum(distance * share - gap / 2, 3)
    cell, other = np.nonzero(distance < 6 * line.radius)
    towards = np.arctan2(offset[cell, other, 1], offset[cell, other, 0])
    facing = np.cos(_THETA[None] - towards[:, None])
    limit = np.where(facing > 0.05, reach[cell, other][:, None] / np.maximum(facing, 0.05), np.inf)
    pressed = outline.copy()
    np.minimum.at(pressed, cell, limit)
    smooth = (np.roll(pressed, 1, axis=1) + 2 * pressed + np.roll(pressed, -1, axis=1)) / 4
    return np.maximum(smooth, 4)


def _bridges(centre: np.ndarray, outline: np.ndarray, sister: np.ndarray) -> np.ndarray:
    """Ends of the bridges, `[n, 2, 2]`: the facing edges of two daughters."""
    ends = np.zeros((len(centre), 2, 2))
    daughters = np.flatnonzero(sister >= 0)
    for cell in daughters:
        towards = centre[sister[cell]] - centre[cell]
        reach = outline[cell, int(np.arctan2(towards[1], towards[0]) % TURN * (ANGLES / TURN)) % ANGLES]
        ends[cell, 0] = centre[cell] + towards / np.hypot(*towards) * (reach - 3)
    ends[daughters, 1] = ends[sister[daughters], 0]
    return ends


def _fill(centre: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Returns a map of outlines, uint8 `[SIDE, SIDE]`: 0 is background, k + 1 is cell k."""
    painted = np.zeros((SIDE, SIDE), np.uint8)
    corners = np.rint((centre[:, None] + outline[..., None] * direction(_THETA)[None]) * 16).astype(np.int32)
    for cell, polygon in enumerate(corners):
        cv2.fillPoly(painted, [polygon], cell + 1, shift=4)
    return painted


def _join(painted: np.ndarray, bridge: np.ndarray, sister: np.ndarray) -> np.ndarray:
    """Adds the bridges between daughters to a map of cells; returns it."""
    for cell in np.flatnonzero(sister > np.arange(len(sister))).tolist():
        start, stop = np.rint(bridge[cell]).astype(int).tolist()
        cv2.line(painted, start, stop, cell + 1, thickness=5)
    return painted
