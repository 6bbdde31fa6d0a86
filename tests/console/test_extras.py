"""What commands say where the packages for training are not installed."""

import sys

import pytest

from model import backend
from pipeline.console import called, extras, next_commands
from pipeline.errors import InputError
from pipeline.schema import HPA_KAGGLE_2018

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
def without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    find = extras.importlib.util.find_spec
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name))


def after_building(capsys) -> list[str]:
    next_commands.train(HPA_KAGGLE_2018, 128, None, synthetic=False)
    return capsys.readouterr().err.splitlines()


def test_the_way_to_install_suits_the_environment(checkout, monkeypatch):
    assert extras.install("train") == "'make train', or .venv/bin/pip install -e '.[train]'"
    assert extras.install("jax") == ".venv/bin/pip install -e '.[jax]'"
    monkeypatch.setattr(sys, "prefix", "/usr")
    assert extras.install("train") == "pip install -e '.[train]'"
    monkeypatch.chdir("/")
    assert extras.install("train") == f"pip install -e '{checkout}[train]'"
    (checkout / "setup.cfg").unlink()
    assert extras.install("train") == PIP


def test_the_next_command_installs_tensorflow_where_make_does(checkout, without_tensorflow, capsys):
    assert after_building(capsys) == ["next: make train SIZE=128"]


def test_elsewhere_a_line_before_the_next_command_says_what_it_needs(tmp_path, monkeypatch, without_tensorflow, capsys):
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    assert after_building(capsys) == [
        f"TensorFlow is not installed, which training needs: {PIP}",
        "next: python -m model.train --size 128",
    ]


def test_with_tensorflow_the_next_command_is_alone(checkout, capsys):
    assert after_building(capsys) == ["next: python -m model.train --size 128"]
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
