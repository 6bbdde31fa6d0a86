"""The package as pip installs it: what is in it, and that it works where nothing else is."""

import configparser
import email
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.support.installed import ROOT

BUILT_FROM = ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE")
PACKAGES = ("pipeline", "hpa_cli", "hpa_tfds", "model")

HEAVY = ("tensorflow", "keras", "matplotlib", "jax", "torch", "mlcroissant")
"""Packages that only extras bring."""


def build(kind: str, folder: Path) -> Path:
    """Builds the wheel or sdist of a copy of the repository, without the network, and returns its path."""
    copy, out = folder / "copy", folder / kind
    copy.mkdir(parents=True)
    out.mkdir()
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)
    [path] = out.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("package"))


def read(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as file:
        [member] = [member for member in file.namelist() if member.endswith(f".dist-info/{name}")]
        return file.read(member).decode()


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as file:
        found = {name for name in file.namelist() if ".dist-info/" not in name}
    paths = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts}
    assert found == expected - {"model/README.md"}  # which is about the repository


def test_metadata_are_complete_and_have_no_placeholders(wheel):
    metadata = email.message_from_string(read(wheel, "METADATA"))
    assert (metadata["Name"], metadata["Author"]) == ("hpa-stacked", "The hpa_stacked authors")
    assert "Apache-2.0" in (metadata["License"] or metadata["License-Expression"])
    assert metadata["Requires-Python"] == "<3.14,>=3.11"
    assert "microscopy" in metadata["Keywords"]
    assert "Intended Audience :: Science/Research" in metadata.get_all("Classifier")
    assert {"train", "gpu", "jax", "torch", "tfds", "gcp", "aws"} <= set(metadata.get_all("Provides-Extra"))
    # The project has no public address yet, and none is made up.
    assert [name for name in ("Home-page", "Author-email", "Project-URL") if metadata[name]] == []


def test_building_needs_none_of_what_training_brings(wheel):
    metadata = email.message_from_string(read(wheel, "METADATA"))
    required = metadata.get_all("Requires-Dist")
    always = [line for line in required if "extra ==" not in line]
    assert always
    assert [line for line in always if line.startswith(HEAVY) and not line.startswith("tensorflow-datasets")] == []
    for extra in ("gpu", "jax", "torch"):
        named = [line for line in required if f'"{extra}"' in line]
        assert any(line.startswith("hpa-stacked[train]") for line in named)


def test_the_command_of_the_wheel_runs(wheel, tmp_path):
    points = configparser.ConfigParser()
    points.read_string(read(wheel, "entry_points.txt"))
    value = points["console_scripts"]["hpa-stacked"]
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    point = EntryPoint("hpa-stacked", value, "console_scripts")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); "
        f"sys.argv[1:] = ['schema', 'show']; from {point.module} import {point.attr}; {point.attr}()"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'name = "hpa_kaggle_2018"' in done.stdout


def environment(folder: Path, what: str) -> Path:
    """Makes an environment with nothing but `what` and its requirements; returns its folder of commands."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", what], check=True)
    site = next(folder.glob("lib/python3*/site-packages"))
    used = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"\n{what}: {used / 1e6:,.0f} MB")
    return folder / "bin"


def run(command: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HPA_STACKED_LAST")}
    line = [str(command), *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, env=variables, capture_output=True, text=True)


@pytest.mark.package
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_empty_environment_builds_and_reads_without_tensorflow(kind, tmp_path):
    commands = environment(tmp_path / "env", str(build(kind, tmp_path)))
    command, folder = commands / "hpa-stacked", tmp_path / "folder"
    folder.mkdir()
    for arguments in (
        ("sample", "drawn", "--num", 20),
        ("audit", "--source", "drawn", "--deep"),
        ("split", "--labels", "drawn/train.csv", "--out", "split.csv"),
        ("shards", "--source", "drawn", "--size", 32, "--file-format", "array_record"),
        ("verify", "build/synthetic/hpa_stacked/32/1.1.0", "--source", "drawn"),
    ):
        done = run(command, *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "make " not in done.stdout + done.stderr
    read = (
        "import sys, tensorflow_datasets as tfds; "
        "print(tfds.data_source('hpa_stacked/32', data_dir='build/synthetic', split='train')[0]['image'].shape, "
        "'tensorflow' in sys.modules)"
    )
    done = run(commands / "python", "-c", read, cwd=folder)
    assert done.stdout == "(32, 32, 4) False\n", done.stderr
    done = run(command, "train", "--smoke", cwd=folder)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "Error: TensorFlow is not installed, which training needs: pip install 'hpa-stacked[train]'",
    )


@pytest.mark.package
@pytest.mark.timeout(3600)
def test_with_the_extra_a_drawn_dataset_is_trained_on(tmp_path):
    wheel = build("wheel", tmp_path)
    command = environment(tmp_path / "env", f"{wheel}[train]") / "hpa-stacked"
    for arguments in (
        ("sample", "drawn", "--num", 120),
        ("shards", "--source", "drawn", "--size", 32),
        ("train", "--smoke", "--size", 32, "--out", "run"),
        ("report", "run"),
        ("predict", "run", "--images", "drawn/train"),
    ):
        done = run(command, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
