"""The work of a cross-validation: what is run, what is skipped, and what stops it. Commands are recorded, not run."""

import dataclasses
import itertools
import json
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from model import cells, presets, settings
from model.folds import work
from model.folds.plan import GROUPED, RANDOM, Fold, Plan
from pipeline import threads
from pipeline.errors import InputError, MissingError
from pipeline.schema import HPA_KAGGLE_2018, load
from tests.support.datasets import NUCLEI, Shape, tiny_settings, write_dataset


@pytest.fixture
def plan(tmp_path) -> Plan:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/cells.csv").write_text("id,phenotype,plate\n")
    return Plan(tmp_path / "source", NUCLEI, tmp_path / "out", 32, 2, "cells", {"blocks": [1], "width": 8}, 640, 3)


class Recorded(work.Processes):
    """Notes commands; a build writes a dataset, a training its settings and scores, an evaluation its results."""

    commands: list[list[str]]

    def run(self, what, command, log):
        arguments = [str(argument) for argument in command]
        vars(self).setdefault("commands", []).append(arguments)
        options = dict(itertools.pairwise(arguments))
        if "shards" in arguments:
            write_dataset(Path(options["--data-dir"]), Shape(train=64, dev=8, test=8, num_shards=1), schema=NUCLEI)
        if "model.train" in arguments:
            path = Path(options["--out"])
            path.mkdir(parents=True, exist_ok=True)
            (path / "metrics.json").write_text("{}")
            (path / "trained").write_text(options.get("--config", "resumed"))
        if "model.evaluate" in arguments:
            (Path(options["model.evaluate"]) / "evaluated").touch()


@pytest.fixture
def recorded(monkeypatch) -> Recorded:
    found = Recorded({})
    monkeypatch.setattr(work, "Processes", lambda environment: found)
    monkeypatch.setattr(work, "is_finished", lambda fold: (fold.run / "evaluated").exists())
    scores = {"splits": {"test": {"rules": {"highest": {"macro_f1": 0.5}}}}}
    monkeypatch.setattr(work.evaluation, "load", lambda path: scores)
    return found


def kinds(recorded: Recorded) -> list[str]:
    names = ("split", "shards", "model.train", "model.evaluate")
    return [next(name for name in names if name in command) for command in recorded.commands]


def test_a_fold_is_split_built_trained_and_evaluated_and_then_skipped(plan, recorded):
    lines = []
    folds = [fold for fold in plan.folds() if fold.number == 1]
    work.run(plan, folds, 1, lines.append)
    assert kinds(recorded) == ["split", "shards"] * 2 + ["model.train", "model.evaluate"] * 2
    assert [line.partition(":")[0] for line in lines] == ["[1/2] grouped-1-of-2", "[2/2] random-1-of-2"]
    build = recorded.commands[1]
    assert build[build.index("--keep") + 1] == str(plan.out / "splits/grouped-2/fold-1.csv")
    recorded.commands.clear()
    work.run(plan, folds, 1, lines.append)
    assert recorded.commands == []


def test_folds_at_random_have_a_schema_without_groups(plan, recorded):
    work.run(plan, plan.folds()[:2], 1, lambda line: None)
    schemas = {scheme: load(str(plan.out / f"schema-{scheme}.toml")) for scheme in (GROUPED, RANDOM)}
    assert schemas[GROUPED].table.groups == ("plate",)
    assert schemas[RANDOM].table.groups == ()
    assert dataclasses.replace(schemas[RANDOM], table=schemas[GROUPED].table) == schemas[GROUPED]


def test_a_training_that_was_stopped_is_resumed(plan, recorded):
    fold = plan.folds()[0]
    work.prepare(plan, fold, recorded)
    fold.run.mkdir()
    (fold.run / "config.json").write_text("{}")
    work.train(fold, recorded)
    assert (fold.run / "trained").read_text() == "resumed"
    assert "--resume" in recorded.commands[-2]


def test_the_number_of_epochs_is_the_one_nearest_to_the_budget(plan, recorded):
    fold = plan.folds()[0]
    work.prepare(dataclasses.replace(plan, values={**plan.values, "oversample": 0.0}), fold, recorded)
    written = json.loads(fold.config.read_text())
    assert (written["epochs"], written["seed"], written["size"], written["width"]) == (10, 3, 32, 8)
    work.prepare(plan, Fold(plan.out, RANDOM, 0, 2), recorded)
    balanced = json.loads((plan.out / "random-0-of-2.json").read_text())
    assert balanced["epochs"] < 10  # four classes of a quarter each are shown twice as often


def test_a_fold_trained_with_other_settings_is_refused(plan, recorded, monkeypatch):
    fold = plan.folds()[0]
    work.prepare(plan, fold, recorded)
    fold.run.mkdir()
    (fold.run / "config.json").write_text("{}")
    old = settings.override(work.fitted(plan, fold), {"learning_rate": 0.5}, "test")
    monkeypatch.setattr(work.runs, "open_run", lambda path: type("Run", (), {"settings": old}))
    message = r"grouped-0-of-2 was trained with other settings: learning_rate 0.002 \(was 0.5\); --out with a new"
    with pytest.raises(InputError, match=message):
        work.check_settings(plan, fold)


def test_a_source_without_its_table_is_refused(plan, tmp_path):
    (tmp_path / "source/cells.csv").unlink()
    with pytest.raises(MissingError, match=r"cells.csv does not exist: --source is the folder of the label table"):
        work.run(plan, plan.folds(), 1, lambda line: None)


def test_several_labels_or_no_groups_are_refused(plan):
    message = 'expected labels = "single" and group columns, found several labels and groups = '
    with pytest.raises(InputError, match=message):
        dataclasses.replace(plan, schema=HPA_KAGGLE_2018)


def test_what_is_running_ends_when_another_fold_fails(tmp_path):
    processes, command = work.Processes({}), ["-c", "import time; time.sleep(60)"]
    with pytest.raises(InputError, match="^failed$"), processes.pool(2) as pool:
        slow = [pool.submit(processes.run, "slow", command, tmp_path / f"{number}.log") for number in range(4)]
        while not processes.running:
            time.sleep(0.001)
        raise InputError("failed")
    assert all(future.cancelled() or future.exception() for future in slow)
    assert any(future.cancelled() for future in slow)
    assert not processes.running


def test_each_process_gets_its_part_of_the_cores(monkeypatch):
    monkeypatch.setattr(threads, "num_cores", lambda: 8)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert work.environment(4)["TF_NUM_INTRAOP_THREADS"] == "2"
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    assert work.environment(4)["TF_NUM_INTRAOP_THREADS"] == "5"


def test_the_preset_of_single_cells_balances_classes():
    loaded = presets.load("cells")
    assert (loaded.preset, loaded.oversample, loaded.optimizer) == ("cells", 1.0, "adamw")
    assert loaded.width == presets.load("any").width
    assert tiny_settings("cells").oversample == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fold", 7), "--fold 7: expected numbers from 0 to 4"),
        (("--schema", "nothing.toml"), "nothing.toml"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(tmp_path, options, message):
    schema = tmp_path / "nuclei.toml"
    from pipeline.schema import write

    schema.write_text(write.to_toml(NUCLEI))
    arguments = ["--source", tmp_path, "--schema", schema, "--out", tmp_path / "out", *options]
    done = CliRunner().invoke(cells.main, [str(argument) for argument in arguments])
    assert done.exit_code == 1
    assert message in done.output


def test_help_is_fast():
    import subprocess

    code = "import sys, model.cells; print({'keras', 'tensorflow', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "keras" not in done.stdout
