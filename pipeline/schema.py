"""The schema of the published dataset: channels, classes, splits, sizes and version.

The names are part of the bytes of shards and metadata. A change of one of them needs a new `VERSION` and a line in
`RELEASE_NOTES`.
"""

NAME = "hpa_stacked"

VERSION = "1.0.0"
"""Version of the dataset. Within a version, the same input and parameters give the same shard bytes."""

RELEASE_NOTES = {"1.0.0": "First release."}

FILTERS = ("red", "green", "blue", "yellow")
"""The greyscale source images of an example, in the order of the channels of the stacked image."""

STAINS = {
    "red": "microtubules",
    "green": "the protein of interest",
    "blue": "nucleus",
    "yellow": "endoplasmic reticulum",
}

CLASS_NAMES = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Peroxisomes",
    "Endosomes",
    "Lysosomes",
    "Intermediate filaments",
    "Actin filaments",
    "Focal adhesion sites",
    "Microtubules",
    "Microtubule ends",
    "Cytokinetic bridge",
    "Mitotic spindle",
    "Microtubule organizing center",
    "Centrosome",
    "Lipid droplets",
    "Plasma membrane",
    "Cell junctions",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Cytoplasmic bodies",
    "Rods & rings",
)
"""The 28 localisations of the Kaggle set (2018); a class id is an index into this tuple."""

NUM_CLASSES = len(CLASS_NAMES)

SPLITS = ("train", "dev", "test")

SIZES = (128, 256, 512)
"""Sizes (pixels a side) for which the builder has a named configuration."""

DEFAULT_SIZE = 256

SYNTHETIC_PREFIX = "synthetic-"
"""Every id of a drawn example starts with this, so that it cannot be mistaken for a photographed one."""
