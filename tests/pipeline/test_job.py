"""The whole job on small sources: conservation, quarantine, resume, publication."""

import dataclasses
import errno
import json
import shutil
import signal
import subprocess
import sys
import time

import imageio.v3 as iio
import numpy as np
import pytest

from pipeline import job
from pipeline.dataset.conservation import ConservationError
from pipeline.dataset.publish import AlreadyPublished
from pipeline.dataset.quarantine import BadExamples
from pipeline.errors import InputError
from pipeline.job import build
from pipeline.schema import HPA_KAGGLE_2018
from pipeline.store import layout
from pipeline.store.workspace import DiskWorkspace, open_workspace
from pipeline.write import writer
from pipeline.write.reports import ShardReport
from tests.support.csv_files import read_rows
from tests.support.sources import config_for, digests, draw_source, stacked


def nothing_published(data_dir):
    return not list(data_dir.glob("hpa_stacked/*/1.1.0"))


@pytest.fixture
def built(source, tmp_path):
    return build(config_for(source, tmp_path / "data"))


def read_records(path):
    """Reads the dataset with TFDS: `{split: [(id, image, labels)]}`."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(path))
    return {
        split: [
            (e["id"].decode(), e["image"], tuple(e["labels"].tolist()))
            for e in tfds.as_numpy(builder.as_dataset(split=split))
        ]
        for split in builder.info.splits
    }


def test_tfds_reads_every_example_back_once(source, built):
    found = [row for rows in read_records(built.path).values() for row in rows]
    assert {i: labels for i, _, labels in found} == source.labels
    assert len(found) == 20
    images = job.sources.open_images(source.images)
    for example_id, image, _ in found:
        np.testing.assert_array_equal(image, stacked(images, example_id, 16).image)


def test_mean_and_std_are_those_of_numpy_over_train(built):
    train = np.stack([image for _, image, _ in read_records(built.path)["train"]]).astype(np.float64) / 255
    np.testing.assert_allclose(built.metadata["mean"], train.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(built.metadata["std"], train.std(axis=(0, 1, 2)), rtol=1e-12)


def test_bytes_do_not_depend_on_row_order_or_threads(source, tmp_path):
    first = build(config_for(source, tmp_path / "one", threads=1))
    source.write_table(sorted(source.labels.items(), reverse=True))
    second = build(config_for(source, tmp_path / "four", threads=4))
    assert first.num_shards > 5
    assert digests(first.path) == digests(second.path)


def test_another_seed_gives_other_bytes(source, tmp_path, built):
    other = build(config_for(source, tmp_path / "other", seed=1))
    assert digests(other.path) != digests(built.path)


def test_checksums_are_those_of_the_files(built):
    listed = dict(line.split("  ")[::-1] for line in (built.path / "SHA256SUMS").read_text().splitlines())
    found = digests(built.path)
    del found["SHA256SUMS"]
    assert listed == found


def test_a_second_run_has_nothing_to_do(source, tmp_path, built):
    again = build(config_for(source, tmp_path / "data"))
    assert again.up_to_date
    assert again.num_examples == built.num_examples
    assert "nothing to do" in job.summary(config_for(source, tmp_path / "data"), again)


def test_other_input_is_refused_unless_overwrite(source, tmp_path, built):
    before = digests(built.path)
    source.labels["ex-0000"] = (5,)
    source.write_table()
    with pytest.raises(AlreadyPublished, match="holds a dataset of other input: .*--overwrite to replace"):
        build(config_for(source, tmp_path / "data"))
    assert digests(built.path) == before
    replaced = build(config_for(source, tmp_path / "data", overwrite=True))
    assert digests(replaced.path) != before
    assert {p.name for p in replaced.path.parent.iterdir()} == {"1.1.0", ".1.1.0.lock", ".1.1.0.listing"}


def test_a_folder_that_is_no_dataset_of_ours_is_refused(source, tmp_path):
    target = tmp_path / "data/hpa_stacked/16/1.1.0"
    target.mkdir(parents=True)
    (target / "precious.txt").write_text("")
    with pytest.raises(AlreadyPublished, match="no fingerprint"):
        build(config_for(source, tmp_path / "data"))


# Conservation: workers that lie.


def with_examples(task, examples):
    return dataclasses.replace(task, plan=dataclasses.replace(task.plan, examples=examples))


def drop_last(task, **settings):
    """Forgets the last example of train's first shard."""
    if task.filename.startswith("hpa_stacked-train.tfrecord-00000"):
        task = with_examples(task, task.plan.examples[:-1])
    return writer.write_shard(task, **settings)


