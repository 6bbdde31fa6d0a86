"""Matplotlib figures as SVG elements inside an HTML page."""

import functools
import hashlib
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("report.mplstyle")

NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}

LARGEST_SCALE = 1.25
"""How much larger than drawn a figure is shown on a wide screen."""

_DROPPED = {"metadata", "clipPath", "style"}
"""Elements that an HTML page does not need; the style sheet would even apply to the whole page."""

_FONT = re.compile(r"font-family: [^;]*;? ?")
_FRACTION = re.compile(r"(\.\d\d)\d+")


@functools.cache
def style() -> matplotlib.RcParams:
    """Returns the settings of `report.mplstyle` over matplotlib's defaults; a user's matplotlibrc has no effect."""
    return matplotlib.rc_params_from_file(STYLE, use_default_template=True)


def colour(index: int) -> str:
    """Returns the colour of the series with that number, as `#rrggbb`."""
    colours = style()["axes.prop_cycle"].by_key()["color"]
    return f"#{colours[index % len(colours)].lstrip('#')}"


def new_figure(width: float, height: float, **options: Any) -> Figure:
    """Returns an empty figure of `width` x `height` CSS pixels."""
    return Figure(figsize=(width / 72, height / 72), **options)


def inline(draw: Callable[..., Figure]) -> Callable[..., Markup]:
    """Decorates a function that returns a figure: it then takes the keyword `label` too, and returns an SVG element.

    `label` describes the figure to readers who cannot see it.
    """

    @functools.wraps(draw)
    def drawn(*args: Any, label: str, **kwargs: Any) -> Markup:
        file = io.BytesIO()
        with matplotlib.rc_context(style()), warnings.catch_warnings():
            # The browser renders the text, and may have glyphs that matplotlib's font lacks.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            draw(*args, **kwargs).savefig(file, format="svg", metadata=NO_METADATA)
        return to_markup(file.getvalue(), label)

    return drawn


def to_markup(file: bytes, label: str) -> Markup:
    """Returns matplotlib's SVG file as an element for HTML, described by `label`.

    Namespaces and fonts are left out (HTML knows SVG, and the page has its font), and so are clip paths (nothing is
    drawn outside the axes). Ids get a prefix, because one page holds many figures.
    """
    root = ElementTree.fromstring(file)
    prefix = "f" + hashlib.sha256(label.encode() + file).hexdigest()[:8]
    view = root.attrib["viewBox"]
    for element in root.iter():
        _simplify(element, prefix)
    root.attrib.clear()
    width = float(view.split()[2]) * LARGEST_SCALE
    root.attrib |= {"viewBox": view, "role": "img", "aria-label": label, "style": f"max-width: {width:g}px"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _simplify(element: ElementTree.Element, prefix: str) -> None:
    """Changes an element of matplotlib's SVG as `to_markup` describes; the caller also visits its children."""
    element.tag = _local(element.tag)
    element.tail = None
    if element.tag != "text":
        element.text = None
    for child in [child for child in element if _local(child.tag) in _DROPPED]:
        element.remove(child)
    attributes = {_local(name): value for name, value in element.attrib.items()}
    attributes.pop("clip-path", None)
    if element.tag in ("g", "image"):  # nothing refers to these
        attributes.pop("id", None)
    if "id" in attributes:
        attributes["id"] = f"{prefix}-{attributes['id']}"
    if attributes.get("href", "").startswith("#"):
        attributes["href"] = f"#{prefix}-{attributes['href'][1:]}"
    for name in {"d", "x", "y", "transform"} & attributes.keys():
        attributes[name] = _FRACTION.sub(r"\1", " ".join(attributes[name].split()))
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    if "style" in attributes:
        attributes["style"] = _FONT.sub("", attributes["style"])
    element.attrib.clear()
    element.attrib |= attributes


def _local(name: str) -> str:
    """Returns a name without its namespace."""
    return name.rpartition("}")[2]
