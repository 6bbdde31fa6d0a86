"""Finds the channel of a dataset that shows the protein."""

from pipeline.schema import Schema

PROTEIN = "the protein of interest"
"""`shows` of the channel whose pattern is to be classified; the other channels are references. A schema need not have
such a channel."""


def protein(schema: Schema) -> str | None:
    """Returns the name of the channel that shows the protein of interest; `None` if no channel does."""
    return next((channel.name for channel in schema.channels if channel.shows == PROTEIN), None)
