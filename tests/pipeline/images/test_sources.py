import os
import re
import zipfile
from pathlib import Path

import pytest

from pipeline.images import sources
from pipeline.threads import num_cores


def test_find_names_every_path_that_is_missing(tmp_path):
    expected = f"missing {tmp_path}/train.csv and {tmp_path}/train/ or {tmp_path}/train.zip; expected train.csv next to"
    with pytest.raises(FileNotFoundError, match=re.escape(expected)):
        sources.find(tmp_path)


def test_a_source_that_does_not_exist_is_said_not_to(tmp_path):
    with pytest.raises(FileNotFoundError, match="kaggle: no such folder or zip file$"):
        sources.find(tmp_path / "kaggle")


@pytest.mark.parametrize("name", ["human-protein-atlas-image-classification.zip", "train.csv.zip"])
def test_a_zip_that_holds_what_is_missing_is_named_with_the_command_that_unpacks_it(tmp_path, name):
    folder = tmp_path / "my kaggle"
    folder.mkdir()
    (folder / "a.zip").write_bytes(b"an interrupted download")
    with zipfile.ZipFile(folder / name, "w") as file:
        file.writestr("train.csv", "Id,Target\n")
    expected = f": unzip {name} in it (unzip '{folder}/{name}' -d '{folder}') and run the same command again"
    with pytest.raises(FileNotFoundError, match=re.escape(expected)):
        sources.find(folder)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as file:
        file.writestr("train.zip", b"")
    expected = f"unzip it (unzip {tmp_path}/outer.zip -d {tmp_path}/kaggle) and name that folder"
    with pytest.raises(ValueError, match=re.escape(expected)):
        sources.find(tmp_path / "outer.zip")


def test_find_takes_the_unopened_zip(source):
    archive = source.root / "train.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in source.images.iterdir():
            file.write(path, f"train/{path.name}")
            path.unlink()
    source.images.rmdir()
    labels, images = sources.find(source.root)
    assert (labels, images) == (source.table, archive)
    opened = sources.open_images(images)
    assert len(list(opened.entries())) == 80
    assert opened.read("ex-0000_red.png").startswith(b"\x89PNG")
    with pytest.raises(FileNotFoundError, match="no member 'train/none_red.png'"):
        opened.read("none_red.png")


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path):
    (tmp_path / "train.zip").write_text("hello")
    with pytest.raises(
        ValueError, match=r"train\.zip: expected a folder or a zip of images, but File is not a zip file"
    ):
        sources.open_images(tmp_path / "train.zip")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder or zip"):
        sources.open_images(tmp_path / "nowhere")


@pytest.mark.parametrize("there", [True, False], ids=["linux", "macos"])
def test_cores_are_counted_on_every_system(monkeypatch, there):
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 7}, raising=False)
    if not there:
        monkeypatch.delattr(os, "sched_getaffinity")
    expected = 3 if there else 12
    assert num_cores() == sources.open_images(Path.cwd()).threads == expected
