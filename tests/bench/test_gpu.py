"""`make gpu` runs small on any device: our pipeline, a batch on the device, and what is not installed."""

import json

import pytest
from click.testing import CliRunner

from bench import measure
from bench.gpu import __main__ as command
from bench.gpu import contenders
from tests.support.datasets import Shape, write_dataset


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> contenders.Work:
    data_dir = tmp_path_factory.mktemp("gpu")
    write_dataset(data_dir, Shape(train=16, dev=4, test=4))
    values = {"size": 32, "width": 4, "blocks": (1,), "batch_size": 4, "steps": 4, "warmup": 2, "precision": "float32"}
    return contenders.Work(str(data_dir), **values)


def test_our_pipeline_and_a_batch_on_the_device_are_timed(work, monkeypatch):
    from model import backend

    backend.start()
    import keras

    before = keras.config.dtype_policy()
    for train in (contenders.fit, contenders.device_fed):
        figures = train(work)
        assert figures["images_per_second"] == pytest.approx(4 * 1000 / figures["step_ms"])
        assert figures["step_ms"] > 0 <= figures["waiting"] < 1
    keras.config.set_dtype_policy(before)
    found = contenders.describe()
    assert "tensorflow on " in found["device"]
    assert found["versions"]["backend"] == "tensorflow"
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RuntimeError, match="^device-fed: expected KERAS_BACKEND tensorflow or jax, found torch$"):
        contenders.device_fed(work)


def test_too_few_examples_for_a_batch_are_refused(work):
    import dataclasses

    with pytest.raises(RuntimeError, match=r"less than one batch of 32; raise --num$"):
        contenders.fit(dataclasses.replace(work, batch_size=32))


def test_the_command_writes_what_it_measured_and_what_is_missing(tmp_path, monkeypatch):
    ran = []

    def run(arguments, **_):
        ran.append(arguments[arguments.index("-m") + 1 :])
        if "torchvision" in arguments:
            raise RuntimeError("exit code 1, expected 0:\nModuleNotFoundError: No module named 'torch'")
        rate = {"fit": 90.0, "device-fed": 100.0}.get(arguments[3])
        figures = {"images_per_second": rate, "step_ms": 4000 / rate, "waiting": 0.05} if rate else None
        described = {"device": "jax on 1 GPU: a fast one", "versions": {"keras": "3"}}
        return measure.Run(1.0, 1.0, 1.0, json.dumps(figures or described))

    monkeypatch.setattr(measure, "run", run)
    arguments = ["--out", tmp_path / "gpu.json", "--rounds", 2, "--batch-size", 4, "--steps", 5, "--size", 64]
    for name in ("fit", "device-fed", "torchvision"):
        arguments += ["--only", name]
    done = CliRunner().invoke(command.main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert result["contenders"]["fit"]["images_per_second"] == [90.0, 90.0]
    assert result["contenders"]["torchvision"] == {"failed": "ModuleNotFoundError: No module named 'torch'"}
    assert (result["device"], result["work"]["batch_size"]) == ("jax on 1 GPU: a fast one", 4)
    assert {"keras", "tensorflow"} <= set(result["versions"])
    assert next(line for line in done.output.splitlines() if line.startswith("fit ")).split()[1:] == [
        "90.0", "44.4", "5.0%", "90.0%",
    ]  # fmt: skip
    data_dir = json.loads(ran[-1][-1])["data_dir"]
    assert ran[0] == ["pipeline", "sample", str(tmp_path / "gpu-sample-4096"), "--num", "4096", "--balanced"]
    assert ran[1][-4:] == ["--data-dir", data_dir, "--size", "64"]
