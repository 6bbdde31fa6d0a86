"""What the targets for users call, and with which words, and what the image for users holds."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.installed import ROOT

ECHO = """#!/bin/sh
printf '[%s]' "$@"
echo " $HPA_STACKED_MAKE"
"""

RUN = "runs/it's new"


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile, an environment whose command prints its arguments, and a run."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    command = tmp_path / ".venv/bin/hpa-stacked"
    command.parent.mkdir(parents=True)
    command.write_text(ECHO)
    command.chmod(0o755)
    for stamp in ("base", "train"):
        (tmp_path / f".venv/.installed-{stamp}").touch()
    (tmp_path / RUN).mkdir(parents=True)
    (tmp_path / RUN / "config.json").touch()
    return tmp_path


def make(checkout: Path, *words: str) -> list[str]:
    done = subprocess.run(["make", "--silent", *words], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_paths_reach_the_command_as_they_were_typed(checkout):
    assert make(checkout, "shards", "SOURCE=/a b/it's", "DATA_DIR=~/my data") == [
        "[shards][--source][/a b/it's][--size][256][--data-dir][~/my data] 1"
    ]
    assert make(checkout, "evaluate") == ["[evaluate][runs/it's new] 1"]
    assert make(checkout, "report", "RUN=runs/a 'runs/b c'") == ["[report][runs/a][runs/b c] 1"]


def test_train_takes_what_was_built_last_or_what_is_named(checkout):
    assert make(checkout, "shards") == [
        "[sample][build/sample-400-0][--num][400][--seed][0] 1",
        "[shards][--source][build/sample-400-0][--size][256] 1",
    ]
    assert make(checkout, "train") == ["[train][--preset][stacked-256][--smoke] 1"]
    assert make(checkout, "train", "SIZE=128", "DATA_DIR=x") == [
        "[train][--preset][stacked-256][--size][128][--smoke][--data-dir][x] 1"
    ]


def test_building_installs_neither_tensorflow_nor_what_tests_need(checkout):
    for stamp in checkout.glob(".venv/.installed-*"):
        stamp.unlink()
    for target, installed in (("shards", "'.'"), ("train", "'.[train]'"), ("test", "'.[dev]'")):
        assert any(line.endswith(f"--editable {installed}") for line in make(checkout, "--dry-run", target))


def test_what_is_installed_is_said_before(checkout):
    said = {
        "train": "what training needs into .venv (2.9 GB, some minutes)",
        "shards": "what building needs into .venv (0.8 GB, some minutes)",
        "test": "the extra dev into .venv (some minutes)",
    }
    for stamp in checkout.glob(".venv/.installed-*"):
        stamp.unlink()
    for target, expected in said.items():
        # The first command that the rule calls fails, so that nothing is installed.
        done = subprocess.run(["make", target, "PYTHON=false"], cwd=checkout, capture_output=True, text=True)
        assert done.stderr.splitlines()[0] == f"installing {expected}"
        assert done.returncode == 2


def test_a_misspelt_variable_is_refused(checkout):
    done = subprocess.run(
        ["make", "--no-print-directory", "train", "SIZES=128"], cwd=checkout, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "no such variable: SIZES; those that can be set are PYTHON VENV EXTRAS SOURCE NUM SEED SIZE " in line


def test_every_variable_with_a_default_can_be_set(checkout):
    text = (checkout / "Makefile").read_text()
    names = re.findall(r"^([A-Z_]+) *\?=", text, re.MULTILINE)
    assert len(names) > 20
    make(checkout, "help", *(f"{name}=x" for name in names))


DATAFLOW = ("RUNNER=DataflowRunner", "PROJECT=p", "REGION=r", "TEMP=gs://b/t", "SOURCE=gs://b/x")


def test_dataflow_leaves_the_number_of_workers_to_the_plan(checkout):
    (checkout / ".venv/.installed-gcp").touch()
    (line,) = make(checkout, "shards", *DATAFLOW)
    assert "[--project=p][--region=r][--temp_location=gs://b/t][--machine_type=n1-standard-4]" in line
    assert "workers" not in line


def test_dataflow_without_a_project_is_refused_on_one_line(checkout):
    words = ["make", "shards", *DATAFLOW, "PROJECT=", "TEMP= "]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "RUNNER=DataflowRunner needs PROJECT= TEMP=, see docs/dataflow.md" in line


def test_the_image_has_every_package_of_the_distribution():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packages = [line.rstrip("*") for line in config["options.packages.find"]["include"].split()]
    copied = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY")]
    assert [name for name in packages if f"COPY {name} /src/{name}" not in copied] == []
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert [name for name in packages if f"!{name}" not in sent] == []
