"""The one rule for where data is."""

from pathlib import Path

import pytest

from pipeline import data_dirs


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPA_STACKED_LAST", "build/last")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


def test_what_was_built_last_is_read(tmp_path):
    assert data_dirs.to_read() == tmp_path / "tfds"
    for name in ("build/synthetic", "data", "tfds"):
        Path(name).mkdir(parents=True)
        assert data_dirs.remember(Path(name))
        assert data_dirs.to_read() == tmp_path / name


def test_nothing_is_written_where_the_default_is_right(tmp_path):
    assert data_dirs.remember(tmp_path / "tfds")
    assert not Path("build").exists()


def test_a_directory_that_is_gone_or_a_damaged_record_counts_for_nothing(tmp_path):
    Path("build").mkdir()
    for text in ("/nowhere\n", "", "a\0b"):
        Path("build/last").write_text(text)
        assert data_dirs.to_read() == tmp_path / "tfds"


def test_what_cannot_be_remembered_says_so(tmp_path, monkeypatch):
    Path("build").write_text("a file where the folder should be")
    Path("data").mkdir()
    assert not data_dirs.remember(Path("data"))
    monkeypatch.setenv("HPA_STACKED_LAST", "")
    assert not data_dirs.remember(Path("data"))


def test_a_drawn_source_is_built_apart(source, tmp_path):
    assert data_dirs.to_build(source.table) == tmp_path / "tfds"
    source.table.with_name("SYNTHETIC.txt").write_text("drawn")
    assert data_dirs.to_build(source.table) == Path("build/synthetic")
