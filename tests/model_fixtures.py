"""Fixtures of the model's tests; a module that wants them says `pytest_plugins = ("model_fixtures",)`."""

from pathlib import Path

import pytest
from model_data import write_dataset


@pytest.fixture(scope="session")
def tiny_data_dir(tmp_path_factory) -> Path:
    """A data directory with 192, 48 and 48 examples of 32 x 32 pixels."""
    data_dir = tmp_path_factory.mktemp("tiny")
    write_dataset(data_dir)
    return data_dir


@pytest.fixture(scope="session")
def tiny_dataset(tiny_data_dir):
    """The same, opened."""
    from model import input_pipeline

    return input_pipeline.open_dataset(tiny_data_dir, 32)
