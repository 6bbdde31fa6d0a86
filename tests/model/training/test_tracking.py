"""A tracker gets settings, epochs and scores; without one nothing is imported, and a failing one stops no training."""

import builtins
import json
import re
import shutil
import sys
import types

import pytest
from click.testing import CliRunner

from model import runs
from model.train import main
from model.training import tracking
from pipeline.console import extras
from pipeline.errors import InputError, StoppedError
from tests.support.datasets import tiny_settings

ROW = {"epoch": 1, "step": 12, "loss": 0.5, "dev_loss": 0.25}
SCORES = {"splits": {"test": {"num_examples": 48, "macro_f1": 0.75, "classes": []}}}


class StubMLflow(types.ModuleType):
    """MLflow's client, which keeps what it is given."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.params, self.metrics, self.ended, self.num_runs, self.fails = {}, [], [], 0, False
        self.entities = types.SimpleNamespace(Param=lambda *item: item, Metric=lambda k, v, t, step: (step, k, v))
        self.MlflowClient = lambda: self

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        assert name == "hpa_stacked"
        return "7"

    def create_run(self, experiment, run_name):
        self.num_runs += 1
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=f"{experiment}-{run_name}"))

    def update_run(self, run_id, status):
        assert run_id.startswith("7-")

    def log_batch(self, run_id, params=(), metrics=()):
        if self.fails:
            raise ConnectionError("no route to the server")
        self.params |= dict(params)
        self.metrics += metrics

    def set_terminated(self, run_id, status):
        self.ended.append(status)


class StubWandb(types.ModuleType):
    """Weights & Biases, which keeps what it is given; `online` is whether its server can be reached."""

    def __init__(self, *, login: bool, online: bool) -> None:
        super().__init__("wandb")
        self.started, self.logged, self.codes = [], [], []
        self._login, self._online = login, online

    def login(self, prompt):
        assert not prompt
        return self._login

    def init(self, **arguments):
        if arguments["mode"] == "online" and not self._online:
            raise ConnectionError("the server cannot be reached")
        self.started.append(arguments)
        return types.SimpleNamespace(
            log=lambda values, step: self.logged.append((step, values)),
            finish=lambda exit_code: self.codes.append(exit_code),
        )


@pytest.fixture
def mlflow(monkeypatch) -> StubMLflow:
    stub = StubMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", stub)
    return stub


def use_wandb(monkeypatch, *, login: bool, online: bool) -> StubWandb:
    stub = StubWandb(login=login, online=online)
    monkeypatch.setitem(sys.modules, "wandb", stub)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return stub


def test_a_training_reports_settings_epochs_and_scores(tmp_path, tiny_data_dir, mlflow):
    values = tiny_settings(blocks=(1,), epochs=2).to_json()
    del values["preset"], values["channels"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    arguments = ["--data-dir", tiny_data_dir, "--config", tmp_path / "config.json", "--out", tmp_path / "run"]
    done = CliRunner().invoke(main, [*map(str, arguments), "--track", "mlflow"])
    assert done.exit_code == 0, done.output
    run = runs.open_run(tmp_path / "run")
    assert (mlflow.params["width"], mlflow.params["dataset/fingerprint"]) == ("8", run.dataset["fingerprint"])
    rows = runs.read_rows(run.metrics_csv)
    logged = {(step, name): value for step, name, value in mlflow.metrics}
    assert [logged[int(row["step"]), "dev_loss"] for row in rows] == [float(row["dev_loss"]) for row in rows]
    test = json.loads(run.metrics_json.read_text())["splits"]["test"]
    assert logged[int(rows[-1]["step"]), "test/macro_f1"] == test["macro_f1"]
    assert mlflow.ended == ["FINISHED"]


def test_a_resumed_run_continues_its_run_in_the_tracker(run_copy, mlflow):
    run = runs.open_run(run_copy)
    with pytest.raises(StoppedError), tracking.tracked("mlflow", run, print) as reported:
        reported.epoch(ROW)
        raise StoppedError("stopped")
    with tracking.tracked("mlflow", run, print) as reported:
        reported.scores(SCORES)
    last = int(runs.read_rows(run.metrics_csv)[-1]["step"])
    assert (mlflow.num_runs, mlflow.ended) == (1, ["KILLED", "FINISHED"])
    assert mlflow.metrics[-2:] == [(last, "test/num_examples", 48.0), (last, "test/macro_f1", 0.75)]
    assert [(step, value) for step, name, value in mlflow.metrics if name == "dev_loss"] == [(12, 0.25)]


def test_a_tracker_that_fails_stops_no_training(run_copy, mlflow):
    lines = []
    with tracking.tracked("mlflow", runs.open_run(run_copy), lines.append) as reported:
        mlflow.fails = True
        reported.epoch(ROW)
        reported.epoch(ROW)
    assert lines == ["tracking stopped, training goes on: no route to the server"]


@pytest.mark.parametrize(("login", "online", "mode"), [(True, True, "online"), (False, True, "offline")])
def test_wandb_is_online_with_a_login_only(run_copy, monkeypatch, login, online, mode):
    stub = use_wandb(monkeypatch, login=login, online=online)
    with tracking.tracked("wandb", runs.open_run(run_copy), print) as reported:
        reported.epoch(ROW)
    assert [(one["mode"], one["project"], one["config"]["width"]) for one in stub.started] == [(mode, "hpa_stacked", 8)]
    assert stub.logged == [(12, {"epoch": 1.0, "step": 12.0, "loss": 0.5, "dev_loss": 0.25})]
    assert stub.codes == [0]
    assert json.loads((run_copy / "tracking.json").read_text()) == {"wandb": stub.started[0]["id"]}


def test_wandb_without_a_network_writes_its_files(run_copy, monkeypatch):
    stub, lines = use_wandb(monkeypatch, login=True, online=False), []
    with pytest.raises(ZeroDivisionError), tracking.tracked("wandb", runs.open_run(run_copy), lines.append):
        raise ZeroDivisionError
    assert [one["mode"] for one in stub.started] == ["offline"]
    assert lines == ["wandb cannot be reached, offline instead: the server cannot be reached"]
    assert stub.codes == [1]


def test_without_a_tracker_none_is_imported(run_copy, monkeypatch):
    imported, original = [], builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: imported.append(name) or original(name, *rest))
    with tracking.tracked(None, runs.open_run(run_copy), print) as reported:
        reported.epoch(ROW)
        reported.scores(SCORES)
    assert not {"mlflow", "wandb"} & set(imported)
    assert not (run_copy / "tracking.json").exists()


# Bad input


def test_a_tracker_that_is_not_installed_is_named(run_copy, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    expected = f"^--track wandb: it is not installed: {re.escape(extras.install('wandb'))}$"
    with (
        pytest.raises(InputError, match=expected),
        tracking.tracked("wandb", runs.open_run(run_copy), print),
    ):
        pass


def test_a_tracker_that_does_not_start_is_named(run_copy, mlflow):
    mlflow.fails = True
    with (
        pytest.raises(
            InputError,
            match=r"^--track mlflow: it does not start \(no route to the server\); check its environment variables, or "
            r"leave --track out$",
        ),
        tracking.tracked("mlflow", runs.open_run(run_copy), print),
    ):
        pass


# The real ones


def test_mlflow_itself_keeps_what_it_is_given(run_copy, tmp_path, monkeypatch):
    module = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs a minute to set up its tables
    module.set_tracking_uri((tmp_path / "mlruns").as_uri())
    with tracking.tracked("mlflow", runs.open_run(run_copy), print) as reported:
        reported.epoch(ROW)
        reported.scores(SCORES)
    number = json.loads((run_copy / "tracking.json").read_text())["mlflow"]
    kept = module.MlflowClient().get_run(number)
    assert (kept.info.status, kept.data.params["width"]) == ("FINISHED", "8")
    assert (kept.data.metrics["dev_loss"], kept.data.metrics["test/macro_f1"]) == (0.25, 0.75)


def test_wandb_itself_works_offline(run_copy, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with tracking.tracked("wandb", runs.open_run(run_copy), print) as reported:
        reported.epoch(ROW)
    number = json.loads((run_copy / "tracking.json").read_text())["wandb"]
    assert list((run_copy / "wandb").glob(f"offline-run-*-{number}/*.wandb"))
    shutil.rmtree(run_copy / "wandb")
