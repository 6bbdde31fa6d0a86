"""The commands of the documents, run one after another in a folder that has what they name.

Networks are tiny and drawn samples small; otherwise a command runs as it stands. Targets of the Makefile run with an
environment that records what they call, and that is run too. `ELSEWHERE` lists the commands that are not run here, with
the reason.
"""

import csv
import dataclasses
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import CliRunner

from hpa_cli.commands import commands as console_script
from model import presets
from pipeline import data_dirs, job
from pipeline.config import BuildConfig
from pipeline.schema import write
from tests.support.datasets import NUCLEI, Shape, write_dataset
from tests.support.sources import draw_source
from tests.test_documents import DOCUMENTS, ROOT, click_command, commands

ELSEWHERE = {
    r"make (install|test|test-\w+|lint|docs|clean)\b": "the suites themselves",
    r"make (bench|bench-full|torture|fuzz|ladder|ladder-full|cells|gpu|gpu-wheels)\b": "minutes to hours",
    r"python -m (bench|tests)\b": "the same; tests/bench, tests/test_fuzz.py and tests/torture try them in small",
    r"python -m model\.(ladder|cells) ": "hours; tests/model/test_ladder.py and tests/model/folds try them in small",
    r".*(RUNNER=|--runner=)": "a cluster: `make test-cluster` and tests/cluster",
    r"python3 -m venv": "Python's own",
}

MENTIONED_ONLY = ("CHANGELOG.md", "docs/errors.md")
"""Documents that name commands without everything that they need."""

SMALL = "40"
"""Examples of a drawn sample."""

NAMES = [name for path in DOCUMENTS if (name := path.relative_to(ROOT).as_posix()) not in MENTIONED_ONLY]

RECORD = """#!/usr/bin/env python3
import json, os, pathlib, sys
with open("called.jsonl", "a") as file:
    file.write(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
"""


def documented(name: str) -> Iterator[list[str]]:
    """Yields the words of each command in a document; in running text, only of those with all that they need."""
    text = (ROOT / name).read_text()
    in_block = commands(re.sub(r"`[^`\n]+`", "", text))
    for words in commands(text):
        if words in in_block or words[0] == "make" or not is_mention(words):
            yield words


def is_mention(words: list[str]) -> bool:
    """Returns whether a command has no arguments at all, or not all that are required."""
    command, rest = parts(words)
    if command is None or rest in ([], ["COMMAND"]):
        return command is not None
    try:
        while isinstance(command, click.Group):
            _, command, rest = command.resolve_command(click.Context(command), rest)
        if rest in ([], ["COMMAND"]):
            return True
        command.make_context("", list(rest))
    except click.MissingParameter:
        return True
    except (click.UsageError, click.exceptions.Exit):
        pass
    return False


def parts(words: list[str]) -> tuple[click.Command | None, list[str]]:
    """Returns the command that click made, if it did, and its arguments."""
    return (console_script, words[1:]) if words[0] != "python" else (click_command(words[2]), words[3:])


def reason(words: list[str]) -> str | None:
    """Returns why a command is not run here, or `None`."""
    line = " ".join(words)
    return next((why for pattern, why in ELSEWHERE.items() if re.match(pattern, line)), None)


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory) -> Path:
    """Kaggle's files, of images of 256 pixels: `train.csv`, `train/` and the same images in `train.zip` and `test.zip`."""
    source = draw_source(tmp_path_factory.mktemp("kaggle") / "kaggle", int(SMALL), side=256)
    with (
        zipfile.ZipFile(source.root / "train.zip", "w") as train,
        zipfile.ZipFile(source.root / "test.zip", "w") as test,
    ):
        for path in sorted(source.images.iterdir()):
            train.write(path, path.name)
            if path.name < "ex-0008":
                test.write(path, path.name)
    return source.root


