"""The fingerprint job on small sources, the groups of its table, and builds that use them."""

import csv
import dataclasses
import hashlib
import json
import shutil

import imageio.v3 as iio
import numpy as np
import pytest

from pipeline import job
from pipeline.dataset.publish import AlreadyPublished
from pipeline.duplicates import build, fingerprints, hashes, pairs, parts, sheet
from pipeline.errors import InputError, JobError
from pipeline.images import sources
from pipeline.job import BuildConfig
from pipeline.plan import manifest
from pipeline.schema import HPA_KAGGLE_2018
from tests.pipeline.duplicates.test_hashes import blobs
from tests.support.hpa import FILTERS
from tests.support.sources import Source, config_for, draw_source


@pytest.fixture
def many(tmp_path, monkeypatch) -> Source:
    """Twenty examples, fingerprinted in parts of six."""
    monkeypatch.setattr(build, "PART_EXAMPLES", 6)
    return draw_source(tmp_path / "many", 20)


def make(source, out, **settings):
    return build.fingerprint(source.table, source.images, out, HPA_KAGGLE_2018, **settings)


def copy(source, original, new_id, labels=None, change=lambda image: image):
    """Adds a copy of an example under another id."""
    for name in FILTERS:
        pixels = change(iio.imread(source.image(original, name), plugin="pillow"))
        iio.imwrite(source.image(new_id, name), pixels, plugin="pillow", compress_level=1)
    source.labels[new_id] = labels or source.labels[original]
    source.write_table()


def test_the_table_has_a_row_for_each_example(many, tmp_path):
    result = make(many, tmp_path / "prints.csv")
    assert result.report().splitlines()[0] == f"{tmp_path}/prints.csv: fingerprints of 20 examples, made in 4 parts"
    with open(tmp_path / "prints.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == sorted(many.labels)
    row, data = rows[3], many.image("ex-0003", "green").read_bytes()
    pixels = iio.imread(many.image("ex-0003", "green"), plugin="pillow")
    assert (row["width"], row["height"], row["bits_green"]) == ("32", "32", "8")
    assert row["bytes_green"] == str(len(data))
    assert row["file_sha256_green"] == hashlib.sha256(data).hexdigest()
    assert row["pixels_sha256_green"] == hashlib.sha256(b"uint8 (32, 32)" + pixels.tobytes()).hexdigest()
    assert float(row["mean_green"]) == pytest.approx(pixels.mean() / 255, abs=1e-6)
    assert float(row["empty_green"]) == pytest.approx((pixels < 8).mean(), abs=1e-6)


def test_the_bytes_do_not_depend_on_threads_or_row_order(many, tmp_path):
    make(many, tmp_path / "one.csv", threads=1)
    many.write_table(sorted(many.labels.items(), reverse=True))
    make(many, tmp_path / "four.csv", threads=4)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "four.csv").read_bytes()


def test_nothing_but_the_table_and_the_lock_is_left(many, tmp_path):
    make(many, tmp_path / "out/prints.csv")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".prints.csv.parts.lock", "prints.csv"]


def test_a_killed_job_continues_with_the_missing_parts(many, tmp_path, monkeypatch):
    expected = make(many, tmp_path / "whole.csv").path.read_bytes()
    written, write_part = [], parts.write_part

    def fail_at_third(task, **settings):
        if len(written) == 2:
            raise OSError(28, "no space")
        written.append(task.plan.index)
        return write_part(task, **settings)

    monkeypatch.setattr(parts, "write_part", fail_at_third)
    with pytest.raises(Exception, match="no space"):
        make(many, tmp_path / "prints.csv")
    assert not (tmp_path / "prints.csv").exists()
    monkeypatch.setattr(parts, "write_part", write_part)
    result = make(many, tmp_path / "prints.csv")
    assert (result.num_parts, result.num_resumed) == (4, 2)
    assert "made in 4 parts, 2 of them from an earlier run" in result.report()
    assert (tmp_path / "prints.csv").read_bytes() == expected


