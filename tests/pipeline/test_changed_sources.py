"""Bad images are looked at again, failing disks are no verdict, and replaced files are noticed."""

import dataclasses
import errno
import os
import shutil
import zipfile

import imageio.v3 as iio
import numpy as np
import pytest

from pipeline.dataset import provenance
from pipeline.dataset.provenance import ChangedSourceError
from pipeline.dataset.publish import AlreadyPublished
from pipeline.dataset.quarantine import BadExamples
from pipeline.errors import InputError, StorageError
from pipeline.images import limits, reading, sources
from pipeline.job import build
from pipeline.store.workspace import DiskWorkspace
from pipeline.write import writer
from tests.support.sources import config_for, digests


@pytest.fixture
def reference(source, tmp_path):
    return digests(build(config_for(source, tmp_path / "reference")).path)


def flip(path, position=100):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def replace(source, example_id="ex-0003", value=7):
    """Replaces an image by another of equal size and equal modification time."""
    path = source.image(example_id, "red")
    before = path.stat()
    rng = np.random.default_rng(value)
    for _ in range(1000):
        iio.imwrite(path, rng.integers(0, 256, (32, 32), dtype=np.uint8), plugin="pillow")
        if path.stat().st_size == before.st_size:
            break
    else:
        raise AssertionError("no image of equal size found")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# Bad images.


@pytest.mark.parametrize("settings", [{}, {"on_error": "quarantine", "max_bad": 0.01}])
def test_a_bad_image_that_is_replaced_by_the_good_one_is_used(source, tmp_path, reference, settings):
    path = source.image("ex-0003", "blue")
    good = path.read_bytes()
    flip(path)
    config = config_for(source, tmp_path / "data", **settings)
    with pytest.raises(BadExamples, match="damaged: the checksum of the chunk"):
        build(config)
    path.write_bytes(good)
    result = build(config)
    assert digests(result.path) == reference
    assert result.num_shards_resumed > 0


@pytest.fixture
def failing(monkeypatch):
    """Makes reading one image fail so many times with an error of the system; waits take no time."""
    monkeypatch.setattr(reading.time, "sleep", lambda seconds: None)
    read = sources.Folder.read

    def fail(name, number, times):
        left = [times]

        def failing_read(folder, wanted, max_bytes):
            if wanted == name and left[0]:
                left[0] -= 1
                raise OSError(number, os.strerror(number), f"{folder.path}/{wanted}")
            return read(folder, wanted, max_bytes)

        monkeypatch.setattr(sources.Folder, "read", failing_read)

    return fail


ERRORS = [errno.EIO, errno.EMFILE, errno.ENOMEM, errno.ESTALE, errno.EACCES, errno.EPERM, errno.ETIMEDOUT]


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_an_error_of_the_system_stops_the_build_and_is_no_verdict_on_the_image(
    source, tmp_path, reference, failing, number
):
    failing("ex-0005_green.png", number, times=4)
    config = config_for(source, tmp_path / "data", on_error="quarantine", max_bad=1)
    with pytest.raises(StorageError) as caught:
        build(config)
    assert str(caught.value) == (
        f"{source.image('ex-0005', 'green')}: cannot be read after 4 tries ({os.strerror(number)}); "
        "this says nothing about the image: run the same command again to continue"
    )
    assert digests(build(config).path) == reference


def test_an_error_of_the_system_that_passes_is_not_noticed(source, tmp_path, reference, failing):
    failing("ex-0005_green.png", errno.EIO, times=3)
    assert digests(build(config_for(source, tmp_path / "data")).path) == reference


def test_too_little_memory_is_no_verdict_on_the_image(source, tmp_path, monkeypatch):
    def fail(*args):
        raise MemoryError

    monkeypatch.setattr("pipeline.images.formats.decode", fail)
    with pytest.raises(StorageError, match=r"_\w+\.png: out of memory while it was decoded; try again with fewer"):
        build(config_for(source, tmp_path / "data"))


