"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest

from tests.support.sources import SHARED, Source, draw_source

# As `model.backend.start` does; some tests import TensorFlow before it, and on some processors its numbers would
# then be others than those of the processes that the tests start.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


@pytest.fixture
def source(tmp_path) -> Source:
    """Twenty examples of 32 x 32 pixels."""
    return draw_source(tmp_path / "source", 20)


@pytest.fixture(scope="session")
def real_sample() -> Path:
    """The folder of real examples, where it is there."""
    folder = SHARED / "data/hpa_sample"
    if not (folder / "train.csv").exists():
        pytest.skip(f"the real examples are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def real_labels() -> Path:
    """The whole real label table, where it is there."""
    table = SHARED / "data/hpa_train_labels.csv"
    if not table.exists():
        pytest.skip(f"the real label table is not at {table}")
    return table
