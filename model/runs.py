"""The folder of a training run.

config.json                     settings, dataset, versions, git commit, command: everything needed to repeat the run
steps.csv                       loss every few steps; the same rows whether or not the run was killed
metrics.csv                     one row per epoch: train and dev loss, dev macro F1, speed
events/                         the same for TensorBoard
checkpoints/last.npz            state to resume from: weights, optimiser, random state, position
checkpoints/best.weights.h5     weights of the classifier at the lowest dev loss (averaged ones with `ema`)
checkpoints/best.weights.h5.sha256     their checksum
metrics.json                    scores of these weights on train, dev and test; written at the end
"""

import contextlib
import csv
import dataclasses
import json
import shlex
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model import settings as settings_module
from model.data.dataset import Dataset, saved_schema
from model.settings import Settings
from pipeline.errors import InputError, MissingError
from pipeline.schema import Schema
from pipeline.store import files

FORMAT = 1
"""Version of the layout of a run folder."""

DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error,
    MemoryError, OverflowError, RecursionError, SyntaxError, IndexError, AttributeError, struct.error,
)  # fmt: skip
"""What NumPy, zip and JSON raise for a damaged file."""

DATASET_ENTRIES = ("path", "size", "channels", "class_names", "mean", "std", "fingerprint")
"""What `config.json` must say about the dataset."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder with its settings, its dataset and the dataset's schema, as recorded in `config`."""

    path: Path
    settings: Settings
    dataset: dict[str, Any]
    schema: Schema
    config: dict[str, Any]

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.npz"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.weights.h5"

    @property
    def steps_csv(self) -> Path:
        return self.path / "steps.csv"

    @property
    def metrics_csv(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def metrics_json(self) -> Path:
        return self.path / "metrics.json"

    @property
    def mean(self) -> list[float]:
        """Mean over train of each channel that the network sees, on the scale 0..1."""
        return self._chosen("mean")

    @property
    def std(self) -> list[float]:
        """Standard deviation over train of each channel that the network sees, on the scale 0..1."""
        return self._chosen("std")

    def _chosen(self, name: str) -> list[float]:
        by_channel = dict(zip(self.dataset["channels"], self.dataset[name], strict=True))
        return [by_channel[channel] for channel in self.settings.channels]


def create(
    path: Path,
    settings: Settings,
    dataset: Dataset,
    versions: Mapping[str, str],
    init_from: Mapping[str, Any] | None = None,
) -> Run:
    """Creates the run folder with its config, and returns the run; `init_from` is the run that it starts from.

    Raises:
        InputError: it exists already.
    """
    if (path / "config.json").exists():
        raise InputError(f"{path} already holds a run: --resume continues it, --out DIR puts this one elsewhere")
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    config = {
        "format": FORMAT,
        "settings": settings.to_json(),
        "dataset": dataset.to_json(),
        "versions": dict(versions),
        "git_commit": git_commit(),
        "command": sys.argv,
        "init_from": init_from and dict(init_from),
    }
    write_json(path / "config.json", config)
    return open_run(path)


@contextlib.contextmanager
def removed_unless_started(run: Run) -> Iterator[None]:
    """Removes the run's folder if the block fails before the first checkpoint: it would block the next try."""
    try:
        yield
    except BaseException:
        if not run.last.exists():
            for folder in (run.path / "events", run.last.parent):
                shutil.rmtree(folder, ignore_errors=True)
            (run.path / "config.json").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other files stay
                run.path.rmdir()
        raise


def extend(run: Run, settings: Settings, log: Callable[[str], None]) -> Run:
    """Returns the run with `settings`, which may have more epochs, and records and logs the change.

    Its scores are removed, because training continues.
    """
    changed = settings_module.differences(run.settings, settings)
    if not changed:
        return run
    log(f"{'; '.join(changed)}: the learning rate follows the schedule of {settings.epochs} epochs from here")
    run.metrics_json.unlink(missing_ok=True)
    write_json(run.path / "config.json", {**run.config, "settings": settings.to_json()})
    return open_run(run.path)


def report_backend(run: Run, backend: str, log: Callable[[str], None]) -> None:
    """Logs a line if the run was started with another backend: checkpoints work with all of them."""
    versions = run.config.get("versions")
    started = versions.get("backend", backend) if isinstance(versions, dict) else backend
    if started != backend:
        log(
            f"started with {started}, continues with {backend}: the same training, with different rounding and random numbers"
        )


def open_run(path: Path) -> Run:
    """Returns the run in the folder `path`.

    Raises:
        MissingError: there is none.
        InputError: its config cannot be read.
    """
    file = path / "config.json"
    if not file.exists():
        raise MissingError(f"no run in {path} (no config.json): 'python -m model.train --out {path}' makes one")
    config = settings_module.read_config(file)
    if config.get("format") != FORMAT:
        raise InputError(f"{file}: format {config.get('format')}, expected {FORMAT}")
    for name, entries in (("settings", ()), ("dataset", DATASET_ENTRIES)):
        entry = config.get(name)
        if not isinstance(entry, dict) or not set(entries) <= set(entry):
            raise InputError(f"{file}: damaged: no valid '{name}' in it; restore it from a copy, or train again")
    settings = settings_module.from_json(config["settings"], str(file))
    try:
        schema = saved_schema(config["dataset"])
    except (InputError, AttributeError, *DAMAGE) as error:
        raise InputError(
            f"{file}: damaged: the schema in it cannot be read ({shortest(error)}); restore it from a copy, or train again"
        ) from None
    if wrong := [name for name, fits in _fitting_entries(config["dataset"], settings, schema).items() if not fits]:
        raise InputError(
            f"{file}: damaged: no valid {', '.join(wrong)} of the dataset in it; restore it from a copy, or train again"
        )
    return Run(path=path, settings=settings, dataset=config["dataset"], schema=schema, config=config)


def _fitting_entries(dataset: Mapping[str, Any], settings: Settings, schema: Schema) -> dict[str, bool]:
    """Returns whether each entry about the dataset has the type and length that a run needs."""
    names = list(schema.channel_names)
    return {
        "path": isinstance(dataset["path"], str) and "\0" not in dataset["path"],
        "size": type(dataset["size"]) is int and dataset["size"] > 0,
        "channels": dataset["channels"] == names and set(settings.channels) <= set(names),
        "class_names": _are(str, dataset["class_names"], schema.num_classes),
        "mean": _are(float, dataset["mean"], len(names)),
        "std": _are(float, dataset["std"], len(names)),
        "fingerprint": isinstance(dataset["fingerprint"], str),
    }


def _are(kind: type, values: Any, count: int) -> bool:
    """Returns whether values are a list of `count` strings, or of `count` numbers from 0 to 1."""
    kinds = (int, float) if kind is float else (kind,)
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in kinds and (kind is str or 0 <= value <= 1) for value in values)
    )


