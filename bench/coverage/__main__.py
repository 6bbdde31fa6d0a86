"""Measures how often intervals of F1 scores contain the true score, on simulated splits.

    python -m bench.coverage --quick
    python -m bench.coverage

A simulated population has the label sets and class frequencies of the real label table, and models with a known recall
and precision for each class, so the true scores are known. Splits are drawn from it, and the intervals of
`model.scores.intervals` and of the common bootstrap methods are computed for each. `docs/intervals.md` has the result.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import multiprocessing
import os
import statistics
from collections.abc import Iterator, Sequence

import click
import numpy as np

from bench.coverage import methods
from model.scores import intervals
from pipeline.atlas.label_sets import draw_labels
from pipeline.schema import HPA_KAGGLE_2018

SIZES = (300, 1000, 4072)
"""A small split, a medium one, and the test split of the whole Kaggle set."""

MIN_POSITIVES = 10
"""Positives that a class needs in the split to count as frequent, as in `model.scores.describe`."""

RARE = 0.012
"""Share below which a class is rare: 9 of 28 are."""

KINDS = {
    "poor": ((0.01, 0.15), (0.02, 0.3)),
    "weak": ((0.05, 0.5), (0.1, 0.6)),
    "good": ((0.5, 0.95), (0.5, 0.95)),
    "excellent": ((0.85, 0.99), (0.85, 0.99)),
}
"""Ranges from which recall and precision of each class are drawn."""


@dataclasses.dataclass(frozen=True)
class Case:
    """Two models: the second is scored, and compared with the first.

    Attributes:
        first: one of `KINDS`.
        second: one of `KINDS`.
        rare: recall of the second model for rare classes, with precision 1; by default both are those of its kind.
        same: both models have the same recall and precision, like a model trained twice.
    """

    first: str
    second: str
    rare: float | None = None
    same: bool = False


CASES = {
    "poor": Case("weak", "poor"),
    "weak, trained twice": Case("weak", "weak", same=True),
    "weak, rare classes never found": Case("weak", "weak", rare=0.0),
    "weak, rare classes always found": Case("weak", "weak", rare=1.0),
    "good": Case("weak", "good"),
    "good, trained twice": Case("good", "good", same=True),
    "excellent": Case("good", "excellent"),
}

SCORES = ("macro F1", "macro F1, frequent", "difference", "difference, frequent")


@dataclasses.dataclass(frozen=True)
class Model:
    """The rates of a model on the population for each class, float64 `[28]`."""

    recall: np.ndarray
    false_positive_rate: np.ndarray

    def true_f1(self, shares: np.ndarray) -> np.ndarray:
        """Returns F1 on the whole population, float64 `[28]`."""
        missed, wrong = shares * (1 - self.recall), (1 - shares) * self.false_positive_rate
        return intervals.f1_score(shares * self.recall, missed + wrong)


@functools.cache
def population(num: int = 31072) -> np.ndarray:
    """Returns label vectors with the frequencies of the real label table: bool `[num, 28]`. Takes seconds."""
    labels = np.zeros((num, HPA_KAGGLE_2018.num_classes), bool)
    for index, row in enumerate(labels):
        row[list(draw_labels(0, index, balanced=False))] = True
    return labels


def draw_model(kind: str, shares: np.ndarray, rng: np.random.Generator, rare: float | None = None) -> Model:
    """Returns a model whose recall and precision are drawn for each class."""
    recall, precision = (rng.uniform(*limits, len(shares)) for limits in KINDS[kind])
    if rare is not None:
        recall, precision = np.where(shares < RARE, rare, recall), np.where(shares < RARE, 1.0, precision)
    wrong = shares * recall * (1 / precision - 1) / np.maximum(1 - shares, 1e-9)
    return Model(recall, np.minimum(wrong, 0.95))


def draw_models(case: Case, shares: np.ndarray, rng: np.random.Generator) -> tuple[Model, Model]:
    """Returns both models of `case`."""
    first = draw_model(case.first, shares, rng)
    return first, first if case.same else draw_model(case.second, shares, rng, case.rare)


def draw_split(
    labels: np.ndarray, models: Sequence[Model], size: int, rng: np.random.Generator, *, grouped: bool, same: bool
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray | None]:
    """Returns label vectors and the predictions of each model, bool `[size, 28]`, and the group of each example.

    An example that is hard in one class is hard in others, and models find the same examples hard. Groups hold up to
    five examples with equal labels, on which a model mostly predicts the same.
    """
    codes = _draw_codes(size, rng) if grouped else np.arange(size)
    rows = labels[rng.integers(len(labels), size=codes[-1] + 1)][codes]
    shared = _difficulty(codes, rng)
    agreement = 0.95 if same else 0.4
    predicted = []
    for model in models:
        difficulty = np.sqrt(agreement) * shared + np.sqrt(1 - agreement) * _difficulty(codes, rng)
        found, wrong = difficulty < _quantile(model.recall), -difficulty < _quantile(model.false_positive_rate)
        predicted.append(np.where(rows, found, wrong))
    return rows, predicted, codes if grouped else None


def _draw_codes(size: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the group of each example: six in ten groups have one example, the others two to five."""
    sizes = np.where(rng.random(size) < 0.6, 1, rng.integers(2, 6, size))
    return np.repeat(np.arange(size), sizes)[:size]


