"""A checkout of this project whose code is measured."""

import dataclasses
import subprocess
from pathlib import Path

import click

from bench import measure
from pipeline.threads import num_cores

CORES = num_cores()


@dataclasses.dataclass(frozen=True)
class Checkout:
    """A folder with the packages `pipeline`, `model` and `bench`.

    Commands run in `root` with `root` first on Python's path, so they use its code and not an installed copy.
    """

    root: Path

    @property
    def commit(self) -> str:
        """The short hash of the commit, with `+` after it if Python files were changed; empty outside of git."""
        git = ["git", "-C", str(self.root)]
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        status = subprocess.run([*git, "status", "--porcelain", "--", "*.py"], capture_output=True, text=True).stdout
        return f"{commit}+" if status else commit

    def run(self, *arguments: object, timeout: float | None = None) -> measure.Run:
        """Runs `python ARGUMENTS` to its end and returns its figures."""
        return measure.run(measure.python(*arguments), timeout=timeout, cwd=self.root, env=self._env)

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        """Starts `python ARGUMENTS` without output and returns the process."""
        quiet, env = subprocess.DEVNULL, measure.environment(self._env)
        return subprocess.Popen(measure.python(*arguments), cwd=self.root, env=env, stdout=quiet, stderr=quiet)

    @property
    def _env(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.root)}

    def check(self) -> None:
        """Checks that commands run in this checkout use its code.

        Raises:
            ClickException: a package cannot be imported, or is imported from another folder.
        """
        for package in ("pipeline", "model", "bench"):
            code = f"import json, {package}; print(json.dumps({package}.__file__))"
            try:
                path = Path(measure.last_json(self.run("-c", code).output))
            except RuntimeError as error:
                raise click.ClickException(f"{self.root}: package {package} cannot be imported: {error}") from error
            if not path.is_relative_to(self.root):
                raise click.ClickException(f"{self.root}: package {package} is imported from {path.parent}")


HERE = Checkout(Path(__file__).resolve().parents[1])
"""The checkout that this module belongs to."""

DATA = HERE.root.parent / "shared"
LABELS = DATA / "data" / "hpa_train_labels.csv"
STAND_IN = DATA / "tools" / "fullscale_tree.py"
"""The real label table and a script that lays out real pixels, used where they exist; else the synthetic atlas."""


def make_source(path: Path, num: int) -> Path:
    """Makes a source of `num` examples, of real pixels repeated or of synthetic ones; returns its folder."""
    if STAND_IN.exists():
        HERE.run(STAND_IN, path, "--num", num)
    else:
        HERE.run("-m", "pipeline", "sample", path, "--num", num)
    return path


def shards(source: Path, data_dir: Path) -> list[object]:
    """Returns the arguments of Python that build the dataset of `source` in `data_dir`."""
    return ["-m", "pipeline", "shards", "--source", source, "--data-dir", data_dir, "--threads", CORES]


def versions_dir(data_dir: Path) -> Path:
    """Returns the folder in which `shards` works and publishes."""
    return data_dir / "hpa_stacked" / "256"


def dataset_dir(data_dir: Path) -> Path:
    """Returns the folder of the one dataset published in `data_dir`, whatever its version."""
    [info] = versions_dir(data_dir).glob("[0-9]*/dataset_info.json")
    return info.parent
