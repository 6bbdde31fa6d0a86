"""A damaged run folder is one line."""

import json
import shutil

import numpy as np
import pytest

from model import runs
from model.training import weights
from pipeline.errors import InputError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": None}, "damaged: no valid 'settings' in it"),
        ({"settings": [1]}, "damaged: no valid 'settings' in it"),
        ({"dataset": None}, "damaged: no valid 'dataset' in it"),
        ({"dataset": {"path": "x"}}, "damaged: no valid 'dataset' in it; restore it from a copy, or train again"),
        ({"settings": {"epochs": "many"}}, "epochs is 'many', expected int"),
        ({"settings": {"epoch": 1}}, "no such setting: epoch; did you mean 'epochs'"),
    ],
)
def test_a_damaged_config_is_named(run_copy, change, message):
    path = run_copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=rf"^{path}: {message}"):
        runs.open_run(run_copy)


@pytest.mark.parametrize("schema", [None, {}, {"name": "x", "channels": []}])
def test_a_damaged_schema_of_a_run_is_named(run_copy, schema):
    path = run_copy / "config.json"
    config = json.loads(path.read_text())
    config["dataset"]["schema"] = schema
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"^{path}: damaged: the schema in it cannot be read \(.*train again$"):
        runs.open_run(run_copy)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\udc80"])
def test_a_config_that_is_no_json_is_named(run_copy, text):
    path = run_copy / "config.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=rf"^{path}: not JSON"):
        runs.open_run(run_copy)


def test_a_flipped_bit_of_the_weights_is_noticed(run_copy):
    run = runs.open_run(run_copy)
    data = bytearray(run.best.read_bytes())
    for position in np.linspace(0, len(data) - 1, 20).astype(int):
        data[position] ^= 1
        run.best.write_bytes(data)
        with pytest.raises(InputError, match=rf"^{run.best}: changed since it was written \(its SHA-256 differs\)"):
            runs.load_classifier(run)
        data[position] ^= 1
    run.best.write_bytes(data)
    runs.load_classifier(run)


@pytest.mark.parametrize("spoil", ["cut", "empty", "text"])
def test_weights_without_a_checksum_that_cannot_be_read_are_named(run_copy, spoil):
    run = runs.open_run(run_copy)
    weights._table(run.best).unlink()
    data = run.best.read_bytes()
    run.best.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"weights"}[spoil])
    with pytest.raises(InputError, match=rf"^{run.best}: damaged, or the weights of another network \(.*restore it"):
        runs.load_classifier(run)


def test_weights_can_be_loaded_after_a_kill_between_checksum_and_rename(run_copy):
    run = runs.open_run(run_copy)
    for content in (b"next", b"after that"):  # killed twice
        new = run.best.with_name(".tmp-new")
        new.write_bytes(content)
        weights.record(run.best, new)
        weights.check(run.best)
    shutil.move(new, run.best)
    weights.check(run.best)


def test_damaged_arrays_of_an_evaluation_are_named(evaluated_copy):
    from model.page import evaluated

    path = evaluated_copy / "evaluation/gallery.npz"
    data = path.read_bytes()
    run = runs.open_run(evaluated_copy)
    for damaged in (b"", data[:-30], data[: len(data) // 2], b"text", data.replace(b"images.npy", b"pixels.npy")):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"^{path}: damaged \(.*run 'python -m model.evaluate' again"):
            evaluated.load([run])
    path.unlink()
    with pytest.raises(InputError, match=r"gallery\.npz: does not exist; run 'python -m model.evaluate' again"):
        evaluated.load([run])
    (evaluated_copy / "evaluation/evaluation.json").write_text("[" * 100_000)
    path.write_bytes(data)
    with pytest.raises(InputError, match="not JSON"):
        evaluated.load([run])


@pytest.mark.parametrize("position", ["[", "{}", '{"step": []}', '{"steps": 1}', "1", "null"])
def test_a_checkpoint_with_a_damaged_position_is_named(tmp_path, position):
    import keras

    from model.training import checkpoints

    path = tmp_path / "last.npz"
    np.savez(path, position=np.array(position)) if position != "{}" else np.savez(path, other=np.zeros(3))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    with pytest.raises(InputError, match=rf"checkpoint {path} (is damaged|belongs to another network)"):
        checkpoints.restore(path, model)
