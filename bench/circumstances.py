"""The conditions of a run: machine, commit, versions, time."""

import contextlib
import datetime
import importlib.metadata
import platform
from typing import Any

from bench.checkout import CORES, HERE, STAND_IN, Checkout

PACKAGES = (
    "apache-beam",
    "tensorflow",
    "tensorflow-datasets",
    "opencv-python-headless",
    "pillow",
    "imagecodecs",
    "kornia-rs",
    "webdataset",
    "mosaicml-streaming",
    "grain",
    "sedpack",
    "array_record",
    "torch",
    "iterative-stratification",
    "scikit-multilearn",
)


def describe(before: Checkout | None) -> dict[str, Any]:
    """Returns what a section that begins now is measured on, as `bench.figures.results` keeps it."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "began": [datetime.datetime.now(datetime.UTC).isoformat(" ", "minutes")[:16]],
        "machine": f"{CORES} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "commit": HERE.commit,
        **({"before": before.commit or before.root.name} if before else {}),
        "pixels": "real" if STAND_IN.exists() else "synthetic",
        "versions": versions,
    }