def best_checkpoint(run: Run) -> Path:
    """Returns the path of the run's best weights.

    Raises:
        MissingError: the run has finished no epoch.
    """
    if not run.best.exists():
        raise MissingError(
            f"run {run.path}: no epoch is finished yet, so there is nothing to score: "
            f"'python -m model.train --resume --out {shlex.quote(str(run.path))}' continues it"
        )
    return run.best


def load_classifier(run: Run) -> Any:
    """Returns the run's classifier (see `classifier.build`) with the weights of its best checkpoint.

    Raises:
        MissingError: the run has finished no epoch.
        InputError: the weights are damaged, or those of another network.
    """
    from model.network import classifier
    from model.training import weights

    best_checkpoint(run)
    model = classifier.build(run.settings, run.mean, run.std, run.schema)
    weights.check(run.best)
    try:
        model.load_weights(run.best)
    except Exception as error:  # whatever Keras and HDF5 raise for damaged files
        raise InputError(
            f"{run.best}: damaged, or the weights of another network ({shortest(error)}); "
            "restore it from a copy, or train again"
        ) from error
    return model


def shortest(error: Exception) -> str:
    """Returns the first line of an error, at most 100 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:100]


def newest_path(settings: Settings, *, smoke: bool, root: Path = Path("runs")) -> Path:
    """Returns the folder `runs/<preset>-<number>` with the highest number.

    Raises:
        MissingError: there is none.
    """
    stem = _stem(settings, smoke=smoke)
    if not (taken := _numbers(root, stem)):
        raise MissingError(f"no run of {stem} in {root} to resume: name its folder with --out")
    return root / f"{stem}-{max(taken)}"


def create_path(settings: Settings, *, smoke: bool, root: Path = Path("runs")) -> Path:
    """Creates the folder `runs/<preset>-<number>` with the next number, for this run alone, and returns it."""
    stem = _stem(settings, smoke=smoke)
    while True:
        path = root / f"{stem}-{max(_numbers(root, stem), default=0) + 1}"
        with contextlib.suppress(FileExistsError):  # a run that started at the same time took it
            path.mkdir(parents=True)
            return path


def _stem(settings: Settings, *, smoke: bool) -> str:
    return f"{settings.preset}-smoke" if smoke else settings.preset


def _numbers(root: Path, stem: str) -> list[int]:
    """Returns the numbers of the folders `<stem>-<number>`."""
    ends = [path.name[len(stem) + 1 :] for path in root.glob(f"{stem}-*")]
    return [int(end) for end in ends if end.isdigit()]


def make_words(target: str, path: Path) -> list[str]:
    """Returns the words after `make` that call a target with a run; the target's default is the newest in `runs`."""
    return [target] if path.parent == Path("runs") else [target, f"RUN={shlex.quote(str(path))}"]


def git_commit() -> str | None:
    """Returns the commit of the source code, with `+` if files differ from it; `None` outside a repository."""
    source = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=source, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "."], cwd=source, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON; a reader sees the old file or the new one."""
    with files.replacing(path) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Adds one row to a CSV file, with a header if it is the first."""
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file; empty if it does not exist."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def drop_rows_after(path: Path, step: int) -> None:
    """Deletes the rows of steps after `step`, which a resumed run writes again."""
    rows = read_rows(path)
    kept: Sequence[dict[str, str]] = [row for row in rows if _is_complete(row) and int(row["step"]) <= step]
    if len(kept) < len(rows):
        with files.staged(path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, [name for name in rows[0] if name is not None], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)


def _is_complete(row: Mapping[str, str | None]) -> bool:
    return None not in row.values() and str(row["step"]).isdigit()