@pytest.fixture
def folder(tmp_path, kaggle, monkeypatch) -> Path:
    """The current folder: a checkout without source code, whose environment records what is called."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("hpa-stacked", "python", "pip"):
        (tmp_path / ".venv/bin" / name).write_text(RECORD)
        (tmp_path / ".venv/bin" / name).chmod(0o755)
    for stamp in ("base", "train", "dev"):
        (tmp_path / f".venv/.installed-{stamp}").touch()
    (tmp_path / "kaggle").symlink_to(kaggle)
    for name in ("train.csv", "train", "test.zip"):
        (tmp_path / name).symlink_to(kaggle / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tensorflow_datasets"))
    monkeypatch.delenv(data_dirs.LAST)
    return tmp_path


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    load = presets.load

    def tiny(name: str):
        settings = load(name)
        small = {"blocks": (1,), "width": 4, "epochs": 1, "batch_size": 4, "limit_examples": 8, "warmup_epochs": 0.0}
        return dataclasses.replace(
            settings, **small, downsample=max(1, settings.size // 32), crop=0, weights=None, backbone="resnet"
        )

    monkeypatch.setattr(presets, "load", tiny)


def run(words: list[str]) -> None:
    """Runs a command in this process; fails if it does not exit with 0."""
    words = [os.path.expanduser(word) for word in words]
    if words[0] == "make":
        for called in recorded(words):
            if reason(called) is None:
                run(called)
        return
    command, rest = parts(words)
    assert command is not None, words
    if "sample" in rest and "--num" in rest:
        rest[rest.index("--num") + 1] = SMALL
    done = CliRunner().invoke(command, rest)
    assert done.exit_code == 0, f"{' '.join(words)}: {done.output[-2000:]} {done.exception!r}"


def recorded(words: list[str]) -> list[list[str]]:
    """Returns the commands that a target calls."""
    log = Path("called.jsonl")
    log.unlink(missing_ok=True)
    done = subprocess.run([*words, "--silent"], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def train(folder: Path, run_folder: str, *options: str) -> None:
    """Trains the run that a document takes for granted, on a small dataset in `folder / "tfds"`."""
    data = folder / "tfds"
    if not data.exists():
        write_dataset(data, Shape(size=256, train=16, dev=4, test=4, num_shards=1))
        write_dataset(data, Shape(size=512, train=16, dev=4, test=4, num_shards=1))
    run(["hpa-stacked", "train", "--data-dir", str(data), "--out", str(folder / run_folder), *options])


def built(folder: Path) -> Path:
    """Builds `data` from Kaggle's files, and returns the dataset."""
    source = folder / "kaggle"
    return job.build(BuildConfig(labels=source / "train.csv", images=source / "train", data_dir=folder / "data")).path


def readme(folder: Path) -> dict[str, str]:
    train(folder, "runs/RUN")
    return {"/path/to/folder": "kaggle", "DIR": "kaggle", "--data-dir DIR": "tfds", "COMMAND": "shards"}


def schemas(folder: Path) -> dict[str, str]:
    """A folder of images in Kaggle's layout, but whose labels are words in `labels.csv`."""
    wells = folder / "wells"
    wells.mkdir()
    shutil.copytree(folder / "kaggle/train", wells / "images")
    words = ("control", "binucleate", "apoptotic")
    rows = [{"id": f"ex-{k:04d}", "label": words[k % 3]} for k in range(int(SMALL))]
    with open(wells / "labels.csv", "w", newline="") as file:
        table = csv.DictWriter(file, ["id", "label"])
        table.writeheader()
        table.writerows(rows)
    return {"DIR": "wells", "DIR/labels.csv": "wells/labels.csv", "NEW_IMAGES": "test.zip"}


def folds(folder: Path) -> dict[str, str]:
    """Cells of one channel and one label each, in twelve plates; the table is also beside the images."""
    rng, images = np.random.default_rng(0), folder / "cells"
    images.mkdir()
    rows = [(f"c{k:03d}", NUCLEI.classes[k % 5], f"p{k % 12}") for k in range(60)]
    for name, _, _ in rows:
        iio.imwrite(images / f"{name}.png", rng.integers(0, 255, (256, 256), dtype=np.uint8), plugin="pillow")
    text = "id,phenotype,plate\n" + "".join(",".join(row) + "\n" for row in rows)
    for path in (folder / "cells.csv", images / "cells.csv"):
        path.write_text(text)
    (folder / "cells.toml").write_text(write.to_toml(dataclasses.replace(NUCLEI, folder=".")))
    return {"DIR": "cells"}


