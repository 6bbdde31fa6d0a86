"""Shards as ArrayRecord: the same examples, plan, proof and resume as TFRecord."""

import hashlib
import json

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.dataset.verify import verify
from pipeline.errors import InputError
from pipeline.job import build
from pipeline.write import records, shard_files, writer
from pipeline.write.shard_files import FORMATS
from tests.support.sources import config_for, digests

RECORDS = [
    records.encode(f"ex-{k}", bytes([k]) * 64, (k % 28,), records.label_vector((k % 28,), 28)) for k in range(50)
]


def write(path, shard_format):
    with open(path, "wb") as file, FORMATS[shard_format].writing(file) as sink:
        for record in RECORDS:
            sink.add(FORMATS[shard_format].pieces(record))
    return sink


@pytest.mark.parametrize("shard_format", FORMATS)
def test_records_read_back_and_the_sink_knows_the_file(shard_format, tmp_path):
    path, read = tmp_path / "shard", hashlib.sha256()
    sink = write(path, shard_format)
    with open(path, "rb") as file:
        assert list(FORMATS[shard_format].read(file, read)) == RECORDS
    with open(path, "rb") as file:
        assert list(FORMATS[shard_format].read_ids(file)) == [f"ex-{k}" for k in range(50)]
    assert sink.sha256 == read.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sink.num_bytes == path.stat().st_size


@pytest.mark.parametrize("shard_format", FORMATS)
def test_a_shard_without_records_reads_back(shard_format, tmp_path):
    path = tmp_path / "shard"
    with open(path, "wb") as file, FORMATS[shard_format].writing(file):
        pass
    with open(path, "rb") as file:
        assert list(FORMATS[shard_format].read_ids(file)) == []


def test_a_damaged_array_record_is_named(tmp_path):
    path = tmp_path / "shard"
    write(path, "array_record")
    data = bytearray(path.read_bytes())
    data[data.index(bytes([30]) * 64)] ^= 1
    path.write_bytes(data)
    with open(path, "rb") as file, pytest.raises(records.RecordError, match="record 16 or one of the next 16: "):
        list(FORMATS["array_record"].read_ids(file))
    path.write_bytes(data[: len(data) // 2])
    with open(path, "rb") as file, pytest.raises(records.RecordError, match="not an ArrayRecord, or it ends early"):
        list(FORMATS["array_record"].read_ids(file))


def test_an_array_record_that_could_not_be_written_is_an_error(tmp_path, monkeypatch):
    class Failing:
        def ArrayRecordWriter(self, path, options):
            return self

        def ok(self):
            return False

        def close(self):
            """Does nothing."""

    monkeypatch.setattr(shard_files, "_module", Failing)
    with (
        open(tmp_path / "shard", "wb") as file,
        pytest.raises(OSError, match="shard: cannot be written as an ArrayRecord"),
        FORMATS["array_record"].writing(file),
    ):
        pass


def test_the_format_of_a_shard_is_that_of_its_name():
    assert shard_files.of_file("hpa_stacked-dev.array_record-00000-of-00002").name == "array_record"
    assert shard_files.of_file("hpa_stacked-dev.tfrecord-00000-of-00002").name == "tfrecord"


def examples(path, shard_format):
    """Returns the records of each split in the order of storage."""
    found = {}
    for shard in sorted(path.glob(f"*.{shard_format}-*")):
        with open(shard, "rb") as file:
            found.setdefault(shard.name.split(".")[0], []).extend(FORMATS[shard_format].read(file, hashlib.sha256()))
    return found


@pytest.fixture
def built(source, tmp_path):
    """`{format: dataset}` of one source."""
    return {
        name: build(config_for(source, tmp_path / name, file_format=name, threads=threads))
        for name, threads in (("tfrecord", 2), ("array_record", 1))
    }


def test_both_formats_hold_the_same_records_in_the_same_order(built):
    first, second = (examples(result.path, name) for name, result in built.items())
    assert first == second
    assert sum(map(len, first.values())) == 20


def test_an_array_record_dataset_is_random_access_and_intact(built, source):
    import tensorflow_datasets as tfds

    path = built["array_record"].path
    data = tfds.builder_from_directory(str(path)).as_data_source(split="train")
    last = data[len(data) - 1]
    assert tuple(last["labels"]) == source.labels[last["id"].decode()]
    assert np.flatnonzero(last["label_vector"]).tolist() == list(last["labels"])
    assert verify(path) == []
    assert json.loads((path / "dataset_info.json").read_text())["fileFormat"] == "array_record"


def test_every_flipped_byte_of_an_array_record_is_found(built):
    path = next(built["array_record"].path.glob("*train*"))
    data = bytearray(path.read_bytes())
    for position in range(0, len(data), len(data) // 60):
        data[position] ^= 4
        path.write_bytes(data)
        assert any(path.name in problem for problem in verify(path.parent))
        data[position] ^= 4
    path.write_bytes(data)
    assert verify(path.parent) == []


def test_bytes_of_array_records_do_not_depend_on_threads(built, source, tmp_path):
    again = build(config_for(source, tmp_path / "again", file_format="array_record", threads=4))
    assert digests(again.path) == digests(built["array_record"].path)


def write_three(task, **settings):
    if task.plan.split != "train" or task.plan.index > 2:
        raise OSError(5, "Input/output error")
    return writer.write_shard(task, **settings)


def test_a_killed_build_of_array_records_continues(built, source, tmp_path):
    config = config_for(source, tmp_path / "killed", file_format="array_record", write=write_three)
    with pytest.raises(Exception, match="Input/output error"):
        build(config)
    result = build(config_for(source, tmp_path / "killed", file_format="array_record"))
    assert result.num_shards_resumed > 0
    assert digests(result.path) == digests(built["array_record"].path)


def test_one_format_does_not_replace_the_other_unasked(built, source, tmp_path):
    with pytest.raises(InputError, match="holds a dataset of other input or parameters"):
        build(config_for(source, tmp_path / "tfrecord", file_format="array_record"))
    replaced = build(config_for(source, tmp_path / "tfrecord", file_format="array_record", overwrite=True))
    assert digests(replaced.path) == digests(built["array_record"].path)


def test_an_unknown_format_is_refused(source, tmp_path):
    with pytest.raises(InputError, match="file_format is 'riegeli', expected one of tfrecord, array_record"):
        config_for(source, tmp_path / "data", file_format="riegeli")


def test_the_command_writes_array_records(source, tmp_path):
    arguments = [
        "shards",
        "--source",
        source.root,
        "--data-dir",
        tmp_path,
        "--size",
        16,
        "--file-format",
        "array_record",
    ]
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "read it with tfds.data_source('hpa_stacked/16'" in done.output
