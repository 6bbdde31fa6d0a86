"""Shards as ArrayRecord: the same examples, plan, proof and resume as TFRecord."""

import hashlib
import importlib.util
import json

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.dataset import conservation
from pipeline.dataset.verify import verify
from pipeline.errors import InputError, JobError
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
    with open(path, "rb") as file, pytest.raises(records.RecordError, match=r"^record 30: cannot be read \(Corrupted"):
        list(FORMATS["array_record"].read_ids(file))


@pytest.mark.parametrize("kept", [0, 100, 70_000, 131_071])
def test_a_file_that_is_no_whole_array_record_is_named(tmp_path, kept):
    path = tmp_path / "shard"
    write(path, "array_record")
    path.write_bytes(path.read_bytes()[:kept])
    with open(path, "rb") as file, pytest.raises(records.RecordError, match="not an ArrayRecord, or it ends early"):
        list(FORMATS["array_record"].read_ids(file))


def test_an_array_record_of_something_else_has_no_ids(tmp_path):
    with open(tmp_path / "shard", "wb") as file, FORMATS["array_record"].writing(file) as sink:
        sink.add([RECORDS[0], b"something else"])
    with open(tmp_path / "shard", "rb") as file:
        ids = FORMATS["array_record"].read_ids(file)
        assert next(ids) == "ex-0"
        with pytest.raises(records.RecordError, match="record 1: no id"):
            next(ids)


@pytest.mark.parametrize("shard_format", FORMATS)
def test_a_full_disk_is_an_error_of_the_system(shard_format):
    with (
        open("/dev/full", "wb", buffering=0) as file,
        pytest.raises(OSError, match="No space left on device"),
        FORMATS[shard_format].writing(file) as sink,
    ):
        sink.add(FORMATS[shard_format].pieces(bytes(1 << 20)))


@pytest.mark.parametrize("name", ["shard", "/dev/full"])
@pytest.mark.parametrize("shard_format", FORMATS)
def test_an_error_while_a_shard_is_written_is_the_one_that_is_raised(tmp_path, shard_format, name):
    with (
        pytest.raises(JobError, match="a disk failed"),
        open(tmp_path / name, "wb", buffering=0) as file,
        FORMATS[shard_format].writing(file),
    ):
        raise JobError("a disk failed")


def test_a_full_disk_is_one_line_that_names_the_shard(source, tmp_path, monkeypatch):
    class Full:
        def __init__(self, path, options):
            pass

        def write(self, record=b""):
            raise RuntimeError("write() failed: No space left on device; writing x; at byte 0")

        close = write

    module = type("Module", (), {"ArrayRecordWriter": Full})
    monkeypatch.setattr(shard_files, "_module", lambda: module)
    with pytest.raises(
        JobError, match=r"array_record-00000-of-\d+: the disk is full; free some space and run the same"
    ):
        build(config_for(source, tmp_path / "data", file_format="array_record"))


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


def test_shards_of_the_other_format_that_a_killed_build_left_are_removed(source, tmp_path, monkeypatch):
    def killed(*args, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(conservation, "prove", killed)
        build(config_for(source, tmp_path / "data"))
    assert list((tmp_path / "data/hpa_stacked/16/.1.1.0.building/shards").glob("*.tfrecord-*"))
    result = build(config_for(source, tmp_path / "data", file_format="array_record"))
    assert result.num_shards_resumed == 0
    assert not list(result.path.glob("*tfrecord*"))


def reverse_records(task, **settings):
    """Writes a shard, then its records in the other order."""
    report = writer.write_shard(task, **settings)
    path, shard_format = settings["workspace"].shards / task.filename, FORMATS["array_record"]
    with open(path, "rb") as file:
        found = list(shard_format.read(file, hashlib.sha256()))
    with open(path, "wb") as file, shard_format.writing(file) as sink:
        for record in reversed(found):
            sink.add([record])
    return report


def test_array_records_in_another_order_than_reported_are_not_published(source, tmp_path):
    config = config_for(source, tmp_path / "data", file_format="array_record", write=reverse_records, num_shards=1)
    with pytest.raises(conservation.ConservationError, match="the ids in the file are not those that its writer"):
        build(config)
    assert not list(tmp_path.glob("data/hpa_stacked/*/1.1.0"))


def test_one_format_does_not_replace_the_other_unasked(built, source, tmp_path):
    with pytest.raises(
        InputError, match=r'other parameters \(file_format "tfrecord" published, "array_record" wanted\); use'
    ):
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


def test_without_tensorflow_the_command_says_that_its_reader_needs_it(source, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name))
    arguments = ["shards", "--source", source.root, "--data-dir", tmp_path, "--size", 16]
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "it needs TensorFlow, and docs/reading.md shows how to read without it" in done.output
