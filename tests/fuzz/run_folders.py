"""Targets `config`, `evaluation`, `arrays`, `checkpoint` and `weights`: the files of a training run."""

import io
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from model import runs
from model.scores import evaluation
from model.settings import Settings
from pipeline.errors import InputError
from tests.fuzz import datasets, mutations
from tests.fuzz.target import Case, expect

_NPY_TOKENS = [
    b"\x93NUMPY",
    b"<f4",
    b"|O",
    b"|S9999999",
    b"(1000000000000,)",
    b"(-1,)",
    b"()",
    b"True",
    b"PK\3\4",
    b"PK\1\2",
    b"os.system",
]


def config() -> dict[str, Any]:
    """Returns the content of a run's `config.json`."""
    dataset = {
        **datasets.metadata(),
        "path": "/data/hpa_stacked/256/1.1.0",
        "num_examples": {"train": 2, "dev": 2, "test": 2},
    }
    settings = Settings(preset="tiny", size=32, channels=("red", "green"), blocks=(1,), width=8)
    return {"format": runs.FORMAT, "settings": settings.to_json(), "dataset": dataset, "versions": {}, "command": ["x"]}


class Config:
    """`config.json`: values of other types, missing and unknown ones."""

    def __init__(self, folder: Path):
        self.folder, self.values = folder, config()

    def draw(self, rng: random.Random) -> Case:
        if rng.random() < 0.05:
            return Case(json.dumps(self.values).encode(), True)
        return Case(mutations.damage_text_of_json(rng, self.values))

    def check(self, case: Case) -> str:
        (self.folder / "config.json").write_bytes(case.data)
        try:
            run = runs.open_run(self.folder)
        except InputError:
            expect(case.intact is None, "an intact config was refused")
            return "refused"
        numbers = [*run.mean, *run.std]
        expect(len(numbers) == 2 * len(run.settings.channels) and all(map(math.isfinite, numbers)), "mean", numbers)
        expect(len(run.dataset["class_names"]) == run.schema.num_classes, "classes")
        return "accepted"


class Evaluation:
    """`evaluation.json`, whose content has a checksum."""

    def __init__(self, folder: Path):
        self.path = folder / "evaluation" / "evaluation.json"
        self.path.parent.mkdir()
        scores = {"macro_f1": 0.5, "classes": [{"name": "a", "f1": 0.25}], "interval": {"low": 0.1, "high": 0.9}}
        splits = {"test": {"rules": {"fixed": scores}, "average_precision": [0.5, None]}}
        self.values = {"format": evaluation.FORMAT, "splits": splits, "thresholds": {"fixed": [0.5]}, "views": "one"}
        self.sealed = evaluation.sealed(self.values)

    def draw(self, rng: random.Random) -> Case:
        if rng.random() < 0.05:
            return Case(json.dumps(self.sealed).encode(), True)
        return Case(mutations.damage_text_of_json(rng, self.sealed))

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        try:
            found = evaluation.load(self.path.parent.parent)
        except InputError:
            expect(case.intact is None, "an intact evaluation was refused")
            return "refused"
        expect(found == self.values, "a changed evaluation was accepted")
        return "accepted"


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


class Arrays:
    """A NumPy file of an evaluation: a zip with a checksum for each array."""

    def __init__(self, folder: Path):
        self.path = folder / "gallery.npz"
        self.images = np.arange(48, dtype=np.uint8).reshape(2, 2, 3, 4)
        self.data = _npz(images=self.images, ids=np.array(["a", "b"]))

    def draw(self, rng: random.Random) -> Case:
        if rng.random() < 0.05:
            return Case(self.data, True)
        return Case(mutations.damage(rng, self.data, _NPY_TOKENS))

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        try:
            (found,) = evaluation.read_arrays(self.path, "images")
        except InputError:
            expect(case.intact is None, "intact arrays were refused")
            return "refused"
        expect(np.array_equal(found, self.images), "other values than written")
        return "accepted"


class Variable:
    """A variable of a model, as `checkpoints.restore` needs it."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape, self.value = shape, np.zeros(shape, np.float32)

    def assign(self, value: np.ndarray) -> None:
        self.value = np.asarray(value, np.float32)


class Checkpoint:
    """`last.npz`: the state of a run to resume from."""

    def __init__(self, folder: Path):
        from model.training import checkpoints

        self.path, self.checkpoints = folder / "last.npz", checkpoints
        self.state = {"model/0000": Variable((2, 3)), "optimizer/0000": Variable(()), "loss/0000": Variable((4,))}
        checkpoints._state = lambda trainee: self.state
        position = json.dumps({"epoch": 1, "step_in_epoch": 2, "step": 5, "best_loss": 0.5})
        self.written = {
            name: np.arange(v.value.size, dtype=np.float32).reshape(v.shape) for name, v in self.state.items()
        }
        self.data = _npz(position=np.array(position), **self.written)

    def draw(self, rng: random.Random) -> Case:
        if rng.random() < 0.05:
            return Case(self.data, True)
        if rng.random() < 0.3:  # right checksums, other content
            position = mutations.damage_text_of_json(rng, {"epoch": 1, "step_in_epoch": 2, "step": 5, "best_loss": 0.5})
            arrays: dict[str, Any] = {
                **self.written,
                rng.choice(list(self.written)): np.array(rng.choice(([1, 2], "text", [[1.0]], 3))),
            }
            chosen = arrays if rng.random() < 0.5 else self.written
            return Case(_npz(position=np.array(position.decode(errors="replace")), **chosen))
        return Case(mutations.damage(rng, self.data, _NPY_TOKENS))

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        try:
            position = self.checkpoints.restore(self.path, None)
        except InputError:
            expect(case.intact is None, "an intact checkpoint was refused")
            return "refused"
        expect(
            all(np.isfinite(variable.value).all() for variable in self.state.values()), "weights that are not finite"
        )
        expect(type(position.epoch) is int and type(position.step) is int and position.step >= 0, "position", position)
        return "accepted"


class Weights:
    """`best.weights.h5` of a small network; the first byte of a case says whether its checksum is there."""

    def __init__(self, folder: Path):
        from model import backend

        backend.start()
        from model.network import classifier
        from model.training import weights

        (folder / "checkpoints").mkdir()
        (folder / "config.json").write_text(json.dumps(config()))
        self.run = runs.open_run(folder)
        model = classifier.build(self.run.settings, self.run.mean, self.run.std, self.run.schema)
        build: Callable[..., Any] = lambda *_, **__: model  # noqa: E731
        classifier.build = build
        model.save_weights(self.run.best)
        weights.record(self.run.best, self.run.best)
        self.table = self.run.best.with_name(f"{self.run.best.name}.sha256")
        self.data, self.sums = self.run.best.read_bytes(), self.table.read_bytes()

    def draw(self, rng: random.Random) -> Case:
        signed = bytes([rng.random() < 0.2])
        if rng.random() < 0.03:
            return Case(signed + self.data, True)
        if rng.random() < 0.5:  # the first kilobytes hold the structure
            return Case(signed + mutations.damage(rng, self.data[:4096], times=1) + self.data[4096:])
        return Case(signed + mutations.damage(rng, self.data))

    def check(self, case: Case) -> str:
        signed, data = case.data[:1] == b"\1", case.data[1:]
        self.run.best.write_bytes(data)
        self.table.unlink(missing_ok=True)
        if signed:
            self.table.write_bytes(self.sums)
        try:
            runs.load_classifier(self.run)
        except InputError:
            expect(case.intact is None, "intact weights were refused")
            return "refused"
        expect(not signed or data == self.data, "changed weights were accepted, although their checksum is there")
        return "accepted"
