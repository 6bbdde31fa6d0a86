"""The published table of labels has a row for each record, in the order of the records."""

import csv
import hashlib

import pytest

from pipeline.dataset.verify import verify
from pipeline.job import build
from pipeline.write import records, shard_files
from tests.support.sources import config_for


@pytest.fixture
def dataset(source, tmp_path):
    next(source.images.glob("*_red.png")).write_bytes(b"no image")
    config = config_for(source, tmp_path / "data", size=4, shard_mib=0.001, on_error="quarantine", max_bad=0.1)
    return build(config).path


def stored(dataset, split: str) -> list[tuple[str, str, str]]:
    found = []
    for path in sorted(dataset.glob(f"*-{split}.tfrecord-*")):
        with open(path, "rb") as file:
            decoded = [records.decode(data) for data in shard_files.of_file(path.name).read(file, hashlib.sha256())]
        found += [(record.id, split, " ".join(map(str, record.labels))) for record in decoded]
    return found


def test_the_table_has_the_records_in_their_order_without_quarantined_ones(dataset):
    header, *rows = csv.reader((dataset / "labels.csv").read_text().splitlines())
    assert header == ["Id", "Split", "Labels"]
    assert len(rows) == 19
    for split in ("train", "dev", "test"):
        assert [tuple(row) for row in rows if row[1] == split] == stored(dataset, split)
    assert verify(dataset) == []


@pytest.mark.parametrize("old_new", [(",train,", ",dev,"), ("\n", " 27\n")])
def test_verify_compares_the_table_with_the_records(dataset, old_new):
    path, sums = dataset / "labels.csv", dataset / "SHA256SUMS"
    data = path.read_bytes()
    head, _, rest = data.decode().partition("\n")
    path.write_text(f"{head}\n{rest.replace(*old_new, 1)}")
    sums.write_text(
        sums.read_text().replace(hashlib.sha256(data).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest())
    )
    assert verify(dataset) == ["labels.csv: its rows are not the ids, splits and labels of the records in their order"]


def test_a_dataset_of_an_earlier_version_without_the_table_is_intact(dataset):
    (dataset / "labels.csv").unlink()
    sums = dataset / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "labels.csv" not in line))
    assert verify(dataset) == []
