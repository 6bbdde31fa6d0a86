"""Links, read-only disks and full disks where a dataset is built."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from pipeline.errors import InputError
from pipeline.job import build
from pipeline.schema import HPA_KAGGLE_2018
from pipeline.store import files, layout, locks
from pipeline.store.workspace import open_workspace
from tests.support.sources import config_for, digests


@pytest.fixture
def config(source, tmp_path):
    return config_for(source, tmp_path / "data")


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(layout.dataset_dir(tmp_path / "data", HPA_KAGGLE_2018, 16))


def test_a_lock_that_is_a_link_is_refused_and_its_target_left_alone(config, workspace, tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("content")
    workspace.target.parent.mkdir(parents=True)
    for target in (precious, tmp_path / "new.txt"):
        workspace._lock.unlink(missing_ok=True)
        workspace._lock.symlink_to(target)
        with pytest.raises(InputError, match=r"\.lock: is a link, expected a file or nothing there; remove the link"):
            build(config)
    assert precious.read_text() == "content"
    assert not (tmp_path / "new.txt").exists()


@pytest.mark.parametrize("name", ["target", "directory", "shards", "reports", "tasks"])
def test_nothing_is_removed_or_replaced_through_a_link(source, workspace, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    for folder in ("shards", "reports", "tasks"):
        (elsewhere / folder).mkdir(parents=True)
        (elsewhere / folder / "precious.json").write_text("")
    (elsewhere / "precious.txt").write_text("")
    link = getattr(workspace, name)
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(InputError, match=r"is a link, expected a folder or nothing there; remove the link"):
        build(config_for(source, tmp_path / "data", overwrite=True))
    assert link.is_symlink()
    assert len([path for path in elsewhere.rglob("*") if path.is_file()]) == 4


def test_a_data_directory_that_is_a_link_is_used(source, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    build(config_for(source, tmp_path / "data"))
    assert (tmp_path / "disk/hpa_stacked/16/1.1.0/dataset_info.json").exists()


def read_only(monkeypatch, tmp_path):
    """Every call that would write below `tmp_path` fails as on a disk that is mounted read-only."""
    refused = OSError(errno.EROFS, os.strerror(errno.EROFS))
    original = os.open

    def open_(path, flags, *args, **settings):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(tmp_path)):
            raise refused
        return original(path, flags, *args, **settings)

    def fail(*args, **settings):
        raise refused

    monkeypatch.setattr(os, "open", open_)
    for name in ("unlink", "rename", "replace"):
        monkeypatch.setattr(os, name, fail)


def test_a_read_only_disk_with_the_dataset_in_place_has_nothing_to_do(config, tmp_path, monkeypatch):
    first = build(config)
    before = digests(first.path)
    with monkeypatch.context() as patch:
        read_only(patch, tmp_path / "data")
        again = build(config)
    assert again.up_to_date
    assert digests(first.path) == before


def test_a_read_only_disk_with_another_dataset_is_refused(source, config, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    read_only(monkeypatch, tmp_path / "data")
    with pytest.raises(locks.NotWritableError, match=r"cannot be written \(Read-only file system\); choose another"):
        build(config)


MOUNTED = "mount --bind {data} {data} && mount -o remount,ro,bind {data} && exec {command}"


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="no mount namespaces here",
)
def test_a_real_read_only_mount_has_nothing_to_do(source, tmp_path):
    arguments = ["shards", "--source", source.root, "--data-dir", tmp_path / "data", "--size", 16]
    command = " ".join(map(str, [sys.executable, "-m", "pipeline", *arguments]))
    subprocess.run(command, shell=True, check=True, capture_output=True)
    script = MOUNTED.format(data=tmp_path / "data", command=command)
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nothing to do:")
    other = script + " --seed 1"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", other], capture_output=True, text=True)
    assert done.returncode == 1
    assert "holds a dataset of other parameters (seed 0 published, 1 wanted); use" in done.stderr


def test_the_note_of_the_default_size_is_restored(config, tmp_path):
    build(config)
    note = tmp_path / "data/hpa_stacked/.config/metadata.json"
    content = note.read_bytes()
    for damage in (note.unlink, lambda: note.write_text("{")):
        damage()
        assert build(config).up_to_date
        assert note.read_bytes() == content


def test_folders_with_odd_digits_for_names_do_not_matter(config, tmp_path):
    (tmp_path / "data/hpa_stacked/²").mkdir(parents=True)
    assert not build(config).up_to_date


def test_a_full_disk_while_publishing_is_named_with_its_place(config, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pipeline.dataset.metadata.write_dataset_info", fail)
    with pytest.raises(OSError, match=r"data/hpa_stacked/16/1\.1\.0: the disk is full; free some space and run"):
        build(config)


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EFBIG])
def test_other_errors_while_writing_name_the_file(tmp_path, number):
    message = rf"out\.csv: cannot be written \({os.strerror(number)}\)"
    with pytest.raises(OSError, match=message), files.replacing(tmp_path / "out.csv"):
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


def test_errors_that_name_another_file_keep_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), files.replacing(tmp_path / "out.csv"):
        (tmp_path / "nowhere").read_bytes()


def test_a_damaged_dataset_info_is_one_line(config):
    first = build(config)
    (first.path / "dataset_info.json").write_text('{"splits": 1e999}')
    with pytest.raises(
        InputError, match=r"dataset_info\.json: cannot be read \(TypeError\), so this is not a complete dataset"
    ):
        build(config)
