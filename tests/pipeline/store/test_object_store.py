"""Images, tables and datasets in object stores: the same bytes, whole or not at all, faults waited out."""

import dataclasses
import hashlib
import inspect
import re
import sys
import zipfile

import pytest

from pipeline import job
from pipeline.config import BuildConfig
from pipeline.console import extras
from pipeline.dataset.audit import audit
from pipeline.dataset.conservation import ConservationError
from pipeline.dataset.publish import AlreadyPublished, published_metadata
from pipeline.dataset.verify import verify
from pipeline.errors import InputError, JobError, StorageError
from pipeline.images import sources
from pipeline.job import build
from pipeline.store import files
from pipeline.store.objects import ObjectPath
from pipeline.store.workspace import open_workspace
from pipeline.write import writer
from tests.support.object_stores import running
from tests.support.sources import digests, draw_source


@pytest.fixture(scope="module")
def gcs():
    with running("gs") as store:
        yield store


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twenty examples on a disk, and the dataset built from them there."""
    source = draw_source(tmp_path_factory.mktemp("source"), 20)
    archive = source.root / "train.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in source.images.iterdir():
            file.write(path, f"train/{path.name}")
    return source, build(config_for(source, tmp_path_factory.mktemp("reference"))).path


def config_for(source, data_dir, **settings) -> BuildConfig:
    return BuildConfig(
        source.table, source.images, data_dir, **{"size": 16, "shard_mib": 0.005, "threads": 4, **settings}
    )


@dataclasses.dataclass
class Remote:
    """A source in an object store."""

    table: ObjectPath
    images: ObjectPath


def put_source(store, source, place) -> Remote:
    store.put(source.images, place / "train")
    (place / "train.csv").upload(source.table)
    (place / "train.zip").upload(source.root / "train.zip")
    return Remote(place / "train.csv", place / "train")


@pytest.fixture
def place(store, request):
    """A folder of the store for one test."""
    return store.root / hashlib.md5(request.node.name.encode()).hexdigest()


def names_of(place):
    return sorted(files.listing(place))


def same_bytes(store, place, path):
    found = {name: hashlib.sha256(data).hexdigest() for name, data in store.contents(place).items()}
    return found == digests(path)


# Places.


def test_a_place_is_a_path_or_a_url_of_a_known_store(tmp_path):
    assert files.at(str(tmp_path)) == tmp_path
    assert str(files.at("gs://bucket/a/") / "b") == "gs://bucket/a/b"
    assert files.at("s3://bucket/a/b.zip").with_name("c").parent.name == "a"
    with pytest.raises(InputError, match="hdfs://x/y: expected a path, or a URL that starts with gs:// or s3://"):
        files.at("hdfs://x/y")


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    expected = rf"s3://bucket/x: needs more libraries .*: {re.escape(extras.install('aws'))}$"
    with pytest.raises(InputError, match=expected):
        files.at("s3://bucket/x").exists()


def test_an_object_is_written_read_listed_and_removed(place):
    assert not place.exists()
    assert files.listing(place) == {}
    with files.replacing(place / "a" / "x") as file:
        file.write(b"0123456789")
    assert (place / "a" / "x").read_bytes() == b"0123456789"
    assert files.read_range(place / "a" / "x", 2, 4) == b"23"
    assert files.listing(place / "a")["x"] == files.Stored(10, (place / "a" / "x").stamp())
    assert files.folders(place) == [place / "a"]
    assert place.is_dir()
    with pytest.raises(FileNotFoundError):
        (place / "none").read_bytes()
    files.remove_tree(place)
    assert not place.exists()


def test_nothing_appears_when_writing_fails(place):
    with pytest.raises(ZeroDivisionError), files.replacing(place / "x") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert not (place / "x").exists()


def test_the_stores_libraries_still_have_the_private_parts_that_are_used(store):
    filesystem = store.root.filesystem
    assert inspect.iscoroutinefunction(filesystem._cat_file), "fsspec changed: adapt `objects._cat_files`"
    assert callable(filesystem._strip_protocol), "fsspec changed: adapt `objects._cat_files`"
    if store.scheme == "gs":
        assert filesystem._location == store.endpoint, "gcsfs changed: adapt `objects._write_gcs_if`"


# The whole job.


@pytest.mark.parametrize("images", ["train", "train.zip"])
def test_the_dataset_is_the_same_as_on_a_disk(store, place, drawn, images):
    source, reference = drawn
    remote = put_source(store, source, place / "in")
    result = build(config_for(dataclasses.replace(remote, images=place / "in" / images), place / "data"))
    assert same_bytes(store, result.path, reference)
    assert names_of(result.path.parent) == [".1.1.0.listing"]  # neither lock nor reports are left
    assert (place / "data/hpa_stacked/.config/metadata.json").exists()
    assert verify(result.path) == []
    assert build(config_for(remote, place / "data")).up_to_date


def test_the_command_line_takes_urls(store, place, drawn):
    source, _ = drawn
    put_source(store, source, place / "in")
    from click.testing import CliRunner

    from pipeline.cli import main

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    done = run("shards", "--source", place / "in", "--data-dir", place / "data", "--size", 16)
    assert done.exit_code == 0, done.output
    assert f"published {place}/data/hpa_stacked/16/1.1.0" in done.output
    assert "1.1.0: intact\n" in run("verify", f"{place}/data/hpa_stacked/16/1.1.0").stdout
    assert run("audit", "--source", place / "in").exit_code == 0
    assert run("verify", "hdfs://x/y").exit_code == 2


def test_audit_and_verify_find_what_is_wrong_in_a_store(store, place, drawn):
    source, _ = drawn
    remote = put_source(store, source, place / "in")
    (remote.images / "ex-0001_red.png").unlink()
    (remote.images / "ex-0002_blue.png").write_bytes(b"no image")
    found = audit(remote.table, remote.images, deep=True)
    assert found.problems[0] == "image 'ex-0001': channel 'red': missing_filter: no file ex-0001_red.png"
    assert "ex-0002_blue.png" in found.problems[1] or "not a PNG image" in found.problems[1]
    assert found.num_bad == 2

    result = build(config_for(source, place / "data"))
    shard = result.path / next(name for name in names_of(result.path) if "tfrecord-00000" in name)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    (problem,) = verify(result.path)
    assert problem.startswith(f"{shard.name}: record ")


def test_array_records_in_a_store_are_those_on_a_disk(place, drawn, tmp_path):
    source, _ = drawn
    on_disk = build(config_for(source, tmp_path / "disk", file_format="array_record", num_shards=1))
    result = build(config_for(source, place / "data", file_format="array_record", num_shards=1))
    assert (result.path / "SHA256SUMS").read_text() == (on_disk.path / "SHA256SUMS").read_text()
    assert verify(result.path) == []
    shard = result.path / "hpa_stacked-train.array_record-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[300] ^= 1
    shard.write_bytes(bytes(data))
    (problem,) = verify(result.path)
    assert problem.startswith(f"{shard.name}: record 0: cannot be read")


# Publication without rename.


def test_readers_see_a_dataset_only_when_its_metadata_is_there(store, place, drawn, monkeypatch):
    source, _ = drawn
    target = place / "data/hpa_stacked/16/1.1.0"
    order, upload = [], ObjectPath.upload

    def watched(path, file):
        if "dataset_info.json" not in order:
            assert published_metadata(target) is None
        order.append(path.name)
        upload(path, file)

    monkeypatch.setattr(ObjectPath, "upload", watched)
    result = build(config_for(source, place / "data"))
    # After it, TFDS's note of the default size, and the stamps of the source files.
    assert order[-3:] == ["dataset_info.json", "metadata.json", ".1.1.0.listing"]
    assert order.count("dataset_info.json") == 1
    assert published_metadata(target) == result.metadata


def test_overwriting_removes_the_metadata_first(store, place, drawn, monkeypatch):
    source, reference = drawn
    build(config_for(source, place / "data", num_shards=1))
    target = place / "data/hpa_stacked/16/1.1.0"
    with pytest.raises(
        AlreadyPublished, match=r"of other parameters \(num_shards_per_split 1 published, null wanted\)"
    ):
        build(config_for(source, place / "data"))

    def killed(*args, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job, "write_shards", killed)
        build(config_for(source, place / "data", overwrite=True))
    assert names_of(target) == []
    assert published_metadata(target) is None
    assert same_bytes(store, build(config_for(source, place / "data")).path, reference)


def test_metadata_that_a_list_does_not_have_yet_is_removed_too(store, place, drawn, monkeypatch):
    source, _ = drawn
    target = build(config_for(source, place / "data")).path
    workspace = open_workspace(target)
    listed = {name: stored for name, stored in workspace.finished().items() if name != "dataset_info.json"}
    with monkeypatch.context() as patch:
        patch.setattr(files, "listing", lambda folder: listed)
        assert workspace.is_published()
        workspace.discard(keep=())
    assert names_of(target) == []


def fail_second(task, **settings):
    if task.plan.split == "test":
        raise OSError(5, "the machine went away")
    return writer.write_shard(task, **settings)


def test_a_build_that_failed_continues_with_what_is_missing(store, place, drawn):
    source, reference = drawn
    with pytest.raises((OSError, JobError), match="the machine went away"):
        build(config_for(source, place / "data", write=fail_second))
    target = place / "data/hpa_stacked/16/1.1.0"
    assert names_of(target)  # shards, at their final names
    assert published_metadata(target) is None
    damaged = target / names_of(target)[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    result = build(config_for(source, place / "data"))
    assert result.num_shards_resumed == result.num_shards - 2  # the one of test, and the damaged one
    assert same_bytes(store, result.path, reference)


def test_a_folder_that_is_no_dataset_of_ours_is_refused(place, drawn):
    target = place / "data/hpa_stacked/16/1.1.0"
    (target / "precious.txt").write_bytes(b"")
    with pytest.raises(AlreadyPublished, match="no fingerprint"):
        build(config_for(drawn[0], place / "data"))
    assert names_of(target) == ["precious.txt"]


def swap_object(task, **settings):
    report = writer.write_shard(task, **settings)
    if task.plan.split == "dev":
        path = settings["workspace"].shards / task.filename
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return report


def lose_object(task, **settings):
    report = writer.write_shard(task, **settings)
    if task.plan.split == "dev":
        (settings["workspace"].shards / task.filename).unlink()
    return report


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (swap_object, "the object is not the one that its writer uploaded"),
        (lose_object, "reported as written, but the file does not exist"),
    ],
)
def test_what_is_not_as_its_writer_left_it_is_found_before_publishing(place, drawn, write, message):
    with pytest.raises(ConservationError, match=message):
        build(config_for(drawn[0], place / "data", write=write))
    assert published_metadata(place / "data/hpa_stacked/16/1.1.0") is None


def test_a_writer_reads_its_ids_again_before_the_upload(place, drawn, monkeypatch):
    monkeypatch.setattr(writer.records, "read_ids", lambda file: iter(["other"]))
    with pytest.raises(Exception, match="the ids in the file are not those that were written to it"):
        build(config_for(drawn[0], place / "data"))
    assert names_of(place / "data/hpa_stacked/16/1.1.0") == []


# Reading, and faults.


def test_a_folder_is_listed_once_and_each_image_read_once(gcs, drawn):
    source, _ = drawn
    images = put_source(gcs, source, gcs.root / "once").images
    before = len(gcs.log())
    opened = sources.open_images(images)
    assert len(list(opened.entries())) == 80
    listed = len(gcs.log()) - before
    assert listed <= 4
    names = ["ex-0000_red.png", "ex-0000_blue.png"]
    together = opened.together(names)
    assert [together.read(name) for name in names] == [(source.images / name).read_bytes() for name in names]
    assert len(gcs.log()) - before == listed + 2


def test_a_member_of_a_zip_is_one_read_of_its_range(gcs, drawn):
    source, _ = drawn
    put_source(gcs, source, gcs.root / "zip")
    opened = sources.open_images(gcs.root / "zip/train.zip")
    assert len(list(opened.entries())) == 80
    before = len(gcs.log())
    name = "ex-0003_green.png"
    assert opened.read(name) == opened.together([name]).read(name) == source.image("ex-0003", "green").read_bytes()
    first, second = gcs.log()[before:]
    assert first == second
    start, end = map(int, first.rpartition("bytes=")[2].split("-"))
    assert end - start < source.image("ex-0003", "green").stat().st_size + 200
    missing = opened.together(["none_red.png", name])
    assert missing.read(name)
    with pytest.raises(FileNotFoundError, match="no member 'train/none_red.png'"):
        missing.read("none_red.png")


@pytest.fixture
def waits(monkeypatch):
    """Waits between tries, in seconds, which are not waited for."""
    import asyncio

    found, sleep = [], asyncio.sleep

    async def noted(seconds, *args, **kwargs):
        if seconds:
            found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    return found


FAULTS = {"gs": [429, 500, 503, "drop", "cut"], "s3": [429, 500, 503, "drop"]}


def test_reads_are_repeated_after_faults_with_growing_waits(store, place, waits):
    (place / "x").write_bytes(b"0123456789")
    for fault in FAULTS[store.scheme]:
        store.tell(faults=[fault], only="/x")
        (found,) = files.read_ranges([(place / "x", 0, None)])
        assert found == b"0123456789", fault
    waits.clear()
    store.tell(faults=[503] * 4, only="/x")
    assert (place / "x").read_bytes() == b"0123456789"
    assert len(waits) == 4
    limit = [2.0**k for k in range(5)]
    assert all(seconds <= top + 1 for seconds, top in zip(waits, limit, strict=False))
    assert len(set(waits)) == 4  # by chance


def test_uploads_are_repeated_after_faults(store, place, waits):
    for fault in [429, 503, "drop"]:
        store.tell(faults=[fault], only=place.name)
        with files.replacing(place / f"x{fault}") as file:
            file.write(b"0123456789")
        assert (place / f"x{fault}").read_bytes() == b"0123456789"


def test_a_store_that_never_answers_is_one_line_and_no_bad_image(store, place, drawn, waits):
    source, reference = drawn
    remote = put_source(store, source, place / "in")
    store.tell(faults=[503] * 10_000, only="ex-0005_red.png")
    try:
        with pytest.raises(StorageError, match=r"ex-0005_red.png: the store failed after every try \(.*run the same"):
            build(config_for(remote, place / "data", on_error="quarantine", max_bad=1.0))
    finally:
        store.tell(faults=[], only="")
    assert published_metadata(place / "data/hpa_stacked/16/1.1.0") is None
    assert same_bytes(store, build(config_for(remote, place / "data")).path, reference)


def test_an_empty_object_is_an_empty_image_and_a_large_one_is_not_fetched(place):
    (place / "empty.png").write_bytes(b"")
    (place / "large.png").write_bytes(bytes(1000))
    images = sources.ObjectFolder(place).together(["empty.png", "large.png", "none.png"], 100)
    assert images.read("empty.png", 100) == b""
    with pytest.raises(sources.Unusable, match="the file has 101 bytes, expected at most 100"):
        images.read("large.png", 100)  # so many were asked for
    with pytest.raises(FileNotFoundError):
        images.read("none.png", 100)
