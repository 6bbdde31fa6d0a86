"""What does an example of the published dataset look like?

The names here (channels, classes, version) are part of every shard's bytes and of the dataset's
metadata. Change one and `VERSION` must change too, with a line in `RELEASE_NOTES`.
"""

NAME = "hpa_stacked"

VERSION = "1.0.0"
"""Version of the dataset: the same input and parameters give the same shard bytes for one version."""

RELEASE_NOTES = {"1.0.0": "First release."}

FILTERS = ("red", "green", "blue", "yellow")
"""The greyscale source images of an example, and the order of the channels of the stacked image."""

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
"""Sizes (pixels a side) that the builder has a named configuration for."""

DEFAULT_SIZE = 256

SYNTHETIC_PREFIX = "synthetic-"
"""Every id of a drawn (not photographed) example starts with this, so that one can never pass for real."""