def repeat_first(task, **settings):
    """Writes the first example of every dev shard twice."""
    if task.plan.split == "dev":
        task = with_examples(task, (task.plan.examples[0], *task.plan.examples))
    return writer.write_shard(task, **settings)


def lose_shard(task, **settings):
    """Reports test's shards as written and writes nothing."""
    if task.plan.split == "test":
        return ShardReport(task.filename, "", (), (), 0, "", 0, (0,) * 4, (0,) * 4, 0, (0,) * 4)
    return writer.write_shard(task, **settings)


def truncate_file(task, **settings):
    """Cuts the last byte off every train shard after reporting it."""
    report = writer.write_shard(task, **settings)
    path = settings["workspace"].shards / task.filename
    if task.plan.split == "train":
        path.write_bytes(path.read_bytes()[:-1])
    return report


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (drop_last, r"tfrecord-00000-of-\d+: id 'ex-\d+' was not written(.|\n)*is missing from the output"),
        (repeat_first, r"id 'ex-\d+' is in the output 2 times, expected once"),
        (lose_shard, r"hpa_stacked-test\.tfrecord-00000-of-\d+ was never written: \d+ examples lost"),
        (truncate_file, r"the file has \d+ bytes, its writer counted \d+"),
    ],
)
def test_a_worker_that_loses_or_repeats_is_found_before_publishing(source, tmp_path, write, message):
    with pytest.raises(ConservationError, match=message):
        build(config_for(source, tmp_path / "data", write=write))
    assert nothing_published(tmp_path / "data")
    # What was written wrong is not taken for finished work by the next run.
    build(config_for(source, tmp_path / "data"))
    reference = build(config_for(source, tmp_path / "reference"))
    assert digests(tmp_path / "data/hpa_stacked/16/1.1.0") == digests(reference.path)


# Quarantine.


def spoil(source):
    source.image("ex-0003", "blue").write_bytes(b"")
    source.image("ex-0007", "red").write_bytes(b"no image")
    source.image("ex-0007", "green").write_bytes(b"no image")


def test_bad_images_stop_the_build_and_are_all_listed(source, tmp_path):
    spoil(source)
    with pytest.raises(BadExamples, match="2 of 20 examples are bad, and nothing was published") as caught:
        build(config_for(source, tmp_path / "data"))
    assert "image 'ex-0003': channel 'blue': empty: the file has 0 bytes, expected a PNG image" in str(caught.value)
    assert nothing_published(tmp_path / "data")
    rows = read_rows(tmp_path / "data/hpa_stacked/16/bad_examples.csv")
    assert [(row["id"], row["filter"], row["code"]) for row in rows] == [
        ("ex-0003", "blue", "empty"),
        ("ex-0007", "green", "unreadable"),
        ("ex-0007", "red", "unreadable"),
    ]


def test_the_list_on_screen_is_capped_and_the_table_is_not(source, tmp_path):
    for k in range(12):
        source.image(f"ex-{k:04d}", "blue").unlink()
    with pytest.raises(BadExamples, match=r"12 bad images(\n  .*missing_filter.*){10}\n  \.\.\. and 2 more$"):
        build(config_for(source, tmp_path / "data"))
    assert len(read_rows(tmp_path / "data/hpa_stacked/16/bad_examples.csv")) == 12