def trainer(folder: Path) -> dict[str, str]:
    """What was built last, the run of `best`, and images of version 18 of the atlas."""
    train(folder, "runs/best-1", "--preset", "best")
    data_dirs.remember(folder / "tfds")
    rng, ids = np.random.default_rng(0), [f"{antibody}_p1_w{k}_f1" for antibody in range(4) for k in range(4)]
    (folder / "v18/images").mkdir(parents=True)
    for name in ids:
        for channel in ("red", "green", "blue", "yellow"):
            pixels = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
            iio.imwrite(folder / f"v18/images/{name}_{channel}.jpg", pixels, plugin="pillow")
    table = "Id,Target\n" + "".join(f"{name},{k % 4}\n" for k, name in enumerate(ids))
    (folder / "v18/HPAv18RBGY_wodpl.csv").write_text(table)
    built(folder)
    return {"DIR": "data", "RUN": "runs/stacked-256-smoke-1", "V18": "v18"}


def ladder(folder: Path) -> dict[str, str]:
    """Two runs, and another dataset."""
    train(folder, "runs/a")
    write_dataset(folder / "other", Shape(size=256, train=16, dev=4, test=4, num_shards=1), seed=5)
    return {"RUN...": "runs/a", "DIR": "other"}


def dataset(folder: Path) -> dict[str, str]:
    built(folder)
    return {"DIR": "kaggle"}


def readers(folder: Path) -> dict[str, str]:
    path = built(folder)
    (folder / "data").rename(folder / "before")
    return {"DIR": "kaggle", "verify DIR": str(folder / "before" / path.relative_to(folder / "data"))}


def ablation(folder: Path) -> dict[str, str]:
    train(folder, "runs/a")
    data_dirs.remember(folder / "tfds")
    return {}


PREPARE: dict[str, Callable[[Path], dict[str, str]]] = {
    "README.md": readme,
    "docs/index.md": lambda folder: {"/path/to/kaggle": "kaggle"},
    "docs/schemas.md": schemas,
    "docs/splits.md": folds,
    "docs/ladder.md": ladder,
    "docs/reading.md": readers,
    "docs/reliability.md": dataset,
    "docs/duplicates.md": lambda folder: {"DIR": "kaggle"},
    "docs/scaling.md": lambda folder: {"SOURCE=...": "SOURCE=kaggle"},
    "docs/best.md": ablation,
    "model/README.md": trainer,
}
"""What a document takes for granted: made in the folder; returned are the values of its placeholders."""


def filled(values: dict[str, str], before: str, word: str) -> str:
    """Returns a word of a command with the value of its placeholder, which may depend on the word before it."""
    variable, sign, value = word.partition("=")
    if sign and value in values:
        return f"{variable}={values[value]}"
    return values.get(f"{before} {word}", values.get(word, word))


ALTERNATIVES = ("docs/reading.md",)
"""Documents whose commands write the same folder in different ways: each starts without it."""


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_a_document_run_in_its_order(name, folder):
    values = PREPARE.get(name, lambda folder: {})(folder)
    for words in dict.fromkeys(map(tuple, documented(name))):
        words = [filled(values, before, word) for before, word in zip(["", *words], words, strict=False)]
        if name in ALTERNATIVES:
            shutil.rmtree(folder / "data", ignore_errors=True)
        if reason(words) is None:
            run(words)
        elif words[0] == "make":
            done = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, f"{words}: {done.stderr}"


def test_most_commands_are_run_here():
    every = [words for name in NAMES for words in documented(name)]
    assert sum(reason(words) is None for words in every) > 60
