"""Label vectors and probabilities with the class frequencies of the real label table."""

import numpy as np

from pipeline.atlas.label_sets import ROWS_BY_CLASS

NAMES = [f"class {index}" for index in range(28)]

SHARES = np.array(ROWS_BY_CLASS) / 31072


def draw(num: int, seed: int, shares: np.ndarray = SHARES, digits: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns label vectors and probabilities of a model that is better than chance; rounded ones have ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((num, 28)) < shares).astype(np.uint8)
    noise = rng.normal(size=(num, 28))
    probabilities = 1 / (1 + np.exp(-(2 * labels - 1.5 + noise)))
    probabilities = probabilities.round(digits) if digits is not None else probabilities
    return labels, probabilities.astype(np.float32)