def test_parts_of_other_files_are_made_again(many, tmp_path):
    config, source, workspace = setting(many, tmp_path)
    build.make_table(config, source, workspace, tmp_path / "prints.csv", lambda done, total: None)
    copy(many, "ex-0001", "ex-0000", change=lambda image: image // 64)
    _, source, _ = setting(many, tmp_path)
    result = build.make_table(config, source, workspace, tmp_path / "prints.csv", lambda done, total: None)
    assert result.num_resumed == 3
    assert fingerprints.read(tmp_path / "prints.csv").file_bytes[0, 0] == many.image("ex-0000", "red").stat().st_size


def setting(source, tmp_path):
    config = BuildConfig(labels=source.table, images=source.images, data_dir=tmp_path, size=1)
    listed = manifest.read(source.table, sources.open_images(source.images, HPA_KAGGLE_2018), HPA_KAGGLE_2018)
    return config, listed, build.open_workspace(tmp_path / "parts")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda workspace: (workspace.shards / NAME).write_text("x"), "is not the file that its writer reported"),
        (lambda workspace: (workspace.shards / NAME).unlink(), "was reported, but the file does not exist"),
        (lambda workspace: (workspace.reports / f"{NAME}.json").unlink(), "was never written"),
        (lambda workspace: lose_a_row(workspace), "does not hold the planned examples"),
    ],
)
def test_a_part_that_is_not_what_was_planned_is_no_table(many, tmp_path, damage, message):
    config, source, workspace = setting(many, tmp_path)
    every = build.plan(source)
    build.make_table(config, source, workspace, tmp_path / "prints.csv", lambda done, total: None)
    damage(workspace)
    with pytest.raises(JobError, match=rf"{NAME} {message} \(1 of 4 parts are not right\); run the same command again"):
        build._join(workspace, every, HPA_KAGGLE_2018, tmp_path / "again.csv")
    assert not (tmp_path / "again.csv").exists()
    assert build.make_table(config, source, workspace, tmp_path / "a.csv", lambda done, total: None).num_resumed == 3


NAME = "part-00001-of-00004.csv"


def lose_a_row(workspace):
    path = workspace.reports / f"{NAME}.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps({**report, "ids": report["ids"][1:]}))


def test_examples_that_cannot_be_read_have_a_row_that_says_why(many, tmp_path):
    many.image("ex-0002", "red").write_bytes(b"no image")
    iio.imwrite(many.image("ex-0004", "blue"), np.zeros((16, 16), np.uint8), plugin="pillow")
    result = make(many, tmp_path / "prints.csv")
    assert "2 examples cannot be read; the column 'problem' says why" in result.report()
    table = fingerprints.read(tmp_path / "prints.csv")
    assert table.bad == {"ex-0002": "red: unreadable", "ex-0004": "blue: wrong_size"}
    assert len(table.ids) == 18


