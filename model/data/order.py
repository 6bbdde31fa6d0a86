"""Order and repetition of the training examples in an epoch.

An epoch shows every example once, and repeats those of rare classes by their repeat factors, so it grows by the mean
factor.
"""

import dataclasses

import numpy as np

from model.data.dataset import Dataset


@dataclasses.dataclass(frozen=True)
class Order:
    """The order of examples in an epoch, a function of seed and epoch.

    `buffer` is the size of the shuffle buffer, `factors` are repeat factors, one per example of train in storage
    order, or `None`. With `limit`, only the first `limit` examples are shown.
    """

    seed: int
    buffer: int
    factors: np.ndarray | None = None
    limit: int | None = None

    def repeats(self, epoch: int, num_examples: int) -> np.ndarray:
        """Returns how often each example is shown in the epoch: int64 `[N]`, whose mean over epochs is `factors`."""
        repeats = np.ones(num_examples, np.int64)
        if self.factors is not None:
            repeats[: len(self.factors)] = rounded_repeats(self.factors, self._rng(epoch, 0))
        if self.limit is not None:
            repeats[self.limit :] = 0
        return repeats

    def more_copies(self, epoch: int, num_examples: int) -> np.ndarray:
        """Returns the examples of all copies after the first, in random order: int64 `[copies]`."""
        more = np.maximum(self.repeats(epoch, num_examples) - 1, 0)
        return self._rng(epoch, 3).permutation(np.repeat(np.arange(num_examples), more))

    def is_copy(self, epoch: int, num_first: int, num_copies: int) -> np.ndarray:
        """Returns whether each place of the epoch is for a copy after the first: bool `[num_first + num_copies]`."""
        return self._rng(epoch, 4).permutation(np.arange(num_first + num_copies) < num_copies)

    def shards(self, epoch: int, num_shards: int) -> np.ndarray:
        """Returns the order in which the shards are opened: int64 `[num_shards]`."""
        return self._rng(epoch, 1).permutation(num_shards)

    def shuffle_seed(self, epoch: int) -> int:
        """Returns the seed of the shuffle buffer."""
        return int(self._rng(epoch, 2).integers(1 << 31))

    def _rng(self, epoch: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, purpose])


def repeat_factors(label_vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the mean number of times that each example is shown in an epoch: float64 `[N]`, 1 or more.

    A class in a share f of the examples gets the factor max(1, sqrt(threshold / f)); an example gets the largest
    factor of its classes (Gupta et al. 2019, LVIS, appendix on repeat factor sampling). A threshold above the share
    of the most common class is lowered to that share: it balances all classes by the square root of their share, and
    a higher one would only repeat every example.
    """
    share = label_vectors.mean(axis=0)
    per_class = np.sqrt(min(threshold, share.max()) / np.maximum(share, 1 / len(label_vectors)))
    return np.maximum(1.0, (label_vectors * per_class).max(axis=1))


def num_epochs(budget: int, label_vectors: np.ndarray, threshold: float) -> int:
    """Returns the number of epochs, at least one, that comes closest to showing `budget` images.

    The other arguments are those of `repeat_factors`; a threshold of 0 repeats nothing.
    """
    per_epoch = repeat_factors(label_vectors, threshold).sum() if threshold else len(label_vectors)
    return max(1, round(budget / per_epoch))


def rounded_repeats(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns `factors` as whole numbers, int64 `[N]`, rounded up with the probability of the fractional part."""
    whole = np.floor(factors)
    draws = rng.random(len(factors))
    return (whole + (draws < factors - whole)).astype(np.int64)


def count_steps(dataset: Dataset, order: Order, epoch: int, batch_size: int) -> int:
    """Returns the number of full batches in the epoch; examples that do not fill a batch are dropped."""
    return int(order.repeats(epoch, dataset.num_examples["train"]).sum()) // batch_size
