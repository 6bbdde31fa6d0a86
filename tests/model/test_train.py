"""The command `python -m model.train`: options, messages, and that a small run learns."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

from model import presets, runs, settings
from model.train import _named_with_size, chosen_settings, main
from pipeline.errors import InputError, MissingError
from tests.support.datasets import LEARNABLE, LEARNING, Shape, tiny_settings, train_tiny, write_dataset
from tests.support.hpa import CLASS_NAMES


def run_command(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_config(path, **values):
    given = {k: v for k, v in tiny_settings(**values).to_json().items() if k != "preset"}
    path.write_text(json.dumps(given))
    return path


def test_help_imports_no_heavy_library():
    code = "import sys; from model.train import main; print({'keras', 'tensorflow', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


PAPER = presets.ATLAS[:4]


def test_presets_equal_the_four_models_of_the_paper():
    loaded = {name: presets.load(name) for name in presets.NAMES}
    assert all(preset.preset == name for name, preset in loaded.items())
    assert [(loaded[n].size, loaded[n].channels, loaded[n].extra_conv) for n in PAPER] == [
        (128, ("green",), False),
        (256, ("green",), True),
        (256, ("green", "blue", "red"), True),
        (256, ("red", "green", "blue", "yellow"), True),
    ]
    assert {(preset.batch_size, preset.loss) for name, preset in loaded.items() if name in PAPER} == {
        (16, "cross-entropy")
    }
    assert all(settings.smoke(preset).epochs == 2 for preset in loaded.values())


def test_command_line_overrides_the_file_and_the_file_the_preset(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"epochs": 5, "seed": 3}')
    chosen = chosen_settings("best", False, path, {"seed": 9})
    assert (chosen.preset, chosen.epochs, chosen.seed, chosen.batch_size) == ("best", 5, 9, 64)
    assert chosen_settings("best", True, path, {}).epochs == 5
    assert chosen_settings(None, False, None, {}).preset == "stacked-256"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"epoch": 5}', "{path}: no such setting: epoch; did you mean 'epochs'?"),
        ('{"epochs": "5"}', "{path}: epochs is '5', expected int"),
        ('{"extra_conv": 0}', "{path}: extra_conv is 0, expected bool"),
        ('{"channels": ["green", 2]}', "{path}: channels is ['green', 2], expected tuple[str, ...]"),
        ('{"epochs": true}', "{path}: epochs is True, expected int"),
        ('{"limit_examples": 1.5}', "{path}: limit_examples is 1.5, expected int or null"),
        ('{"loss": "hinge"}', "loss is 'hinge', expected one of cross-entropy, focal, asymmetric"),
        ('{"epochs": 0}', "epochs is 0, expected 1 or more"),
        ('{"downsample": 3}', "downsample is 3, expected a divisor of the size 256"),
        ('{"downsample": 4, "crop": 90}', "crop is 90, expected a multiple of the factor downsample, 4"),
        ('{"crop": 257}', "crop is 257, expected at most the size 256"),
        ('{"test_time": "crops"}', "test_time is 'crops', expected another while crop is 0"),
        ('{"shear": 90}', "shear is 90.0, expected less than 90"),
        ('{"rotation": -1}', "rotation is -1.0, expected 0 or more"),
        ('{"dropout": 1}', "dropout is 1.0, expected less than 1"),
        ('{"pooling": "max"}', "pooling is 'max', expected one of avg, avg-max"),
        (
            '{"backbone": "vgg"}',
            "backbone is 'vgg', expected one of resnet, densenet-121, efficientnet-v2-b0, convnext-tiny",
        ),
        (
            '{"backbone": "densenet-121", "width": 8}',
            "backbone is 'densenet-121', expected resnet with width, extra_conv",
        ),
        ("[1]", "{path}: JSON list, expected an object of settings"),
        ('{"a"', "{path}: not JSON: Expecting ':' delimiter: line 1 column 5 (char 4)"),
    ],
)
def test_invalid_config_file_is_rejected(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    done = run_command("--config", path)
    assert (done.exit_code, done.output) == (1, f"Error: {message.format(path=path)}\n")


def test_every_setting_can_be_set_and_is_parsed_by_its_type():
    texts = ["epochs=5", "channels=green, blue", "blocks=1,2", "extra_conv=true", "prior=none", "learning_rate=1e-4"]
    values = settings.parse([*texts, "loss=focal", "limit_examples=8"], "--set")
    assert values == {
        "epochs": 5,
        "channels": ("green", "blue"),
        "blocks": (1, 2),
        "extra_conv": True,
        "prior": None,
        "learning_rate": 1e-4,
        "loss": "focal",
        "limit_examples": 8,
    }
    assert settings.parse([f"{name}=1" for name in settings.NOT_NEGATIVE], "--set").keys() == {*settings.NOT_NEGATIVE}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch=5", "--set: no such setting: epoch; did you mean 'epochs'?"),
        ("epochs", "--set epochs: expected NAME=VALUE, like epochs=5"),
        ("epochs=5.5", "--set: epochs is '5.5', expected int"),
        ("extra_conv=1", "--set: extra_conv is '1', expected bool"),
        ("blocks=1,x", "--set: blocks is (1, 'x'), expected tuple[int, ...]"),
        ("learning_rate=high", "--set: learning_rate is 'high', expected float"),
        ("clip_norm=-1", "clip_norm is -1.0, expected 0 or more"),
        ("accumulate=0", "accumulate is 0, expected 1 or more"),
    ],
)
def test_invalid_setting_is_rejected(text, message):
    done = run_command("--set", text)
    assert (done.exit_code, done.output) == (1, f"Error: {message}\n")


@pytest.mark.parametrize(
    ("preset", "size", "expected"),
    [
        ("stacked-256", 256, "stacked-256"),
        ("stacked-256", 128, "stacked-256 at 128 pixels"),
        ("any", 64, "any at 64 pixels"),
        ("model-1", 64, "model-1 at 64 pixels"),
    ],
)
def test_a_run_of_another_size_than_its_presets_says_so(preset, size, expected):
    assert _named_with_size(settings.Settings(preset=preset, size=size)) == expected


def test_the_preset_is_no_setting_to_be_set():
    done = run_command("--set", "preset=best")
    assert done.output.startswith("Error: --set: no such setting: preset, expected some of accumulate, augment, ")


def test_a_run_that_cannot_start_leaves_no_folder(tiny_data_dir, tmp_path):
    config = write_config(tmp_path / "config.json", blocks=(1,))
    arguments = ("--data-dir", tiny_data_dir, "--config", config, "--out", tmp_path / "run")
    done = run_command(*arguments, "--weights", tmp_path / "resnet.h5")
    assert (done.exit_code, done.output.splitlines()[-1]) == (1, f"Error: no weights file {tmp_path}/resnet.h5")
    assert not (tmp_path / "run").exists()


def test_unknown_channel_is_rejected(tiny_data_dir, tiny_dataset, tmp_path):
    config = write_config(tmp_path / "config.json")
    done = run_command("--data-dir", tiny_data_dir, "--config", config, "--channels", "green,magenta")
    expected = (
        f"preset stacked-256: channels green, magenta, but dataset {tiny_dataset.path} of schema 'hpa_kaggle_2018' has "
        "red, green, blue, yellow: --preset any takes all, --channels chooses"
    )
    assert (done.exit_code, done.output.splitlines()[-1]) == (1, f"Error: {expected}")


@pytest.mark.parametrize("channels", ["green,green", "green,"])
def test_a_channel_named_twice_or_without_a_name_is_rejected(channels):
    done = run_command("--channels", channels)
    expected = f"channels {channels!r}: expected names, each at most once, or all"
    assert (done.exit_code, done.output) == (1, f"Error: {expected}\n")


def test_a_run_of_the_time_before_single_labels_is_read():
    values = {**tiny_settings().to_json(), "loss": "bce"}
    assert settings.from_json(values, "config.json") == tiny_settings()


@pytest.mark.parametrize(("given", "expected"), [(True, "flips"), (False, "one")])
def test_a_run_of_the_time_when_views_were_flips_or_none_is_read(given, expected):
    values = {**tiny_settings().to_json(), "test_time_flips": given}
    del values["test_time"]
    assert settings.from_json(values, "config.json").test_time == expected


def test_missing_dataset_is_rejected_with_the_command_that_builds_it(tmp_path):
    done = run_command("--data-dir", tmp_path)
    builds = "'python -m pipeline shards --source DIR' builds one, --data-dir names another place"
    expected = f"no dataset hpa_stacked/256 in {tmp_path}: {builds}"
    assert (done.exit_code, done.output) == (1, f"Error: {expected}\n")


def test_batch_larger_than_train_is_rejected(tiny_data_dir, tmp_path):
    config = write_config(tmp_path / "config.json")
    done = run_command("--data-dir", tiny_data_dir, "--config", config, "--batch-size", 500, "--out", tmp_path / "run")
    assert done.exit_code == 1
    assert done.output.splitlines()[-1] == (
        "Error: a batch of 500 is larger than train (192 examples): --batch-size 192 or less"
    )
    assert not (tmp_path / "run").exists()


def test_folder_with_a_run_is_not_overwritten(tiny_data_dir, tiny_dataset, tmp_path):
    run = runs.create(tmp_path / "run", tiny_settings(), tiny_dataset, {})
    config = write_config(tmp_path / "config.json")
    done = run_command("--data-dir", tiny_data_dir, "--config", config, "--out", run.path)
    expected = f"{run.path} already holds a run: --resume continues it, --out DIR puts this one elsewhere"
    assert (done.exit_code, done.output.splitlines()[-1]) == (1, f"Error: {expected}")


def test_resuming_with_other_settings_is_rejected(tiny_data_dir, tiny_dataset, tmp_path):
    run = runs.create(tmp_path / "run", tiny_settings(), tiny_dataset, {})
    arguments = ("--epochs", 1, "--seed", 4, "--set", "patience=3")
    done = run_command("--data-dir", tiny_data_dir, "--out", run.path, "--resume", *arguments)
    expected = f"cannot resume {run.path} with other settings: epochs 1 (was 2); seed 4 (was 0)"
    assert (done.exit_code, done.output) == (1, f"Error: {expected}\n")


def test_resuming_on_another_dataset_is_rejected(tiny_dataset, tmp_path):
    run = runs.create(tmp_path / "run", tiny_settings(), tiny_dataset, {})
    other = write_dataset(tmp_path, Shape(train=20, dev=4, test=4), seed=7)
    done = run_command("--data-dir", tmp_path, "--out", run.path, "--resume")
    expected = f"dataset {other}: fingerprint {7:064x}, but {0:064x} in run {run.path}"
    assert (done.exit_code, done.output.splitlines()[-1]) == (1, f"Error: {expected}")


def test_resuming_a_missing_run_is_rejected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_command("--resume", "--smoke")
    assert done.output == "Error: no run of stacked-256-smoke in runs to resume: name its folder with --out\n"
    done = run_command("--resume", "--out", "runs/x")
    assert done.output == "Error: no run in runs/x (no config.json): 'python -m model.train --out runs/x' makes one\n"


def test_runs_are_numbered(tmp_path):
    chosen = tiny_settings()
    assert runs.create_path(chosen, smoke=False, root=tmp_path).name == "stacked-256-1"
    for name in ("stacked-256-9", "stacked-256-10", "stacked-256-smoke-3"):
        (tmp_path / name).mkdir()
    assert runs.newest_path(chosen, smoke=False, root=tmp_path).name == "stacked-256-10"
    assert runs.newest_path(chosen, smoke=True, root=tmp_path).name == "stacked-256-smoke-3"
    assert runs.create_path(chosen, smoke=False, root=tmp_path).name == "stacked-256-11"
    with pytest.raises(MissingError):
        runs.newest_path(presets.load("best"), smoke=True, root=tmp_path)


def test_runs_that_start_at_once_have_folders_of_their_own(tmp_path):
    chosen = tiny_settings()
    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(lambda _: runs.create_path(chosen, smoke=False, root=tmp_path / "runs"), range(64)))
    assert len(set(paths)) == 64


def test_unknown_backend_is_rejected(tmp_path):
    command = [sys.executable, "-m", "model.train", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={"KERAS_BACKEND": "theano"})
    expected = "Error: KERAS_BACKEND is 'theano', expected one of tensorflow, jax, torch\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_run_of_another_format_is_rejected(tmp_path):
    (tmp_path / "config.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match=rf"^{tmp_path}/config.json: format 99, expected 1$"):
        runs.open_run(tmp_path)


@pytest.fixture(scope="module")
def learned(tiny_data_dir, tmp_path_factory):
    """A run of the command, and its output."""
    folder = tmp_path_factory.mktemp("learned")
    config = write_config(folder / "config.json", **LEARNING)
    done = run_command("--data-dir", tiny_data_dir, "--config", config, "--out", folder / "run")
    assert done.exit_code == 0, done.output
    return runs.open_run(folder / "run"), done.stdout


def test_small_run_learns_well_separated_classes(learned):
    run, _ = learned
    result = json.loads(run.metrics_json.read_text())["splits"]
    assert result["train"]["macro_f1_present"] > 0.9
    assert result["test"]["macro_f1_present"] > 0.8
    assert sum(one["support"] > 0 for one in result["train"]["classes"]) == LEARNABLE


def test_small_run_learns_nothing_from_shuffled_labels(tmp_path):
    write_dataset(tmp_path, shuffle_labels=True)
    run = train_tiny(tmp_path, tmp_path / "run", **LEARNING)
    result = json.loads(run.metrics_json.read_text())["splits"]
    assert result["train"]["macro_f1_present"] < 0.75
    assert result["test"]["macro_f1_present"] < 0.65


def test_run_folder_records_settings_dataset_and_progress(learned, tiny_dataset):
    run, output = learned
    assert run.settings == tiny_settings(**LEARNING)
    assert run.dataset["fingerprint"] == tiny_dataset.fingerprint
    assert run.dataset["class_names"] == list(CLASS_NAMES)
    assert {"python", "keras", "tensorflow", "tensorflow-datasets", "numpy", "backend"} <= set(run.config["versions"])
    assert run.config["git_commit"] is None or re.fullmatch(r"[0-9a-f]{40}\+?", run.config["git_commit"])
    rows = runs.read_rows(run.metrics_csv)
    assert [int(row["epoch"]) for row in rows] == list(range(1, 9))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert list((run.path / "events").iterdir())
    assert f"dataset {tiny_dataset.path} (SYNTHETIC train 192, dev 48, test 48;" in output
    assert [line[:15] for line in output.splitlines()[-3:]] == [f"{s:5} macro F1 " for s in ("train", "dev", "test")]


def test_best_checkpoint_has_the_lowest_dev_loss(learned):
    run, _ = learned
    rows = runs.read_rows(run.metrics_csv)
    best = min(rows, key=lambda row: float(row["dev_loss"]))
    kept = json.loads(run.metrics_json.read_text())["checkpoint"]
    assert (kept["epoch"], kept["dev_loss"]) == (int(best["epoch"]), float(best["dev_loss"]))


def test_final_metrics_follow_from_the_best_weights(learned, tiny_dataset):
    from model.data.batches import eval_batches
    from model.network import classifier
    from model.scores import metrics

    run, _ = learned
    model = classifier.with_probabilities(runs.load_classifier(run), run.settings, run.schema)
    batches = eval_batches(tiny_dataset, "test", channels=run.settings.channels, batch_size=7)
    counts = metrics.at_threshold(*classifier.predict(model, batches))
    saved = json.loads(run.metrics_json.read_text())["splits"]["test"]
    assert [one["true_positives"] for one in saved["classes"]] == counts.true_positives.tolist()
    assert saved["macro_f1"] == counts.macro_f1


def test_tensorboard_events_hold_the_losses(learned):
    from tensorflow.core.util import event_pb2
    from tensorflow.python.lib.io import tf_record

    run, _ = learned
    (path,) = (run.path / "events").iterdir()
    found = {}
    for record in tf_record.tf_record_iterator(str(path)):
        event = event_pb2.Event.FromString(record)
        for value in event.summary.value:
            if value.tag == "loss":
                found[event.step] = np.frombuffer(value.tensor.tensor_content, np.float32)[0]
    expected = {int(row["step"]): float(row["loss"]) for row in runs.read_rows(run.steps_csv)}
    assert found == pytest.approx(expected)


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path, tiny_dataset):
    from model.training import loop

    run = runs.create(tmp_path / "run", tiny_settings(batch_size=9), tiny_dataset, {})
    with pytest.raises(InputError, match=r"^a batch of 9 cannot be shared by 2 devices$"):
        loop.prepare(run, tiny_dataset, 2, print)


def test_accumulation_on_several_devices_of_tensorflow_is_refused(tmp_path, tiny_dataset):
    from model.training import loop

    run = runs.create(tmp_path / "run", tiny_settings(accumulate=2), tiny_dataset, {})
    message = "^accumulate is 2: TensorFlow cannot accumulate gradients on 2 devices; set it to 1, or choose KERAS_BACKEND=jax$"
    with pytest.raises(InputError, match=message):
        loop.prepare(run, tiny_dataset, 2, print)


def test_a_checkpoint_that_does_not_exist_is_named(tmp_path):
    from model.training import checkpoints

    with pytest.raises(MissingError, match=f"^no checkpoint {tmp_path}/last.npz: nothing to resume$"):
        checkpoints.restore(tmp_path / "last.npz", None)