def test_copies_are_found_and_unlike_examples_are_not(many, tmp_path):
    shutil.copy(many.image("ex-0000", "red"), tmp_path / "kept.png")
    copy(many, "ex-0001", "zz-again")
    for name in FILTERS:
        shutil.copy(many.image("ex-0002", name), many.image("zz-same", name))
    many.labels["zz-same"] = (0,)
    copy(many, "ex-0003", "zz-brighter", change=lambda image: (image // 2 + 90).astype(np.uint8))
    make(many, tmp_path / "prints.csv")
    found = {(pair.first, pair.second): pair.kind for pair in pairs.find(fingerprints.read(tmp_path / "prints.csv"))}
    assert found == {
        ("ex-0001", "zz-again"): "pixels",
        ("ex-0002", "zz-same"): "file",
        ("ex-0003", "zz-brighter"): "near",
    }


def test_turned_copies_are_found_on_request(tmp_path):
    source = soft_source(tmp_path / "soft", 8)
    for turn in (1, 6):
        copy(source, f"ex-000{turn}", f"zz-{turn}", change=lambda image, turn=turn: hashes.turned_image(image, turn))
    make(source, tmp_path / "prints.csv")
    table = fingerprints.read(tmp_path / "prints.csv")
    assert pairs.find(table) == []
    found = pairs.find(table, rotations=True)
    assert [(pair.first, pair.second, pair.kind, pair.turn, pair.measure) for pair in found] == [
        ("ex-0001", "zz-1", "near", 1, 0.0),
        ("ex-0006", "zz-6", "near", 6, 0.0),
    ]


def soft_source(root, num):
    source = draw_source(root, num)
    for k, example_id in enumerate(source.labels):
        for c, name in enumerate(FILTERS):
            iio.imwrite(source.image(example_id, name), blobs(10 * k + c, 128), plugin="pillow")
    return source


def test_fingerprints_of_the_real_examples_name_no_two_as_alike(real_sample, tmp_path):
    build.fingerprint(real_sample / "train.csv", real_sample / "train", tmp_path / "prints.csv", HPA_KAGGLE_2018)
    table = fingerprints.read(tmp_path / "prints.csv")
    assert len(table.ids) == 60
    assert pairs.find(table, rotations=True) == []


def damaged(tmp_path, change):
    header = fingerprints.header(("a",))
    row = ["x", "8", "8", "", "", "9", "00" * 32, "00" * 32, "00" * 32, "8", "0", "0"]
    rows = change([header, row, ["y", *row[1:]]])
    (tmp_path / "prints.csv").write_bytes(fingerprints.to_csv(rows))
    return tmp_path / "prints.csv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], "the header is not what 'pipeline fingerprint' writes; run it again"),
        (lambda rows: [*rows[:2], rows[2][:-1]], "row 3 is damaged: 11 columns, expected 12; write the table again"),
        (lambda rows: [rows[0], rows[2], rows[1]], "row 3 is damaged: id 'x' comes after 'y', expected ids in order"),
        (lambda rows: [rows[0], [*rows[1][:6], "zz", *rows[1][7:]]], "a value is not hexadecimal, or not a number"),
        (lambda rows: [rows[0], [*rows[1][:6], "00", *rows[1][7:]]], "a value is not hexadecimal, or not a number"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        fingerprints.read(damaged(tmp_path, change))


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match="none.csv: no such file, expected a table written by 'pipeline fingerprint'"):
        fingerprints.read(tmp_path / "none.csv")


# Builds.


def split_of(path):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(path))
    return {
        example["id"].decode(): split
        for split in builder.info.splits
        for example in tfds.as_numpy(builder.as_dataset(split=split))
    }


def with_copies(source):
    for k in range(6):
        copy(source, f"ex-000{k}", f"zz-{k}")
    return source


def test_a_build_that_finds_groups_keeps_duplicates_in_one_split(many, tmp_path):
    config = config_for(with_copies(many), tmp_path / "data", find_groups=True)
    result = job.build(config)
    of = split_of(result.path)
    assert len(of) == 26
    assert all(of[f"ex-000{k}"] == of[f"zz-{k}"] for k in range(6))
    assert (result.path / "groups.csv").read_text().splitlines()[:3] == [
        "Id,Group",
        "ex-0000,ex-0000",
        "ex-0001,ex-0001",
    ]
    assert job.build(config).up_to_date
    with pytest.raises(AlreadyPublished, match="holds a dataset of another table of groups; use"):
        job.build(dataclasses.replace(config, find_groups=False))


def test_a_killed_build_does_not_make_its_fingerprints_again(many, tmp_path, monkeypatch):
    config = config_for(with_copies(many), tmp_path / "data", find_groups=True)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "plan_tasks", killed)
        with pytest.raises(KeyboardInterrupt):
            job.build(config)
    with monkeypatch.context() as patch:
        patch.setattr(parts, "write_part", killed)
        result = job.build(config)
    assert not list(result.path.parent.glob(".*.building"))


