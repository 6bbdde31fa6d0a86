"""Common intervals of macro F1, for comparison with those of `model.scores.intervals`."""

import statistics
from collections.abc import Sequence

import numpy as np

from model.scores import intervals

NAMES = ("percentile", "BCa", "bootstrap-t", "Bayesian")
"""Percentile (Efron 1979), bias-corrected and accelerated (Efron 1987), studentised (Hall 1988), gamma posterior with
pseudo-counts of 0.5 for the true positives, false positives and false negatives of each class (Goutte and Gaussier
2005)."""

NUM = 400
"""Replicates."""

ENDS = [(1 - intervals.LEVEL) / 2, (1 + intervals.LEVEL) / 2]


def compute(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    codes: np.ndarray | None,
    choices: Sequence[np.ndarray],
) -> np.ndarray:
    """Returns the ends of each interval: float64 `[methods, 2 * choices, 2]`, NaN where a method has none.

    The scores are macro F1 of `second` over each choice of classes, then its difference to `first`.
    """
    counts = [intervals.sum_by_group([labels & said, labels ^ said], codes) for said in (first, second)]
    rng = np.random.default_rng(0)
    groups = len(counts[0])
    draws = [np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(NUM)]
    weights = np.array(draws, np.float32)
    before, after = (_replicates(weights, part) for part in counts)
    ends = np.full((len(NAMES), 2 * len(choices), 2), np.nan)
    for index, chosen in enumerate(choices):
        ends[0, index] = np.quantile(after[:, chosen].mean(axis=1), ENDS)
        ends[1, index] = _bca(counts[1], after, chosen)
        ends[2, index] = _bootstrap_t(counts[1], weights, after, chosen)
        ends[3, index] = _bayesian(counts[1], chosen, rng)
        ends[0, len(choices) + index] = np.quantile((after - before)[:, chosen].mean(axis=1), ENDS)
    return ends


def _replicates(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    totals = (weights @ counts.reshape(len(counts), -1)).astype(np.float64).reshape(len(weights), 2, -1)
    return intervals.f1_score(totals[:, 0], totals[:, 1])


def _bca(counts: np.ndarray, replicates: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    normal, totals = statistics.NormalDist(), counts.sum(axis=0, dtype=np.float64)
    estimate = intervals.f1_score(*totals)[chosen].mean()
    values = replicates[:, chosen].mean(axis=1)
    below = np.mean(values < estimate) + np.mean(values == estimate) / 2
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / NUM, 1 - 0.5 / NUM)))
    left_out = (totals - counts).transpose(1, 0, 2)
    jackknife = intervals.f1_score(*left_out)[:, chosen].mean(axis=1)
    gaps = jackknife.mean() - jackknife
    acceleration = (gaps**3).sum() / max(6 * (gaps**2).sum() ** 1.5, 1e-300)
    shifted = [bias + normal.inv_cdf(end) for end in ENDS]
    return np.quantile(values, [normal.cdf(bias + value / (1 - acceleration * value)) for value in shifted])


def _bootstrap_t(counts: np.ndarray, weights: np.ndarray, replicates: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The variance in each replicate is that of the delta method."""
    flat, totals = counts.reshape(len(counts), -1), counts.sum(axis=0, dtype=np.float64)
    drawn = (weights @ flat).astype(np.float64).reshape(len(weights), 2, -1)
    estimate, values = intervals.f1_score(*totals)[chosen].mean(), replicates[:, chosen].mean(axis=1)
    variance = float(((flat @ _gradient(totals, chosen).ravel()) ** 2).sum())
    influence = flat @ _gradient(drawn.transpose(1, 0, 2), chosen).transpose(1, 0, 2).reshape(len(weights), -1).T
    variances = np.einsum("rg,gr->r", weights, influence**2)
    pivots = (values - estimate) / np.sqrt(np.maximum(variances, 1e-18))
    return estimate - np.quantile(pivots, ENDS[::-1]) * np.sqrt(variance)


def _gradient(totals: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns the derivative of macro F1 with respect to `totals`, `[2, ..., 28]`, of the same shape."""
    right, wrong = totals
    below = np.maximum((2 * right + wrong) ** 2, 1e-12)
    return np.stack([2 * wrong / below, -2 * right / below]) * chosen / chosen.sum()


def _bayesian(counts: np.ndarray, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    right, wrong = counts.sum(axis=0, dtype=np.float64)
    shape = (NUM, counts.shape[2])
    draws = intervals.f1_score(rng.gamma(right + 0.5, size=shape), rng.gamma(wrong + 1.0, size=shape))
    return np.quantile(draws[:, chosen].mean(axis=1), ENDS)
