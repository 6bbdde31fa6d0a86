"""Labels of a split are read from the published table, or from the records of a dataset that has none."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

from model.data import batches, card
from model.data.dataset import open_version
from model.train import main
from pipeline.errors import InputError
from pipeline.job import build
from tests.support.datasets import Shape, write_dataset
from tests.support.hpa import CLASS_NAMES
from tests.support.sources import config_for


@pytest.fixture
def dataset(source, tmp_path):
    return open_version(build(config_for(source, tmp_path / "data", size=4, shard_mib=0.001)).path)


def test_labels_come_from_the_table_without_reading_a_record(dataset, records_read):
    from_table = {split: batches.read_labels(dataset, split) for split in dataset.num_examples}
    assert not records_read
    (dataset.path / "labels.csv").unlink()
    for split, expected in from_table.items():
        np.testing.assert_array_equal(batches.read_labels(dataset, split), expected)
        assert expected.dtype == np.uint8
    assert records_read == dataset.num_examples


def test_a_limit_takes_the_first_rows(dataset):
    assert (batches.read_labels(dataset, "train", 5) == batches.read_labels(dataset, "train")[:5]).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace(",dev,", ",train,", 1), " has {more} examples of train, expected {num}; {advice}"),
        (lambda text: "", " has 0 examples of train, expected {num}; {advice}"),
        (lambda text: "\udcff", " cannot be read (UnicodeDecodeError); {advice}"),
        (
            lambda text: re.sub(r"(,train,).*", r"\g<1>3 28", text, count=1),
            ": example 0 of train has labels '3 28', expected class ids 0..27; {advice}",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_named(dataset, damage, message):
    path = dataset.path / "labels.csv"
    path.write_text(damage(path.read_text()), errors="surrogateescape")
    with pytest.raises(InputError) as raised:
        batches.read_labels(dataset, "train")
    num, advice = dataset.num_examples["train"], f"'python -m pipeline verify {dataset.path}' lists all damage"
    assert str(raised.value) == f"dataset {dataset.path}: labels.csv" + message.format(
        num=num, more=num + 1, advice=advice
    )


def test_training_starts_with_a_warning_that_names_classes_without_examples(tmp_path):
    counts = [3] * 28
    counts[8] = counts[27] = 0
    path = write_dataset(tmp_path, Shape(size=32, train=8, dev=2, test=2), metadata={"label_counts": {"train": counts}})
    assert card.absent_classes(open_version(path)) == ["Peroxisomes", "Rods & rings"]
    few = card.absent_classes(open_version(path), limit=2)
    labels = batches.read_labels(open_version(path), "train")[:2]
    assert few == [name for name, count in zip(CLASS_NAMES, labels.sum(axis=0), strict=True) if not count]
    assert 20 < len(few) < 28
    config = tmp_path / "config.json"
    config.write_text('{"size": 32}')
    # A batch that train does not fill stops the command before it builds a network.
    result = CliRunner().invoke(main, ["--config", str(config), "--data-dir", str(tmp_path), "--batch-size", "9"])
    assert (
        "WARNING: no example of train has Peroxisomes, Rods & rings: the model cannot learn to find them"
        in result.output.splitlines()
    )
    assert result.exit_code == 1
    limited = ["--set", "limit_examples=2", "--batch-size", "9"]
    result = CliRunner().invoke(main, ["--config", str(config), "--data-dir", str(tmp_path), *limited])
    assert result.output.splitlines()[1:3] == [
        "only the first 2 examples of each split are used (limit_examples)",
        f"WARNING: none of the first 2 examples of train has {', '.join(few)}: the model cannot learn to find them",
    ]


def test_no_class_is_reported_absent_if_the_metadata_has_no_counts(tmp_path):
    path = write_dataset(tmp_path, Shape(size=8, train=4, dev=2, test=2), metadata={"label_counts": {}})
    assert card.absent_classes(open_version(path)) == []
