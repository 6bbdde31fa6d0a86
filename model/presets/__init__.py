"""Named settings, one file each."""

import importlib

from model.settings import Settings
from pipeline.errors import InputError

ATLAS = ("green-128", "green-256", "rgb-256", "stacked-256", "best")
"""Presets for the channels of the Human Protein Atlas, at 256 pixels or less."""

NAMES = (*ATLAS, "best-512", "any", "cells")


def load(name: str) -> Settings:
    """Returns the settings of the preset called `name`.

    Raises:
        InputError: no preset has that name.
    """
    if name not in NAMES:
        raise InputError(f"no preset {name!r}, expected one of {', '.join(NAMES)}")
    return importlib.import_module(f"model.presets.{name.replace('-', '_')}").SETTINGS
