"""A baseline without a network: hand-made features of single cells, and logistic regression.

Shape of the brightest object, its intensities, its texture at several scales and its radial profile: features of the
kind that CellProfiler measures.
"""

import itertools
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

PERCENTILES = (5, 25, 50, 75, 95, 99)
SCALES = (0.7, 1.4, 2.8, 5.6)
"""Standard deviations, in pixels, of the Gaussians whose differences measure texture."""

RINGS = 6
"""Zones of equal width from the centre of the object to the radius of a circle of 1.5 times its area."""

SMALLEST = 8
"""Smallest part of the object that counts, in pixels."""


def features(images: np.ndarray) -> np.ndarray:
    """Returns float32 `[N, features]` of images `[N, S, S, C]`: the same features of each channel."""
    rows = [np.concatenate([of_channel(image[..., k]) for k in range(images.shape[-1])]) for image in images]
    return np.nan_to_num(np.array(rows, np.float32))


def of_channel(image: np.ndarray) -> np.ndarray:
    """Returns the features of one channel of an image, `[S, S]`: float64 `[features]`."""
    top = max(float(image.max()), 1.0)
    scaled = (image / top * 255).astype(np.uint8)
    _, mask = cv2.threshold(cv2.GaussianBlur(scaled, (0, 0), 1), 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    image = image.astype(np.float32)
    inside = image[mask > 0] if mask.any() else image.ravel()
    level = float(inside.mean()) + 1e-3
    outside = image[mask == 0]
    parts = [
        _intensities(image.ravel()),
        _intensities(inside),
        [float(outside.mean()) / level if outside.size else 0.0],
        shape(mask),
        _texture(image / level, mask > 0),
        _profile(image / level, mask),
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


def _intensities(values: np.ndarray) -> list[float]:
    mean, deviation = float(values.mean()), float(values.std()) + 1e-3
    standard = (values - mean) / deviation
    moments = [float((standard**3).mean()), float((standard**4).mean())]
    return [mean, deviation, deviation / (mean + 1e-3), *moments, *np.percentile(values, PERCENTILES).tolist()]


def shape(mask: np.ndarray) -> list[float]:
    """Returns area, parts, holes, roundness, solidity, elongation, moments and thickness of a mask of 0 and 1."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    areas = np.sort(stats[1:, cv2.CC_STAT_AREA])[::-1] if count > 1 else np.zeros(1)
    areas = areas[areas >= SMALLEST] if (areas >= SMALLEST).any() else areas[:1]
    area = float(areas.sum())
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer = [c for c, links in zip(contours, tree[0] if tree is not None else [], strict=True) if links[3] < 0]
    holes = [c for c, links in zip(contours, tree[0] if tree is not None else [], strict=True) if links[3] >= 0]
    perimeter = sum(cv2.arcLength(c, True) for c in outer)
    hull = cv2.contourArea(cv2.convexHull(np.concatenate(outer))) if outer else 0.0
    largest = max(outer, key=cv2.contourArea, default=None)
    solidity = 0.0 if largest is None else cv2.contourArea(largest) / max(cv2.contourArea(cv2.convexHull(largest)), 1)
    moments = cv2.moments(mask, binaryImage=True)
    hu = cv2.HuMoments(moments).ravel()
    # Padded with background: in a mask without edges, distances would be infinite.
    distance = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    return [
        area, float(len(areas)), float(areas[0]) / max(area, 1), float(areas[1]) / max(area, 1) if len(areas) > 1 else 0,
        float(len(holes)), sum(cv2.contourArea(c) for c in holes) / max(area, 1),
        perimeter**2 / max(area, 1), area / max(hull, 1), solidity, _elongation(moments),
        *(-np.sign(hu) * np.log10(np.abs(hu) + 1e-12)).tolist(),
        float(distance.max()), float(distance[mask > 0].mean()) if mask.any() else 0.0,
        float(mask[[0, -1]].mean()), float(mask[:, [0, -1]].mean()),
    ]  # fmt: skip


def _elongation(moments: Mapping[str, float]) -> float:
    """Returns the ratio of the axes of the ellipse with these second moments, 1 or more."""
    if not moments["m00"]:
        return 1.0
    xx, yy, xy = (moments[name] / moments["m00"] for name in ("mu20", "mu02", "mu11"))
    root = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    return float(np.sqrt((xx + yy + root + 1e-3) / max(xx + yy - root, 1e-3)))


def _texture(image: np.ndarray, inside: np.ndarray) -> list[float]:
    """Returns deviation, skewness and percentiles of differences of Gaussians, and statistics of the gradient."""
    inside = inside if inside.any() else np.ones_like(inside)
    blurred = [cv2.GaussianBlur(image, (0, 0), scale) for scale in SCALES]
    found: list[float] = []
    for fine, coarse in itertools.pairwise([image, *blurred]):
        band = (fine - coarse)[inside]
        deviation = float(band.std()) + 1e-6
        found += [deviation, float(((band - band.mean()) ** 3).mean()) / deviation**3]
        found += np.percentile(band, (5, 95, 99)).tolist()
    dx, dy = cv2.Sobel(blurred[0], cv2.CV_32F, 1, 0), cv2.Sobel(blurred[0], cv2.CV_32F, 0, 1)
    gradient = np.hypot(dx, dy)
    xx, yy, xy = (float((a * b)[inside].mean()) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    coherence = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + 1e-6)
    return [*found, float(gradient[inside].mean()), float(gradient[inside].std()), float(coherence)]


def _profile(image: np.ndarray, mask: np.ndarray) -> list[float]:
    """Returns mean and deviation of the intensity in each ring around the centre of the mask."""
    moments = cv2.moments(mask, binaryImage=True)
    side = len(image)
    area = moments["m00"] or side * side
    x, y = (moments["m10"] / area, moments["m01"] / area) if moments["m00"] else (side / 2, side / 2)
    rows, columns = np.mgrid[:side, :side]
    radius = np.hypot(columns - x, rows - y) / np.sqrt(1.5 * area / np.pi)
    ring = np.minimum((radius * RINGS).astype(int), RINGS).ravel()
    count = np.maximum(np.bincount(ring, minlength=RINGS + 1), 1)
    mean = np.bincount(ring, image.ravel(), RINGS + 1) / count
    squares = np.bincount(ring, image.ravel() ** 2, RINGS + 1) / count
    return [*mean[:RINGS].tolist(), *np.sqrt(np.maximum(squares - mean**2, 0))[:RINGS].tolist()]


def probabilities(
    of: Mapping[str, np.ndarray], labels: Mapping[str, int], train: Sequence[str], test: Sequence[str], classes: int
) -> np.ndarray:
    """Returns the probabilities of logistic regression, float64 `[test, classes]`, trained on the ids `train`.

    Features are standardised, and classes weighted inversely to their frequency.

    Args:
        of: features of each id.
        labels: class of each id.
        train: ids to train on.
        test: ids to predict.
        classes: number of all classes; those without an example in train get 0.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, class_weight="balanced", max_iter=3000))
    model.fit(np.stack([of[key] for key in train]), [labels[key] for key in train])
    predicted = np.zeros((len(test), classes))
    predicted[:, model.classes_] = model.predict_proba(np.stack([of[key] for key in test]))
    return predicted