@pytest.mark.parametrize(
    ("make", "detail"),
    [
        (os.mkdir, "missing_filter: no file ex-0002_red.png"),
        (os.mkfifo, "missing_filter: no file ex-0002_red.png"),
        (lambda path: os.symlink("/dev/zero", path), "missing_filter: no file ex-0002_red.png"),
        (lambda path: os.symlink("nowhere", path), "missing_filter: no file ex-0002_red.png"),
        (
            lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 4 << 30),
            "too_large: the file has 4,294,967,296 bytes, expected at most 134,217,728",
        ),
    ],
    ids=["folder", "pipe", "device", "dangling", "sparse"],
)
def test_what_is_no_file_or_too_large_is_refused_before_it_is_read(source, tmp_path, monkeypatch, make, detail):
    path = source.image("ex-0002", "red")
    path.unlink()
    make(path)
    monkeypatch.setattr(sources.Folder, "read", lambda *_: pytest.fail("an image was read"))
    with pytest.raises(BadExamples, match=f"image 'ex-0002': channel 'red': {detail}"):
        build(config_for(source, tmp_path / "data"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkdir, "a folder, expected a file"),
        (os.mkfifo, "a device or a pipe, expected a file"),
        (lambda path: os.symlink("/dev/zero", path), "a device or a pipe, expected a file"),
        (
            lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), limits.max_bytes(1) + 1),
            "the file has 134,217,729 bytes, expected at most 134,217,728",
        ),
    ],
    ids=["folder", "pipe", "device", "sparse"],
)
def test_what_became_of_a_file_after_it_was_listed_is_not_waited_for(tmp_path, make, message):
    make(tmp_path / "a_red.png")
    with pytest.raises(sources.Unusable) as caught:
        sources.Folder(str(tmp_path)).read("a_red.png", limits.max_bytes(1))
    assert str(caught.value) == message


# Replaced files.


def test_a_replaced_image_of_equal_size_and_time_is_not_nothing_to_do(source, tmp_path):
    config = config_for(source, tmp_path / "data")
    first = build(config)
    before = digests(first.path)
    replace(source)
    with pytest.raises(AlreadyPublished, match=r"was built from other images of 'ex-0003', which have changed since"):
        build(config)
    assert digests(first.path) == before
    second = build(dataclasses.replace(config, overwrite=True))
    fresh = build(config_for(source, tmp_path / "fresh"))
    assert digests(second.path) == digests(fresh.path) != before
    assert build(config).up_to_date


def test_overwrite_builds_again_although_nothing_changed(source, tmp_path):
    config = config_for(source, tmp_path / "data", overwrite=True)
    before = digests(build(config).path)
    again = build(config)
    assert not again.up_to_date
    assert digests(again.path) == before


def test_files_that_were_touched_or_moved_are_read_again_and_found_the_same(source, tmp_path, monkeypatch):
    config = config_for(source, tmp_path / "data")
    build(config)
    os.utime(source.image("ex-0001", "red"))
    read, seen = sources.Folder.read, []
    monkeypatch.setattr(
        sources.Folder, "read", lambda folder, name, *limit: (seen.append(name), read(folder, name, *limit))[1]
    )
    assert build(config).up_to_date
    assert {name.rpartition("_")[0] for name in seen} == {"ex-0001"}
    seen.clear()
    assert build(config).up_to_date
    assert seen == []
    (tmp_path / "data/hpa_stacked/16/.1.1.0.listing").unlink()  # as if the dataset had been moved here
    assert build(config).up_to_date
    assert len(seen) == 80


def test_check_content_reads_every_image(source, tmp_path, monkeypatch):
    config = config_for(source, tmp_path / "data", check_content=True)
    build(config)
    read, seen = sources.Folder.read, []
    monkeypatch.setattr(
        sources.Folder, "read", lambda folder, name, *limit: (seen.append(name), read(folder, name, *limit))[1]
    )
    assert build(config).up_to_date
    assert len(seen) == 80