def _difficulty(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns standard normal values `[N, 28]`.

    The classes of an example are correlated by 0.3 (0.24 if there are groups), the examples of a group by 0.8.
    """
    groups = codes[-1] + 1
    by_group = np.sqrt(0.3) * rng.normal(size=(groups, 1)) + np.sqrt(0.7) * rng.normal(
        size=(groups, HPA_KAGGLE_2018.num_classes)
    )
    if groups == len(codes):
        return by_group
    return np.sqrt(0.8) * by_group[codes] + np.sqrt(0.2) * rng.normal(size=(len(codes), HPA_KAGGLE_2018.num_classes))


def _quantile(probability: np.ndarray) -> np.ndarray:
    normal = statistics.NormalDist()
    return np.array([normal.inv_cdf(p) if 0 < p < 1 else (np.inf if p >= 1 else -np.inf) for p in probability])


def measure(labels: np.ndarray, case: Case, size: int, *, grouped: bool, seed: int, others: bool = True) -> np.ndarray:
    """Returns, for one split, whether each interval contains the true score, and its width.

    Args:
        labels: the population, bool `[P, 28]`.
        case: which models.
        size: examples in the split.
        grouped: whether near-duplicates are grouped.
        seed: of models and split.
        others: also compute the intervals of `bench.coverage.methods`; they are NaN otherwise.

    Returns:
        Float64 `[methods, len(SCORES), 2]`: 1 or 0, and the width. The first method is the project's.
    """
    rng, shares = np.random.default_rng([seed, size, grouped]), labels.mean(axis=0)
    models = draw_models(case, shares, rng)
    rows, (first, second), codes = draw_split(labels, models, size, rng, grouped=grouped, same=case.same)
    every, frequent = np.ones(HPA_KAGGLE_2018.num_classes, bool), rows.sum(axis=0) >= MIN_POSITIVES
    before, after = (model.true_f1(shares) for model in models)
    truths = [values[chosen].mean() for values in (after, after - before) for chosen in (every, frequent)]
    resampled = intervals.resample_f1(rows, second, codes)
    ours = [resampled.macro(chosen) for chosen in (every, frequent)]
    ours += [intervals.difference(rows, first, second, codes, classes=chosen) for chosen in (every, frequent)]
    ends = np.full((1 + len(methods.NAMES), len(SCORES), 2), np.nan)
    ends[0] = [(interval.low, interval.high) for interval in ours]
    if others:
        ends[1:] = methods.compute(rows, first, second, codes, (every, frequent))
    low, high = ends[..., 0], ends[..., 1]
    return np.stack([np.where(np.isnan(low), np.nan, (low <= truths) & (truths <= high)), high - low], axis=-1)


def measure_many(case: Case, size: int, grouped: bool, seeds: Sequence[int]) -> np.ndarray:
    """Returns `measure` for each seed, on the whole population: float64 `[seeds, methods, len(SCORES), 2]`."""
    return np.stack([measure(population(), case, size, grouped=grouped, seed=seed) for seed in seeds])


def run(sizes: Sequence[int], trials: int, workers: int) -> Iterator[tuple[int, bool, np.ndarray]]:
    """Yields size, grouped, and the mean over trials in each case: float64 `[cases, methods, len(SCORES), 2]`."""
    parts = np.array_split(np.arange(trials), min(trials, 4))
    with (
        _one_thread(),
        concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as executor,
    ):
        for size, grouped in itertools.product(sizes, (False, True)):
            futures = [
                [executor.submit(measure_many, case, size, grouped, part.tolist()) for part in parts]
                for case in CASES.values()
            ]
            means = [np.concatenate([part.result() for part in case]).mean(axis=0) for case in futures]
            yield size, grouped, np.stack(means)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Makes processes started in the block use one thread for matrix products: each worker keeps one core busy."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def table(size: int, grouped: bool, means: np.ndarray) -> str:
    """Returns the results for one size as a Markdown table: lowest and highest coverage over the cases, mean width."""
    head = ["score", *("this project", *methods.NAMES)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for index, score in enumerate(SCORES):
        cells = [_cell(means[:, method, index]) for method in range(means.shape[1])]
        lines.append(f"| {score} | {' | '.join(cells)} |")
    title = f"{size:,} examples, " + ("in groups of one to five" if grouped else "no groups")
    return "\n".join([f"**{title}**", "", *lines, ""])


def _cell(means: np.ndarray) -> str:
    coverage, width = means[:, 0] * 100, means[:, 1].mean()
    return "" if np.isnan(width) else f"{coverage.min():.1f} to {coverage.max():.1f}; {width:.3f}"


def case_table(means: Sequence[np.ndarray], titles: Sequence[str]) -> str:
    """Returns the coverage of the project's intervals of macro F1 in each case and setting as a Markdown table."""
    lines = [f"| {' | '.join(['models', *titles])} |", "|---" * (1 + len(titles)) + "|"]
    for row, name in enumerate(CASES):
        cells = (" / ".join(f"{100 * value:.1f}" for value in mean[row, 0, :, 0]) for mean in means)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--trials", type=click.IntRange(1), default=40, show_default=True, help="Splits for each setting.")
@click.option("--size", "sizes", type=click.IntRange(20), multiple=True, default=SIZES, show_default=True)
@click.option("--quick", is_flag=True, help="20 splits of 300 examples for each setting: half a minute.")
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes.  [default: all cores]")
def main(trials: int, sizes: Sequence[int], quick: bool, workers: int) -> None:
    """Measure how often intervals of macro F1 contain the true value.

    Draws splits of 300, 1,000 and 4,072 examples from a population with the class frequencies of the real label
    table, for seven pairs of models whose true scores are known, with and without groups of near-duplicates.
    A 95% interval should contain the true score in 95% of splits; narrower is better.

    Prints for each method the lowest and the highest coverage over the seven pairs in percent, and the mean width.
    The standard error of a coverage of 95% is 1.1 points with 400 splits and 3.4 with 40.

    \b
    python -m bench.coverage --quick
    python -m bench.coverage --trials 400
    """
    if quick:
        trials, sizes = 20, (300,)
    titles, all_means = [], []
    for size, grouped, means in run(sizes, trials, workers):
        titles.append(f"{size:,}{' grouped' if grouped else ''}")
        all_means.append(means)
        click.echo(table(size, grouped, means))
    click.echo(f"Coverage of this project's intervals in percent: {' / '.join(SCORES)}\n")
    click.echo(case_table(all_means, titles))


if __name__ == "__main__":
    main()
