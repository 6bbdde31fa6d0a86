"""The page of a cross-validation: its results, rendered by `cross_validation.html.j2`."""

from collections.abc import Mapping
from typing import Any

from model.page import document
from model.page.sections import folds


def html(results: Mapping[str, Any], leakage: str | None) -> str:
    """Returns the page of the results of a cross-validation; it fetches nothing from a network.

    `leakage` is the text about the difference between folds by group and at random, if both exist.
    """
    template = document.environment().get_template("cross_validation.html.j2")
    return template.render(folds.content(results, leakage))
