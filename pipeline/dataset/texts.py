"""The texts of the dataset: description, citation and homepage.

They are files in `hpa_tfds/hpa_stacked/`, where TFDS expects them: `README.md`, `CITATIONS.bib`, and `SYNTHETIC.md`,
the description of a dataset of drawn images. They are read without importing the builder.
"""

from pathlib import Path

from pipeline import schema

FOLDER = Path(__file__).parents[2] / "hpa_tfds" / schema.NAME
"""`hpa_tfds` is installed beside `pipeline`: both are in one distribution."""

HOMEPAGE = "https://www.kaggle.com/c/human-protein-atlas-image-classification"


def description(*, synthetic: bool) -> str:
    """Returns the description of the dataset; that of a synthetic one starts with `SYNTHETIC`."""
    return _read("SYNTHETIC.md" if synthetic else "README.md")


def config_description(size: int) -> str:
    """Returns one line on the configuration for images of `size` x `size` pixels."""
    return f"Images of {size} x {size} pixels."


def citation() -> str:
    """Returns the BibTeX entry to cite."""
    return _read("CITATIONS.bib")


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").strip()
