"""Small sources in Kaggle's layout, drawn from a seed, and the path of the real examples."""

import csv
import dataclasses
import hashlib
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from pipeline.config import BuildConfig
from pipeline.images.stack import Stacked, stack_example
from pipeline.schema import HPA_KAGGLE_2018, SYNTHETIC_PREFIX
from tests.support.hpa import FILTERS

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL_SAMPLE = SHARED / "data/hpa_sample"
"""Real examples in Kaggle's layout, beside the repository where they exist."""


def why_not_real(folder: Path = REAL_SAMPLE) -> str | None:
    """Returns why a folder holds no real examples, or `None` if it does."""
    table = folder / "train.csv"
    if not table.exists():
        return f"the real examples are not at {folder}"
    if SYNTHETIC_PREFIX in table.read_text():
        return f"the examples at {folder} are synthetic"
    return None


@dataclasses.dataclass
class Source:
    """A small source in Kaggle's layout; `labels` is `{id: class ids}`."""

    root: Path
    labels: dict[str, tuple[int, ...]]

    @property
    def table(self) -> Path:
        return self.root / "train.csv"

    @property
    def images(self) -> Path:
        return self.root / "train"

    def image(self, example_id: str, filter_name: str) -> Path:
        return self.images / f"{example_id}_{filter_name}.png"

    def write_table(self, rows=None, newline="\n", encoding="utf-8") -> None:
        rows = self.labels.items() if rows is None else rows
        with open(self.table, "w", newline="", encoding=encoding) as file:
            writer = csv.writer(file, lineterminator=newline)
            writer.writerow(["Id", "Target"])
            writer.writerows((i, " ".join(map(str, labels))) for i, labels in rows)


def draw_source(root: Path, num: int, side: int = 32, seed: int = 0) -> Source:
    rng = np.random.default_rng(seed)
    labels = {
        f"ex-{k:04d}": tuple(sorted(rng.choice(28, size=rng.integers(1, 4), replace=False).tolist()))
        for k in range(num)
    }
    source = Source(root, labels)
    source.images.mkdir(parents=True)
    for example_id in labels:
        for name in FILTERS:
            pixels = rng.integers(0, 256, (side, side), dtype=np.uint8)
            iio.imwrite(source.image(example_id, name), pixels, plugin="pillow")
    source.write_table()
    return source


def config_for(source, data_dir, **settings) -> BuildConfig:
    """Returns a build of `source` with many small shards."""
    return BuildConfig(
        labels=source.table, images=source.images, data_dir=data_dir, **{"size": 16, "shard_mib": 0.005, **settings}
    )


def stacked(images, example_id, size) -> Stacked:
    """Returns an example in Kaggle's layout, stacked."""
    return stack_example(images, HPA_KAGGLE_2018.files(example_id), HPA_KAGGLE_2018, size)


def digests(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file in a folder."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(path.iterdir())}