def test_a_table_of_fingerprints_is_used_instead_of_making_one(many, tmp_path, monkeypatch):
    make(with_copies(many), tmp_path / "prints.csv")
    monkeypatch.setattr(build, "make_table", None)
    config = config_for(many, tmp_path / "data", find_groups=True, fingerprints=tmp_path / "prints.csv")
    of = split_of(job.build(config).path)
    assert all(of[f"ex-000{k}"] == of[f"zz-{k}"] for k in range(6))


def test_with_fingerprints_content_decides_whether_a_dataset_is_the_same(many, tmp_path):
    make(many, tmp_path / "prints.csv")
    config = config_for(many, tmp_path / "data", fingerprints=tmp_path / "prints.csv")
    job.build(config)
    assert job.build(config).up_to_date
    path = many.image("ex-0005", "green")
    size, pixels = path.stat().st_size, iio.imread(path, plugin="pillow")
    iio.imwrite(path, pixels.T, plugin="pillow")
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    assert path.stat().st_size == size
    make(many, tmp_path / "prints.csv")
    with pytest.raises(AlreadyPublished, match="holds a dataset of other input: "):
        job.build(config)


def test_fingerprints_of_other_files_are_refused(many, tmp_path):
    make(many, tmp_path / "prints.csv")
    config = config_for(many, tmp_path / "data", fingerprints=tmp_path / "prints.csv")
    many.image("ex-0005", "green").write_bytes(b"longer" * 1000)
    message = "prints.csv: id 'ex-0005' has files of other sizes than when its fingerprint was made; run 'pipeline fingerprint' again"
    with pytest.raises(InputError, match=message):
        job.build(config)
    copy(many, "ex-0001", "new")
    message = r"(?s)prints.csv: 2 examples without a valid fingerprint.*id 'new' has no fingerprint; run 'pipeline fingerprint' again"
    with pytest.raises(InputError, match=message):
        job.build(config)


def test_fingerprints_of_other_channels_are_refused(many, tmp_path):
    table = damaged(tmp_path, lambda rows: rows)
    with pytest.raises(InputError, match="fingerprints of the channels a, expected red, green, blue, yellow"):
        job.build(config_for(many, tmp_path / "data", fingerprints=table))


def test_ids_of_a_group_table_that_no_label_has_are_counted_on_request(many, tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("Id,Group\nex-0001,g\nelsewhere,g\n")
    config = config_for(many, tmp_path / "data", groups=path)
    message = r"row 3: id 'elsewhere' is not in the label table \(--groups-extra ignore skips it\)"
    with pytest.raises(InputError, match=message):
        job.build(config)
    config = dataclasses.replace(config, groups_extra="ignore")
    result = job.build(config)
    assert result.metadata["num_groups_extra"] == 1
    assert f"1 ids of {path} are not in the label table and were ignored" in job.summary(config, result)


def test_what_to_do_with_extra_ids_is_one_of_two_words(many, tmp_path):
    with pytest.raises(InputError, match="groups_extra is 'keep', expected 'error' or 'ignore'"):
        config_for(many, tmp_path, groups_extra="keep")


def test_the_sheet_has_a_row_for_each_group(many):
    images = sources.open_images(many.images, HPA_KAGGLE_2018)
    _, listed, _ = setting(many, many.root)
    examples = {example.id: example for example in listed.examples}
    many.image("ex-0004", "red").unlink()
    members = {"ex-0000": [f"ex-000{k}" for k in range(9)], "ex-0010": ["ex-0010", "ex-0011"]}
    picture = sheet.draw(members, examples, images, HPA_KAGGLE_2018)
    assert picture.shape == (2 * sheet.TILE, sheet.MAX_MEMBERS * sheet.TILE, 3)
    tiles = picture[sheet.TILE :].reshape(sheet.TILE, sheet.MAX_MEMBERS, sheet.TILE, 3)
    assert [bool(tiles[:, k].any()) for k in range(sheet.MAX_MEMBERS)] == [True] * 2 + [False] * 6
    assert sheet.draw({}, examples, images, HPA_KAGGLE_2018).shape == (sheet.TILE, sheet.TILE, 3)
