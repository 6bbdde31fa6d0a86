"""Sources to build from, drawn from a seed."""

import csv
import dataclasses
import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from pipeline.schema import FILTERS

# As `model.backend.start` does; some tests import TensorFlow before it, and on some processors its numbers would
# then be others than those of the processes that the tests start.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


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


@pytest.fixture
def source(tmp_path) -> Source:
    """Twenty examples of 32 x 32 pixels."""
    return draw_source(tmp_path / "source", 20)


@pytest.fixture(scope="session")
def real_sample() -> Path:
    """The folder of real examples, where it is there."""
    if not (SHARED / "hpa_sample" / "train.csv").exists():
        pytest.skip(f"the real examples are not at {SHARED / 'hpa_sample'}")
    return SHARED / "hpa_sample"


@pytest.fixture(scope="session")
def real_labels() -> Path:
    """The whole real label table, where it is there."""
    if not (SHARED / "hpa_train_labels.csv").exists():
        pytest.skip(f"the real label table is not at {SHARED / 'hpa_train_labels.csv'}")
    return SHARED / "hpa_train_labels.csv"
