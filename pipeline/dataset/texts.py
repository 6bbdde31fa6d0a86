"""The texts of the dataset: description and citation.

Those of the Human Protein Atlas are files in `hpa_tfds/hpa_stacked/`, where TFDS expects them: `README.md`,
`CITATIONS.bib`, and `SYNTHETIC.md`, the description of a dataset of drawn images. They are read without importing the
builder.
"""

from pathlib import Path

from pipeline.schema import BUILT_IN, HPA_KAGGLE_2018, NAME, Schema

FOLDER = Path(__file__).parents[2] / "hpa_tfds" / NAME
"""`hpa_tfds` is installed beside `pipeline`: both are in one distribution."""


def description(schema: Schema, *, synthetic: bool) -> str:
    """Returns the description of the dataset; that of a synthetic one starts with `SYNTHETIC`."""
    if synthetic:
        return _read("SYNTHETIC.md")
    return schema.description.strip() or (_read("README.md") if schema == HPA_KAGGLE_2018 else schema.name)


def config_description(schema: Schema, size: int) -> str:
    """Returns one line on the configuration for images of `size` x `size` pixels."""
    of = "" if schema == HPA_KAGGLE_2018 else f" of the schema {schema.name}"
    return f"Images{of} of {size} x {size} pixels."


def citation(schema: Schema) -> str:
    """Returns the BibTeX entry to cite: the schema's or, for a built-in schema, the atlas's; else empty."""
    return schema.citation.strip() or (_read("CITATIONS.bib") if schema.name in BUILT_IN else "")


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").strip()
