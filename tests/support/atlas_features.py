"""Hand-made features of a four-channel image: what green shows by itself, and where it lies in the cell."""

import itertools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

SCALES = (0.7, 1.4, 2.8, 5.6, 11.2)
"""Standard deviations, in pixels, of the Gaussians whose differences show spots of each size."""

NUCLEUS_EDGES = (-10, -5, -2, 0, 2, 5, 9, 15, 25)
CELL_EDGES = (2, 4, 7, 12, 20)
"""Limits, in pixels, of zones by distance from the edge of the nucleus (negative inside) and of the cell."""


def spots(image: np.ndarray) -> list[np.ndarray]:
    """Returns an image for each two neighbours of `SCALES`: float32, same size; coarse ones from a smaller image."""
    blurred, small = [cv2.GaussianBlur(image, (0, 0), SCALES[0]), cv2.GaussianBlur(image, (0, 0), SCALES[1])], image
    for _ in SCALES[2:]:
        small = cv2.resize(small, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        blurred.append(
            cv2.resize(cv2.GaussianBlur(small, (0, 0), SCALES[1]), image.shape, interpolation=cv2.INTER_LINEAR)
        )
    return [fine - coarse for fine, coarse in itertools.pairwise(blurred)]


def summary(values: np.ndarray) -> list[float]:
    """Returns mean, deviation, four percentiles and kurtosis of the values of a region."""
    if len(values) < 20:
        return [0.0] * 7
    values = values[:: 1 + len(values) // 15_000]  # enough for a percentile
    deviation = values.std() + 1e-3
    p50, p90, p99, top = np.percentile(values, [50, 90, 99, 99.9])
    kurtosis = np.mean(np.clip((values - values.mean()) / deviation, -20, 20) ** 4)
    return [values.mean(), deviation, p50, p90, p99, top, kurtosis]


def of_green(green: np.ndarray) -> list[float]:
    """Returns features of green alone: its histogram, its spots at each scale, how long its structures are."""
    features = summary(green.ravel())
    level = green.std() + 1e-3
    for band in spots(green):
        features += summary((band / level).ravel())
        features.append(np.mean(band > 2 * band.std()))
        features.append(np.mean(band < -2 * band.std()))
    for scale in (1.5, 4):
        features += _elongation(green, scale)
    binary = (green > green.mean() + 2 * green.std()).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(binary)
    areas = stats[1:, cv2.CC_STAT_AREA] if count > 1 else np.zeros(1)
    extent = np.maximum(stats[1:, 2], stats[1:, 3]) if count > 1 else np.zeros(1)
    features += [count, *np.percentile(areas, [25, 50, 75, 95, 100]), *np.percentile(extent, [50, 95])]
    return [*features, np.mean(areas / np.maximum(extent, 1) ** 2)]


def _elongation(image: np.ndarray, scale: float) -> list[float]:
    """Returns mean and 90th percentile of the coherence of the structure tensor, at a scale."""
    image = cv2.resize(image, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    dx, dy = cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(a, (0, 0), 2) for a in (dx * dx, dy * dy, dx * dy))
    coherence = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + 1e-3)
    return [np.average(coherence, weights=xx + yy + 1e-6), np.percentile(coherence, 90)]


def of_relations(red: np.ndarray, green: np.ndarray, blue: np.ndarray, yellow: np.ndarray) -> list[float]:
    """Returns what the other channels add: where green lies relative to nuclei, cells and fibres, at each scale."""
    nuclei = (cv2.GaussianBlur(blue, (0, 0), 1.5) > max(0.35 * np.percentile(blue, 97), 6)).astype(np.uint8)
    body = cv2.GaussianBlur(np.maximum(yellow, 0.6 * red), (0, 0), 2)
    cell = ((body > max(0.12 * np.percentile(body, 98), 3)) | (nuclei > 0)).astype(np.uint8)
    outside = cv2.distanceTransform(1 - nuclei, cv2.DIST_L2, 3) - cv2.distanceTransform(nuclei, cv2.DIST_L2, 3)
    bands = spots(green)
    level = green[cell > 0].mean() + 1 if cell.any() else 1.0
    features = [nuclei.mean(), cell.mean()]
    features += _zones(green / level, [np.maximum(band, 0) / level for band in bands], nuclei, cell, outside)
    regions = (nuclei > 0, (nuclei == 0) & (cell > 0), (outside > 0) & (outside < 8))
    features += _regions(green, bands, (red, blue, yellow), regions, level)
    for other in (red, blue):
        features += _near_bright(green, other, nuclei, level)
    num_nuclei = max(cv2.connectedComponents(nuclei)[0] - 1, 1)
    for band in (bands[0] + bands[1], bands[1] + bands[2]):
        features += _pieces(band, outside, num_nuclei)
    return features


def _zones(
    green: np.ndarray, bands: Sequence[np.ndarray], nuclei: np.ndarray, cell: np.ndarray, outside: np.ndarray
) -> list[float]:
    """Returns means of green and its spots by distance from the nucleus and from the edge of the cell."""
    by_nucleus = np.digitize(outside, NUCLEUS_EDGES) + 1
    by_edge = np.digitize(cv2.distanceTransform(cell, cv2.DIST_L2, 3), CELL_EDGES) + 1
    features = []
    for image in (green, *bands):
        features += _profile(image, by_nucleus * (cell > 0), len(NUCLEUS_EDGES) + 2)
        features += _profile(image, by_edge * ((cell > 0) & (nuclei == 0)), len(CELL_EDGES) + 2)
    return features


def _profile(image: np.ndarray, regions: np.ndarray, num: int) -> list[float]:
    """Returns the mean of an image in each of the regions 0 to `num` - 1."""
    total = np.bincount(regions.ravel(), image.ravel(), minlength=num)
    return list(total / np.maximum(np.bincount(regions.ravel(), minlength=num), 1))


def _regions(
    green: np.ndarray,
    bands: Sequence[np.ndarray],
    others: Sequence[np.ndarray],
    regions: Sequence[np.ndarray],
    level: float,
) -> Iterator[float]:
    """Yields summaries of green and its spots in each region, and their correlations with the other channels."""
    other_bands = [spots(other)[:3] for other in others]
    for region in regions:
        yield from summary(green[region] / level)
        for band in bands:
            yield from summary(band[region] / level)[1:]
        for other, spots_of_other in zip(others, other_bands, strict=True):
            yield _correlation(green[region], other[region])
            for a, b in zip(bands[:3], spots_of_other, strict=True):
                yield _correlation(a[region], b[region])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a[::3], b[::3]
    if a.size < 20 or a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _near_bright(green: np.ndarray, other: np.ndarray, nuclei: np.ndarray, level: float) -> Iterator[float]:
    """Yields summaries of green on and near the brightest structures of a channel: spindles, plates, bridges."""
    bright = cv2.GaussianBlur(other, (0, 0), 1.4)
    bright = bright > min(np.percentile(bright[::2, ::2], 99.7), 254)
    distance = cv2.distanceTransform((~bright).view(np.uint8), cv2.DIST_L2, 3)
    for region in (bright, (distance > 1) & (distance < 5), (distance > 6) & (distance < 16)):
        yield from summary(green[region] / level)
        yield green[region & (nuclei == 0)].sum() / (region.sum() + 1)


def _pieces(band: np.ndarray, outside: np.ndarray, num_nuclei: int) -> list[float]:
    """Returns number and shape of bright pieces inside, on, near and far from the nuclei."""
    noise = np.median(np.abs(band[::2, ::2])) / 0.67 + 0.5
    bright = band > max(5 * noise, 0.35 * np.percentile(band, 99.9))
    _, _, stats, centres = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    stats, centres = stats[1:], centres[1:]
    stats, centres = stats[stats[:, 4] > 2], centres[stats[:, 4] > 2]
    where = outside[centres[:, 1].astype(int), centres[:, 0].astype(int)]
    area, extent = stats[:, 4], np.maximum(stats[:, 2], stats[:, 3])
    shapes = np.stack([area, extent, area / extent**2, area / (stats[:, 2] * stats[:, 3])], axis=-1)
    features = []
    for here in (where < -2, (where >= -2) & (where < 3), (where >= 3) & (where < 12), where >= 12):
        features.append(here.sum() / num_nuclei)
        features += [*shapes[here].mean(axis=0), *shapes[here].max(axis=0)] if here.any() else [0.0] * 8
    return features