def test_quarantine_leaves_them_out_and_says_so(source, tmp_path):
    spoil(source)
    config = config_for(source, tmp_path / "data", on_error="quarantine", max_bad=0.1)
    result = build(config)
    assert sum(result.num_examples.values()) == 18
    assert result.metadata["num_quarantined"] == 2
    assert [row["id"] for row in read_rows(result.path / layout.QUARANTINE)] == [
        "ex-0003",
        "ex-0007",
        "ex-0007",
    ]
    assert "2 bad examples left out, listed in" in job.summary(config, result)
    assert {row[0] for rows in read_records(result.path).values() for row in rows} == source.labels.keys() - {
        "ex-0003",
        "ex-0007",
    }
    assert not (result.path.parent / "bad_examples.csv").exists()


def test_more_bad_examples_than_allowed_stop_the_build(source, tmp_path):
    spoil(source)
    with pytest.raises(BadExamples, match=r"2 of 20 examples are bad.*more than --max-bad 1\.000%"):
        build(config_for(source, tmp_path / "data", on_error="quarantine"))
    assert nothing_published(tmp_path / "data")


def test_16_bit_images_are_counted(source, tmp_path):
    iio.imwrite(source.image("ex-0001", "red"), np.full((32, 32), 40_000, np.uint16), plugin="pillow")
    config = config_for(source, tmp_path / "data")
    assert "1 images scaled from 16 to 8 bits" in job.summary(config, build(config))


def test_the_default_configuration_is_one_that_is_published(source, tmp_path):
    """A build of 256 pixels that is running or was killed has a folder, but is no configuration yet."""
    (tmp_path / "data/hpa_stacked/256/.1.1.0.building").mkdir(parents=True)
    build(config_for(source, tmp_path / "data", size=16))
    default = json.loads((tmp_path / "data/hpa_stacked/.config/metadata.json").read_text())
    assert default == {"default_config_name": "16"}


# Resume.


def test_a_killed_build_continues_and_gives_the_same_bytes(tmp_path):
    source = draw_source(tmp_path / "source", 300, side=64)
    reference = build(config_for(source, tmp_path / "reference", size=32, num_shards=30))
    command = [
        sys.executable, "-m", "pipeline", "shards", "--source", str(source.root), "--data-dir", str(tmp_path / "data"),
        "--size", "32", "--num-shards", "30", "--shard-mib", "0.005",
    ]  # fmt: skip
    building = tmp_path / "data/hpa_stacked/32/.1.1.0.building"
    for finished in (5, 20):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        while len(list(building.glob("reports/[!.]*.json"))) < finished and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "finished before it could be killed"
        assert nothing_published(tmp_path / "data")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "of them from an earlier run" in done.stdout
    assert digests(tmp_path / "data/hpa_stacked/32/1.1.0") == digests(reference.path)


def test_a_damaged_shard_of_an_earlier_run_is_written_again(source, tmp_path):
    reference = build(config_for(source, tmp_path / "reference"))
    spoil(source)
    with pytest.raises(BadExamples):
        build(config_for(source, tmp_path / "data"))
    shards = sorted((tmp_path / "data/hpa_stacked/16/.1.1.0.building/shards").iterdir())
    data = bytearray(shards[0].read_bytes())
    data[100] ^= 1
    shards[0].write_bytes(data)
    draw_source(tmp_path / "again", 20)
    mended = config_for(dataclasses.replace(source, root=tmp_path / "again"), tmp_path / "data")
    result = build(mended)
    assert 0 < result.num_shards_resumed < result.num_shards - 2
    assert digests(result.path) == digests(reference.path)


