"""Drawing primitives: discs, strokes, textures, blur."""

import functools

import cv2
import numpy as np
from numpy.random import Generator

from pipeline.atlas.cells import SIDE, Floats

_BANK_SIDE = 1024  # pixels a side of a texture, which wraps around; each example uses a window of it
_BANK_SEED = 20180930  # arbitrary; all samples share the textures


@functools.cache
def _bank(name: str) -> np.ndarray:
    """One texture of mean 0 and standard deviation 1, float32 `[_BANK_SIDE + SIDE, _BANK_SIDE + SIDE]`.

    `white` is the camera's noise; the others are band-passed noise, named after the size of their features.
    """
    low, high = {"white": (0, 0), "grain": (0.7, 3), "blobs": (2, 8), "patches": (5, 20), "clouds": (20, 80)}[name]
    rng = np.random.default_rng([_BANK_SEED, round(10 * low)])
    noise = rng.standard_normal((_BANK_SIDE, _BANK_SIDE))
    if high:
        rows, columns = np.fft.fftfreq(_BANK_SIDE)[:, None], np.fft.rfftfreq(_BANK_SIDE)[None]
        square = 2 * np.pi**2 * (rows**2 + columns**2)
        band = np.exp(-square * low**2) - np.exp(-square * high**2)
        noise = np.fft.irfft2(np.fft.rfft2(noise) * band, s=noise.shape)
    noise = (noise - noise.mean()) / noise.std()
    wrapped = np.pad(noise, ((0, SIDE), (0, SIDE)), mode="wrap")
    return wrapped.astype(np.float32)


def texture(rng: Generator, name: str) -> Floats:
    """A random window of a texture, float32 `[SIDE, SIDE]`, mean 0, standard deviation 1. A read-only view."""
    top, left = rng.integers(0, _BANK_SIDE, 2)
    return _bank(name)[top : top + SIDE, left : left + SIDE]


def mesh(rng: Generator) -> Floats:
    """A network of threads, float32 `[SIDE, SIDE]`, 0..1: where a texture changes its sign."""
    return np.exp(np.abs(texture(rng, "grain")) * np.float32(-1 / 0.7))


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur; `sigma` in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def level(image: Floats) -> Floats:
    """Scales an image so that about 1% of its pixels are above 1; measured on every ninth pixel, for speed."""
    top = np.percentile(image[1::3, 1::3], 99)
    return image * np.float32(1 / max(float(top), 1e-3))


def glow(image: Floats) -> Floats:
    """The image blurred by about 6 pixels, like light from above and below the plane; computed at low resolution."""
    small = cv2.resize(image, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)
    return cv2.resize(blur(small, 1.5), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def splat(points: np.ndarray, weights: np.ndarray) -> Floats:
    """Sums weights at points (x, y; `[..., 2]` pixels), float32 `[SIDE, SIDE]`; points outside are dropped."""
    # The cast rounds -0.5 to 0, so the first row and column get a little from outside; it is not visible.
    columns, rows = (points[..., k].astype(np.int32).ravel() for k in (0, 1))
    inside = (columns >= 0) & (columns < SIDE) & (rows >= 0) & (rows < SIDE)
    weights = np.broadcast_to(weights, points.shape[:-1]).ravel()
    summed = np.bincount((rows * SIDE + columns)[inside], weights[inside], minlength=SIDE * SIDE)
    return summed.astype(np.float32).reshape(SIDE, SIDE)


def discs(
    points: np.ndarray, radii: np.ndarray | float, values: np.ndarray | float = 1.0, hollow: bool = False
) -> Floats:
    """Paints discs (or rings), float32 `[SIDE, SIDE]`, 0..1; `points` are `[n, 2]`, radii in pixels."""
    painted = np.zeros((SIDE, SIDE), np.uint8)
    points = points.reshape(-1, 2)
    centres, sizes = _scaled(points, 16), _scaled(np.broadcast_to(radii, len(points)), 16)
    greys = _scaled(np.broadcast_to(values, len(points)), 255)
    for centre, size, grey in zip(centres.tolist(), sizes.tolist(), greys.tolist(), strict=True):
        if -256 < centre[0] < 16 * SIDE + 256 and -256 < centre[1] < 16 * SIDE + 256:
            cv2.circle(painted, centre, size, grey, 1 if hollow else -1, cv2.LINE_AA, 4)
    return painted.astype(np.float32) * np.float32(1 / 255)


def strokes(lines: np.ndarray, values: np.ndarray | float = 1.0, thickness: int = 1) -> Floats:
    """Paints polylines (`[n, steps, 2]`, pixels), float32 `[SIDE, SIDE]`, 0..1."""
    painted = np.zeros((SIDE, SIDE), np.uint8)
    greys = _scaled(np.broadcast_to(values, len(lines)), 255)
    for line, grey in zip(_scaled(lines, 16), greys.tolist(), strict=True):
        cv2.polylines(painted, [line], False, grey, thickness, cv2.LINE_AA, 4)
    return painted.astype(np.float32) * np.float32(1 / 255)


def _scaled(values: np.ndarray, factor: int) -> np.ndarray:
    return np.rint(values * factor).astype(np.int32)


def dense(lines: np.ndarray, times: int) -> np.ndarray:
    """Points along lines, `times` for each step: `[n, steps, 2]` to `[times, n, steps - 1, 2]`."""
    start, step = lines[:, :-1], np.diff(lines, axis=1)
    return np.stack([start + step * np.float32(k / times) for k in range(times)])
