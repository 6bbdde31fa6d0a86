"""A damaged dataset stops training, evaluation and prediction with the name of the shard."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from model.data import batches, damage, records
from model.data.dataset import open_dataset
from model.data.order import Order
from model.evaluate import main as evaluate
from model.predict import main as predict
from model.train import main as train
from pipeline.errors import InputError
from tests.support.datasets import CHANNELS, tiny_settings, train_tiny

NAME = "hpa_stacked-{}.tfrecord-00001-of-00003"


def empty(shard: Path) -> None:
    shard.write_bytes(b"")


def cut_at_a_record(shard: Path) -> None:
    data = shard.read_bytes()
    length = int.from_bytes(data[:8], "little") + 16
    shard.write_bytes(data[:length])


def double(shard: Path) -> None:
    shard.write_bytes(2 * shard.read_bytes())


def truncate(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-5])


def remove(shard: Path) -> None:
    shard.unlink()


def alter(shard: Path) -> None:
    """Flips a bit of a pixel; the size stays."""
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)


@pytest.fixture
def data_dir(tmp_path, tiny_data_dir) -> Path:
    return Path(shutil.copytree(tiny_data_dir, tmp_path / "data"))


def shard(data_dir: Path, split: str = "train") -> Path:
    return next(data_dir.glob(f"**/{NAME.format(split)}"))


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (empty, r"has 0 bytes, too few or too many for \d+ records"),
        (cut_at_a_record, r"has [\d,]+ bytes, too few or too many for \d+ records"),
        (double, r"has [\d,]+ bytes, too few or too many for \d+ records"),
        (truncate, r"is damaged \("),
        (remove, r"cannot be read \(No such file or directory\)"),
    ],
)
def test_shards_of_another_size_are_named_when_the_dataset_is_opened(data_dir, spoil, found):
    path = shard(data_dir)
    spoil(path)
    folder = path.parent
    expected = rf"^dataset {folder}: shard {path.name} {found}.*'python -m pipeline verify {folder}' lists all damage, and the build command with --overwrite makes it again$"
    with pytest.raises(InputError, match=expected):
        open_dataset(data_dir, 32)


def test_bytes_moved_from_one_record_to_the_next_shard_are_noticed(data_dir):
    path = shard(data_dir)
    path.write_bytes(path.read_bytes() + b"a few bytes more")
    with pytest.raises(InputError, match=rf"shard {path.name} is damaged \((truncated|corrupted) record at \d+"):
        open_dataset(data_dir, 32)


def test_a_total_that_no_shard_explains_is_named(data_dir):
    dataset = open_dataset(data_dir, 32)
    with pytest.raises(InputError, match=r"the shards of dev have [\d,]+ bytes, expected 7"):
        damage.check_sizes(dataset, {"train": sum(Path(s).stat().st_size for s in dataset.shards["train"]), "dev": 7})


def commands(data_dir, run, tmp_path):
    common = ["--data-dir", data_dir]
    return {
        "evaluate": (evaluate, [run, *common]),
        "predict": (predict, [run, "--split", "test", "--out", tmp_path / "out.csv", *common]),
    }


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize("spoil", [alter, truncate, remove, double, cut_at_a_record])
def test_evaluate_and_predict_stop_at_a_damaged_shard(tmp_path, data_dir, run_copy, command, spoil):
    path = shard(data_dir, "test")
    spoil(path)
    main, arguments = commands(data_dir, run_copy, tmp_path)[command]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 1, result.output
    assert result.output.splitlines()[-1].startswith(f"Error: dataset {path.parent}: shard {path.name} ")
    assert "python -m pipeline verify" in result.output
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("split", ["train", "dev"])
def test_training_stops_at_a_damaged_shard(tmp_path, data_dir, split):
    path = shard(data_dir, split)
    alter(path)
    with pytest.raises(InputError, match=rf"shard {path.name} is damaged \(corrupted record at \d+"):
        train_tiny(data_dir, tmp_path / "run", blocks=(1,), epochs=1)


@pytest.mark.parametrize("oversample", [0.0, 0.1])
def test_training_stops_at_a_shard_that_is_cut_after_it_was_opened(tmp_path, data_dir, oversample):
    from model import backend, runs
    from model.training import loop

    backend.start()
    dataset = open_dataset(data_dir, 32)
    run = runs.create(tmp_path / "run", tiny_settings(blocks=(1,), epochs=1, oversample=oversample), dataset, {})
    path = shard(data_dir)
    cut_at_a_record(path)
    with pytest.raises(InputError, match=rf"shard {path.name} has 1 records, expected 64"):
        loop.train(run, dataset, log=lambda line: None)


def test_the_train_command_stops_at_a_missing_shard(tmp_path, data_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = shard(data_dir)
    path.unlink()
    config = tmp_path / "config.json"
    config.write_text('{"size": 32}')
    result = CliRunner().invoke(train, ["--config", str(config), "--data-dir", str(data_dir)])
    assert (result.exit_code, path.name in result.output) == (1, True), result.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "metadata.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_damaged_metadata_is_one_line(data_dir, name, text):
    path = next(data_dir.glob(f"**/{name}"))
    path.write_text(text)
    with pytest.raises(InputError, match=rf"^dataset {path.parent}: (its metadata cannot be read|no channels)"):
        open_dataset(data_dir, 32)


def test_errors_that_are_no_damage_keep_their_traceback(tiny_dataset):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError), damage.named(tiny_dataset):
        raise tf.errors.InvalidArgumentError(None, None, "something else")


def test_reading_an_intact_dataset_is_not_disturbed(tiny_dataset):
    assert len(batches.read_labels(tiny_dataset, "train")) == 192
    assert len(batches.read_labels(tiny_dataset, "train", limit=10)) == 10


@pytest.mark.parametrize("spoil", [remove, cut_at_a_record])
@pytest.mark.parametrize("opened", [True, False])
def test_repeats_of_a_shard_that_is_damaged_after_it_was_opened_name_it(data_dir, spoil, opened):
    dataset, path = open_dataset(data_dir, 32), shard(data_dir)
    order = Order(seed=0, buffer=8, factors=np.full(192, 2.0))
    with pytest.raises(InputError, match=rf"shard {path.name} "), damage.named(dataset):
        if not opened:
            spoil(path)
        found = batches.train_batches(dataset, order, 0, channels=CHANNELS, batch_size=8)
        if opened:
            spoil(path)
        list(found)


def test_a_repeat_that_cannot_be_read_is_an_error_that_damage_is_named_for(data_dir):
    import tensorflow as tf

    path = shard(data_dir)
    found = records.read([str(path)], [64], np.array([63, 0]), 1)
    path.unlink()
    with pytest.raises(tf.errors.InvalidArgumentError, match="No such file or directory"):
        list(found)
