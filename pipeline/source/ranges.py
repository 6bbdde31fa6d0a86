"""The range of values of each channel, for schemas of depth `percentile`."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.errors import InputError
from pipeline.images.stack import BadExample, read_channels
from pipeline.plan.manifest import Manifest, file_names
from pipeline.plan.table import Example
from pipeline.schema import Schema
from pipeline.threads import map_ahead

VALUES = 65536


def measure(
    source: Manifest,
    percentiles: tuple[float, float],
    *,
    num: int | None = None,
    threads: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Schema:
    """Returns the schema with depth `percentile` and, for each channel, the range between percentiles of its pixels.

    Args:
      source: the examples and their files.
      percentiles: lower and upper, 0..100.
      num: measure only this many examples, chosen by a hash of the id; `None` for all.
      threads: to decode with; `None` for as many as suit the machine and the source.
      on_progress: called with (examples done, examples in all).

    Raises:
      InputError: no example can be decoded, or a channel has a single value.
    """
    examples = sorted(source.examples, key=lambda example: hashlib.sha256(example.id.encode()).digest())[:num]
    counts = np.zeros((source.schema.num_channels, VALUES), np.int64)
    threads = threads or source.images.threads
    with ThreadPoolExecutor(threads) as pool:
        counted = map_ahead(pool, functools.partial(_histograms, source), examples, 4 * threads)
        for done, found in enumerate(counted, 1):
            counts += found
            on_progress(done, len(examples))
    if not counts.any():
        raise InputError("no example could be decoded: 'python -m pipeline audit --deep' shows why")
    channels = []
    for channel, histogram in zip(source.schema.channels, counts, strict=True):
        low, high = (percentile(histogram, share) for share in percentiles)
        if low >= high:
            raise InputError(f"channel '{channel.name}': percentiles {percentiles} of its pixels are both {low}")
        channels.append(dataclasses.replace(channel, range=(low, high)))
    return dataclasses.replace(source.schema, channels=tuple(channels), depth="percentile", percentiles=percentiles)


def percentile(histogram: np.ndarray, share: float) -> int:
    """Returns the smallest value that at least `share` percent of the counted pixels do not exceed."""
    cumulative = np.cumsum(histogram)
    return int(np.searchsorted(cumulative, np.ceil(cumulative[-1] * share / 100)))


def _histograms(source: Manifest, example: Example) -> np.ndarray:
    """Returns int64 `[channels, 65536]`: how many pixels have each value; zeros if the example is bad."""
    try:
        channels = read_channels(source.images, file_names(source.schema, example), source.schema)
    except BadExample:
        return np.zeros((source.schema.num_channels, VALUES), np.int64)
    return np.stack([np.bincount(channel.ravel(), minlength=VALUES) for channel in channels])
