"""The size of a dataset that suits the images of a source."""

import contextlib

from pipeline.images.stack import BadExample, read_channels
from pipeline.plan.manifest import Manifest, file_names
from pipeline.schema import DEFAULT_SIZE

STEP = 32
"""Networks halve the side of an image five times."""

NUM_TRIED = 3
"""Examples that are tried in turn: the first ones may be bad."""


def fitting_size(source: Manifest) -> int:
    """Returns the default size, or one that fits the first image if that is smaller: a multiple of 32 if possible.

    Raises:
      StorageError: an image could not be read.
    """
    for example in source.examples[:NUM_TRIED]:
        with contextlib.suppress(BadExample):
            side = min(read_channels(source.images, file_names(source.schema, example), source.schema)[0].shape)
            return DEFAULT_SIZE if side >= DEFAULT_SIZE else side // STEP * STEP or side
    return DEFAULT_SIZE
