"""What commands say where the packages for training are not installed."""

import importlib.metadata
import json
import sys
import types

import pytest

from model import backend
from pipeline import data_dirs
from pipeline.console import called, extras, next_commands
from pipeline.errors import InputError
from pipeline.job import build
from tests.support.sources import config_for, draw_source

PIP = "pip install 'hpa-stacked[train]'"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with the source code, whose `.venv` has this interpreter, and which is the current one."""
    for name in ("setup.cfg", "Makefile"):
        (tmp_path / name).touch()
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def source(tmp_path):
    return draw_source(tmp_path / "source", 20)


@pytest.fixture
def without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    find = extras.importlib.util.find_spec
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name))


@pytest.fixture
def after_building(source, tmp_path, monkeypatch, capsys):
    """Returns the function that builds a dataset and returns the lines after it."""
    monkeypatch.setenv(data_dirs.LAST, str(tmp_path / "last"))
    config = config_for(source, tmp_path / "data")
    result = build(config)

    def lines() -> list[str]:
        next_commands.after_build(config, result)
        return capsys.readouterr().err.splitlines()

    return lines


def test_the_way_to_install_suits_the_environment(checkout, monkeypatch):
    assert extras.install("train") == "'make train', or .venv/bin/pip install -e '.[train]'"
    assert extras.install("jax") == ".venv/bin/pip install -e '.[jax]'"
    monkeypatch.setattr(sys, "prefix", "/usr")
    assert extras.install("train") == "pip install -e '.[train]'"
    monkeypatch.chdir("/")
    assert extras.install("train") == f"pip install -e '{checkout}[train]'"
    (checkout / "setup.cfg").unlink()
    monkeypatch.setattr(extras, "_installed_from", lambda: None)
    assert extras.install("train") == PIP


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({"url": "file://FOLDER/a%20b", "dir_info": {}}, "pip install 'FOLDER/a b[train]'"),
        ({"url": "file://FOLDER/gone", "dir_info": {}}, PIP),
        ({"url": "file://FOLDER/a%20b", "archive_info": {}}, PIP),
        (None, PIP),
    ],
)
def test_a_package_that_was_installed_from_a_folder_is_installed_from_there_again(
    tmp_path, monkeypatch, origin, expected
):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b/setup.cfg").touch()
    text = json.dumps(origin).replace("FOLDER", str(tmp_path)) if origin else None
    distribution = types.SimpleNamespace(read_text={"direct_url.json": text}.get)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: distribution)
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    assert extras.install("train") == expected.replace("FOLDER", str(tmp_path))


def test_the_next_command_installs_tensorflow_where_make_does(after_building, checkout, without_tensorflow):
    assert after_building() == ["next: make train SIZE=16"]


def test_where_training_is_not_installed_the_dataset_is_verified_and_read(
    after_building, tmp_path, monkeypatch, without_tensorflow, capsys
):
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    dataset = tmp_path / "data/hpa_stacked/16/1.1.0"
    assert after_building() == [f"next: python -m pipeline verify {dataset}"]
    next_commands.after_verify(dataset)
    assert capsys.readouterr().err == (
        f"read it with tfds.load('hpa_stacked/16', data_dir='{tmp_path / 'data'}'); it needs TensorFlow, and "
        "docs/reading.md shows how to read without it\n"
    )


def test_with_tensorflow_the_next_command_is_a_short_training(after_building, checkout, capsys):
    assert after_building() == ["next: python -m model.train --size 16 --smoke"]
    called.echo_next("pipeline verify", "DIR")
    assert capsys.readouterr().err == "next: python -m pipeline verify DIR\n"


@pytest.mark.parametrize(
    ("name", "module", "error", "expected"),
    [
        (None, "tensorflow", None, f"TensorFlow is not installed, which training needs: {PIP}"),
        ("tensorflow", "keras", None, f"Keras is not installed, which training needs: {PIP}"),
        (None, "", ImportError("libcuda"), rf"TensorFlow cannot be imported \(libcuda\): {PIP} may help"),
        (
            "jax",
            "jax",
            None,
            r"KERAS_BACKEND is 'jax', which cannot be imported \(.*\): pip install 'hpa-stacked[jax]'",
        ),
    ],
)
def test_training_names_what_is_not_installed(tmp_path, monkeypatch, name, module, error, expected):
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    monkeypatch.setattr(extras, "_installed_from", lambda: None)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if name:
        monkeypatch.setenv("KERAS_BACKEND", name)
    if module:
        monkeypatch.setitem(sys.modules, module, None)

    def fail(name):
        raise error

    if error:
        monkeypatch.setattr(backend.importlib, "import_module", fail)
    with pytest.raises(InputError, match=f"^{expected.replace('[', '.')}$".replace("]", ".")):
        backend.start()
