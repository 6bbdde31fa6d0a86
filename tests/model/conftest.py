"""Small published datasets and finished runs on them."""

import collections
import shutil
from pathlib import Path

import pytest

from tests.support.datasets import tiny_settings, train_tiny, write_dataset
from tests.support.sources import draw_source


@pytest.fixture(scope="session")
def tiny_data_dir(tmp_path_factory) -> Path:
    """A data directory with 192, 48 and 48 examples of 32 x 32 pixels."""
    data_dir = tmp_path_factory.mktemp("tiny")
    write_dataset(data_dir)
    return data_dir


@pytest.fixture(scope="session")
def tiny_dataset(tiny_data_dir):
    """The same, opened."""
    from model.data.dataset import open_dataset

    return open_dataset(tiny_data_dir, 32)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny_data_dir) -> Path:
    """The folder of a run on the tiny dataset: not evaluated."""
    return train_tiny(tiny_data_dir, tmp_path_factory.mktemp("runs") / "tiny", blocks=(1,), epochs=2).path


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory, trained) -> Path:
    """The same, evaluated."""
    from model.evaluate import evaluate

    path = tmp_path_factory.mktemp("evaluated") / "tiny"
    shutil.copytree(trained, path)
    evaluate(path)
    return path


@pytest.fixture
def records_read(monkeypatch) -> collections.Counter[str]:
    """Counts the records that are read in storage order, by split."""
    import tensorflow as tf

    from model.data import batches

    counts: collections.Counter[str] = collections.Counter()
    stored = batches._stored

    def counting(dataset, split, limit):
        def count(record):
            tf.numpy_function(lambda: counts.update([split]), [], [])
            return record

        return stored(dataset, split, limit).map(count)

    monkeypatch.setattr(batches, "_stored", counting)
    return counts


@pytest.fixture
def run_copy(tmp_path, trained) -> Path:
    """A copy of the unevaluated run, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def evaluated_copy(tmp_path, evaluated) -> Path:
    """A copy of the evaluated run, to be changed."""
    return Path(shutil.copytree(evaluated, tmp_path / "evaluated"))


@pytest.fixture(scope="session")
def raw_source(tmp_path_factory):
    """Raw filter images of 64 x 64 pixels, 48 examples."""
    return draw_source(tmp_path_factory.mktemp("raw") / "source", 48, side=64, seed=3)


@pytest.fixture(scope="session")
def raw_run(tmp_path_factory, raw_source) -> Path:
    """A run on the dataset of 32 x 32 pixels that the pipeline built from `raw_source`; it sees three channels."""
    from pipeline import job
    from pipeline.config import BuildConfig

    data_dir = tmp_path_factory.mktemp("built")
    job.build(BuildConfig(raw_source.table, raw_source.images, data_dir, size=32))
    values = {"channels": ["green", "blue", "red"], "blocks": (1,), "epochs": 1, "batch_size": 8}
    assert tiny_settings(**values).channels == ("green", "blue", "red")
    return train_tiny(data_dir, tmp_path_factory.mktemp("raw-run") / "run", **values).path
