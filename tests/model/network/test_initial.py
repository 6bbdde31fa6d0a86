"""A run starts from the best weights of another one."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from model import backend, runs
from model.train import main
from pipeline.errors import InputError, MissingError
from tests.support.datasets import NUCLEI, tiny_settings

backend.start()

from model.network import classifier, initial  # noqa: E402


def started(path, tmp_path, **values):
    """The weights by layer of a classifier that starts from the run in `path`, and the run that it belongs to."""
    source = runs.open_run(path)
    settings = dataclasses.replace(source.settings, **values)
    origin, with_output = initial.origin_of(path, settings, source.schema)
    run = dataclasses.replace(source, path=tmp_path, settings=settings, config={"init_from": origin})
    model = classifier.build(settings, run.mean, run.std, run.schema)
    initial.load(run, model)
    return {layer.name: layer.get_weights() for layer in classifier.body(model).layers if layer.weights}, with_output


@pytest.fixture(scope="module")
def best(trained):
    model = runs.load_classifier(runs.open_run(trained))
    return {layer.name: layer.get_weights() for layer in classifier.body(model).layers if layer.weights}


def equal(some, others):
    return {name for name in some if all(np.array_equal(a, b) for a, b in zip(some[name], others[name], strict=True))}


def test_all_weights_are_those_of_the_other_run(trained, best, tmp_path):
    weights, with_output = started(trained, tmp_path, seed=5, dropout=0.2)
    assert with_output
    assert equal(weights, best) == set(best)


def test_the_output_layer_is_left_out_where_pooling_or_classes_differ(trained, best, tmp_path):
    weights, with_output = started(trained, tmp_path, pooling="avg-max")
    assert not with_output
    assert weights.keys() == best.keys()
    assert [name for name in best if weights[name][0].shape != best[name][0].shape] == ["logits"]
    del weights["logits"]
    assert equal(weights, best) == set(weights)
    assert not initial.origin_of(trained, runs.open_run(trained).settings, NUCLEI)[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"channels": ("green", "red", "blue", "yellow")},
            "channels red, green, blue, yellow, but green, red, .* here",
        ),
        ({"width": 16}, "width 8, but 16 here: both must be the same$"),
        ({"blocks": (3, 4, 6, 3), "width": 64, "backbone": "densenet-121"}, "backbone resnet, but densenet-121 here"),
    ],
)
def test_a_run_of_other_channels_or_another_network_is_refused(trained, values, message):
    source = runs.open_run(trained)
    with pytest.raises(InputError, match=rf"^--init-from {trained}: {message}"):
        initial.origin_of(trained, dataclasses.replace(source.settings, **values), source.schema)


def test_a_run_without_weights_is_refused(run_copy):
    run = runs.open_run(run_copy)
    run.best.unlink()
    with pytest.raises(
        MissingError, match=rf"^--init-from {run_copy}: no epoch of it was finished, so it has no weights$"
    ):
        initial.origin_of(run_copy, run.settings, run.schema)


def train(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_records_the_run_that_it_started_from(trained, tiny_data_dir, tmp_path):
    config = tmp_path / "config.json"
    values = tiny_settings(blocks=(1,), epochs=1, learning_rate=1e-9, weights="imagenet").to_json()
    config.write_text(json.dumps({name: value for name, value in values.items() if name != "preset"}))
    options = ["--data-dir", tiny_data_dir, "--config", config, "--out", tmp_path / "run"]
    done = train(*options, "--init-from", trained)
    assert done.exit_code == 0, done.output
    assert f"starting from {trained}\n" in done.output
    run = runs.open_run(tmp_path / "run")
    assert run.config["init_from"] == {
        "path": str(trained), "dataset_fingerprint": runs.open_run(trained).dataset["fingerprint"]
    }  # fmt: skip
    assert run.settings.weights is None
    kernels = [
        classifier.body(runs.load_classifier(r)).get_layer("conv1_conv").get_weights()[0]
        for r in (run, runs.open_run(trained))
    ]
    np.testing.assert_allclose(*kernels, atol=1e-6)  # at this learning rate, they stay where they started
    done = train(*options, "--init-from", trained, "--resume")
    assert (done.exit_code, done.output) == (1, "Error: --init-from starts another run: leave it out to resume one\n")