def kill_before_publishing(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize("check_content", [False, True])
def test_a_killed_build_never_continues_with_a_mixture_of_old_and_new_pixels(
    source, tmp_path, monkeypatch, check_content
):
    config = config_for(source, tmp_path / "data", check_content=check_content)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DiskWorkspace, "publish", kill_before_publishing)
        build(config)
    replace(source)
    result = build(config)
    assert result.num_shards_resumed == result.num_shards - 1
    assert digests(result.path) == digests(build(config_for(source, tmp_path / "fresh")).path)


def test_a_zip_in_place_of_the_folder_continues_a_killed_build(source, tmp_path, monkeypatch):
    config = config_for(source, tmp_path / "data")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DiskWorkspace, "publish", kill_before_publishing)
        build(config)
    archive = source.root / "train.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in source.images.iterdir():
            file.write(path, f"train/{path.name}")
    shutil.rmtree(source.images)
    result = build(dataclasses.replace(config, images=archive))
    assert result.num_shards_resumed == result.num_shards


SOURCES = []


def replace_while_building(task, **settings):
    report = writer.write_shard(task, **settings)
    if SOURCES:
        replace(SOURCES.pop())
    return report


def test_a_file_replaced_while_the_build_runs_stops_it(source, tmp_path):
    SOURCES.append(source)
    ids = sorted(source.labels)
    config = config_for(source, tmp_path / "data", num_shards=1, write=replace_while_building)
    if "ex-0003" in ids:
        with pytest.raises(
            ChangedSourceError,
            match=r"'ex-0003' changed while .* run the same command again once nothing writes there$",
        ):
            build(config)
    assert not (tmp_path / "data/hpa_stacked/16/1.1.0").exists()
    result = build(config)
    assert digests(result.path) == digests(build(config_for(source, tmp_path / "fresh", num_shards=1)).path)


def test_a_bad_image_that_is_good_again_at_publication_stops_the_build(source, tmp_path):
    path = source.image("ex-0003", "red")
    good = path.read_bytes()
    flip(path)
    before = path.stat()

    def repair(task, **settings):
        report = writer.write_shard(task, **settings)
        if report.bad:
            path.write_bytes(good)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return report

    with pytest.raises(ChangedSourceError, match=r"'ex-0003' changed while"):
        build(config_for(source, tmp_path / "data", on_error="quarantine", max_bad=1, write=_Local(repair)))


class _Local:
    """A function that stays in this process; Beam pickles what it runs."""

    functions: list = []  # noqa: RUF012

    def __init__(self, function):
        self.index = len(self.functions)
        self.functions.append(function)

    def __call__(self, *args, **settings):
        return self.functions[self.index](*args, **settings)


def test_groups_that_change_while_the_build_runs_stop_it(source, tmp_path):
    groups = tmp_path / "groups.csv"
    groups.write_text("Id,Group\nex-0001,a\nex-0002,a\n")

    def change(task, **settings):
        groups.write_text("Id,Group\nex-0001,b\nex-0002,c\n")
        return writer.write_shard(task, **settings)

    with pytest.raises(InputError, match=r"groups\.csv: changed while the dataset was built; run the same command"):
        build(config_for(source, tmp_path / "data", groups=groups, write=_Local(change)))


def test_the_digests_of_source_files_are_published_and_depend_on_content_alone(source, tmp_path):
    result = build(config_for(source, tmp_path / "data"))
    rows = (result.path / "sources.csv").read_text().splitlines()
    assert rows[0] == "id,digest"
    assert [row.partition(",")[0] for row in rows[1:]] == sorted(source.labels)
    assert "sources.csv" in (result.path / "SHA256SUMS").read_text()
    names = [f"ex-0000_{name}.png" for name in ("yellow", "blue", "green", "red")]
    assert rows[1] == f"ex-0000,{reading.digest_of(sources.open_images(source.images), names)}"


def test_many_changed_examples_make_a_short_message():
    assert provenance.first_ids([str(k) for k in range(12)]).endswith("'8', '9' and 2 more")
