"""Scores compared with scores on shuffled labels, which show what chance alone gives on so few examples."""

import numpy as np

from model.scores import ranking

NUM_SHUFFLES = 1000


def compare(label_vectors: np.ndarray, probabilities: np.ndarray, seed: int = 0) -> dict[str, dict[str, float]]:
    """Returns mAP and mean AUC, and what the same probabilities score if the examples' label vectors are permuted.

    Each score has its value (`score`), the mean (`mean`) and 97.5% quantile (`high`) of `NUM_SHUFFLES` permutations,
    and the share of these that are at least as high (`p_value`, counting the observed one: Phipson and Smyth 2010).

    Args:
        label_vectors: `[N, classes]` of 0 and 1, with at least one positive and one negative of each class.
        probabilities: `[N, classes]`.
        seed: of the permutations.
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(label_vectors)) for _ in range(NUM_SHUFFLES)]
    found = {}
    for name, score in (("mean_average_precision", ranking.average_precision), ("auc", ranking.auc)):
        value = float(score(label_vectors, probabilities).mean())
        drawn = np.array([score(label_vectors[order], probabilities).mean() for order in orders])
        found[name] = {
            "score": value,
            "mean": float(drawn.mean()),
            "high": float(np.quantile(drawn, 0.975)),
            "p_value": float((1 + (drawn >= value).sum()) / (1 + NUM_SHUFFLES)),
        }
    return found
