"""Fixtures for all tests."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.sources import REAL_SAMPLE, SHARED, Source, draw_source, why_not_real

# On some processors oneDNN changes the last digits, and results would differ from those of the processes that tests
# start.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# A shell ignores Ctrl-C for what it starts in the background, and tests are about what Ctrl-C does.
signal.signal(signal.SIGINT, signal.default_int_handler)

# `make train` takes what was built last in this folder, which no test's dataset is.
os.environ["HPA_STACKED_LAST"] = ""


@pytest.fixture
def source(tmp_path) -> Source:
    """Twenty examples of 32 x 32 pixels."""
    return draw_source(tmp_path / "source", 20)


@pytest.fixture(scope="session")
def real_sample() -> Path:
    """The folder of real examples; skips the test where there are none."""
    if reason := why_not_real():
        pytest.skip(reason)
    return REAL_SAMPLE


@pytest.fixture(scope="session")
def real_labels() -> Path:
    """The real label table of 31,072 rows; skips the test where it does not exist."""
    table = SHARED / "data/hpa_train_labels.csv"
    if not table.exists():
        pytest.skip(f"the real label table is not at {table}")
    return table
