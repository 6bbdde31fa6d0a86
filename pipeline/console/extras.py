"""How to install what a command lacks, for the environment that called it."""

import importlib.util
import shlex
import sys
from pathlib import Path

FOR_TRAINING = {"keras": "Keras", "matplotlib": "Matplotlib", "tensorflow": "TensorFlow"}
"""Packages that only the extra `train` installs, and their names in messages."""

ROOT = Path(__file__).parents[2]
"""The source code's folder, or `site-packages`."""


def missing_for_training() -> str | None:
    """Returns the name of a package that training needs and that is missing; `None` if all are installed."""
    lacking = [written for name, written in FOR_TRAINING.items() if not is_installed(name)]
    return lacking[-1] if lacking else None


def is_installed(name: str) -> bool:
    """Returns whether a package can be imported, without importing it."""
    return importlib.util.find_spec(name) is not None


def install(extra: str) -> str:
    """Returns the command that installs an extra, with this interpreter's pip where `make` made the environment."""
    if not _is_checkout():
        package = _installed_from() or "hpa-stacked"
        return "pip install " + shlex.quote(f"{package}[{extra}]")
    target = shlex.quote(f"{'.' if Path.cwd() == ROOT else ROOT}[{extra}]")
    if not made_by_make():
        return f"pip install -e {target}"
    also = "'make train', or " if extra == "train" else ""
    return f"{also}.venv/bin/pip install -e {target}"


def made_by_make() -> bool:
    """Returns whether the environment is `.venv` of the source code in the current folder, where `make` works."""
    return _is_checkout() and Path.cwd() == ROOT and Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()


def can_train() -> bool:
    """Returns whether what training needs is installed, or `make train` installs it here."""
    return missing_for_training() is None or made_by_make()


def _installed_from() -> str | None:
    """Returns the folder that pip installed the package from, if it still exists (PEP 610)."""
    import json
    import urllib.parse
    from importlib import metadata

    try:
        text = metadata.distribution("hpa-stacked").read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:
        return None
    origin = json.loads(text)
    path = urllib.parse.unquote(urllib.parse.urlparse(origin.get("url", "")).path)
    return path if "dir_info" in origin and Path(path, "setup.cfg").exists() else None


def _is_checkout() -> bool:
    return (ROOT / "setup.cfg").exists() and (ROOT / "Makefile").exists()