def test_killed_between_two_renames_the_next_run_publishes(source, tmp_path, built, monkeypatch):
    source.labels["ex-0000"] = (5,)
    source.write_table()
    config = config_for(source, tmp_path / "data", overwrite=True)

    def killed(workspace, completed):
        workspace.target.rename(workspace.target.with_name(f".{workspace.target.name}.replaced"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DiskWorkspace, "publish", killed)
        build(config)
    result = build(dataclasses.replace(config, overwrite=False))
    assert result.num_shards_resumed == result.num_shards
    assert not (result.path.parent / ".1.1.0.replaced").exists()


# The place.


def test_two_builds_in_one_place_are_refused(source, tmp_path):
    workspace = open_workspace(layout.dataset_dir(tmp_path / "data", HPA_KAGGLE_2018, 16))
    with (
        workspace.lock(),
        pytest.raises(InputError, match="another build is running there; wait for it to finish, or stop"),
    ):
        build(config_for(source, tmp_path / "data"))


def test_a_place_that_cannot_be_written_is_refused(source, tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(InputError, match="data/hpa_stacked/16: cannot be written .*choose another data directory"):
        build(config_for(source, tmp_path / "data"))


def test_too_little_space_is_said_before_anything_is_written(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(OSError, match=r"GB are needed and 0\.0 GB are free; free some space, or choose another"):
        build(config_for(source, tmp_path / "data"))


def fill_disk(task, **settings):
    """Writes into a file system without space."""
    import unittest.mock

    full = unittest.mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with unittest.mock.patch.object(writer._Shard, "add", full):
        return writer.write_shard(task, **settings)


def test_a_full_disk_is_one_clear_line_and_leaves_no_temporary(source, tmp_path):
    with pytest.raises(
        (RuntimeError, OSError), match=r"the disk is full; free some space and run the same command again"
    ):
        build(config_for(source, tmp_path / "data", write=fill_disk))
    assert nothing_published(tmp_path / "data")
    assert not list(tmp_path.glob("data/**/.tmp-*"))


# Synthetic and real never meet.


def make_synthetic(source):
    for path in list(source.images.iterdir()):
        path.rename(path.with_name(f"synthetic-{path.name}"))
    source.labels = {f"synthetic-{i}": labels for i, labels in source.labels.items()}
    source.write_table()


def test_a_synthetic_dataset_says_so(source, tmp_path):
    make_synthetic(source)
    config = config_for(source, tmp_path / "data")
    result = build(config)
    assert result.metadata["synthetic"]
    assert "SYNTHETIC" in job.summary(config, result)
    assert json.loads((result.path / "dataset_info.json").read_text())["description"].startswith("SYNTHETIC")


def test_synthetic_and_real_are_never_built_in_one_data_dir(source, tmp_path, built):
    make_synthetic(source)
    for size in (16, 8):
        with pytest.raises(
            AlreadyPublished, match="holds real images, and this source is synthetic; build it in a separate data"
        ):
            build(config_for(source, tmp_path / "data", size=size, overwrite=True))


def test_synthetic_is_never_built_where_tfds_looks_by_default(source, tmp_path, monkeypatch):
    make_synthetic(source)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(InputError, match="is where TFDS looks by default, and this source is synthetic"):
        build(config_for(source, tmp_path / "data"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size is 0, expected 1 to 4096 pixels a side"),
        ({"on_error": "ignore"}, "on_error is 'ignore', expected 'fail' or 'quarantine'"),
        ({"max_bad": 5}, r"max_bad is 5, expected a share from 0 to 1"),
    ],
)
def test_settings_are_checked(source, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        config_for(source, tmp_path / "data", **settings)


def test_a_build_of_bad_examples_alone_is_refused(source, tmp_path):
    for path in source.images.iterdir():
        path.write_bytes(b"")
    with pytest.raises(BadExamples, match="every example is bad; nothing is left to publish"):
        build(config_for(source, tmp_path / "data", on_error="quarantine", max_bad=1))
    assert nothing_published(tmp_path / "data")
