"""Schemas, and the names and version that all datasets share.

The names are part of the bytes of shards and metadata. Changing one needs a new `VERSION` and a line in
`RELEASE_NOTES`.
"""

from pipeline.schema.declared import DEPTHS, Channel, Schema, Table
from pipeline.schema.parse import BUILT_IN, builtin, load

__all__ = [
    "BUILT_IN",
    "DEFAULT_SIZE",
    "DEPTHS",
    "HPA_KAGGLE_2018",
    "NAME",
    "RELEASE_NOTES",
    "SIZES",
    "SPLITS",
    "SYNTHETIC_NOTICE",
    "SYNTHETIC_PREFIX",
    "VERSION",
    "Channel",
    "Schema",
    "Table",
    "builtin",
    "load",
]

NAME = "hpa_stacked"

VERSION = "1.1.0"
"""Version of the dataset. Within a version, the same input and parameters give the same shard bytes."""

RELEASE_NOTES = {
    "1.0.0": "First release.",
    "1.1.0": "Adds `label_vector`, which can be batched; images, labels, order and splits are those of 1.0.0. "
    "Datasets of other channels, classes and image formats.",
}

SPLITS = ("train", "dev", "test")

SIZES = (128, 256, 512)
"""Sizes (pixels a side) for which the builder has a named configuration."""

DEFAULT_SIZE = 256

SYNTHETIC_PREFIX = "synthetic-"
"""Every id of a drawn example starts with this, so that it cannot be mistaken for a photographed one."""

SYNTHETIC_NOTICE = "SYNTHETIC.txt"
"""File beside the label table of drawn examples."""

HPA_KAGGLE_2018 = builtin("hpa_kaggle_2018")
"""The Human Protein Atlas as Kaggle published it in 2018: the default."""
