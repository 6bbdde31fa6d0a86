"""A published dataset is checked when it is opened."""

import pytest

from model.data.dataset import check_batch_size, check_present, check_same, check_splits, open_dataset, open_version
from pipeline.errors import InputError, MissingError
from tests.support.datasets import Shape, write_dataset

SMALL = Shape(size=8, train=4, dev=2, test=2, num_shards=1)


def test_a_batch_larger_than_train_is_refused(tiny_dataset):
    message = r"^a batch of 193 is larger than train \(192 examples\): --batch-size 192 or less$"
    with pytest.raises(InputError, match=message):
        check_batch_size(tiny_dataset, 193)
    check_batch_size(tiny_dataset, 192)


def test_a_missing_dataset_is_refused_with_how_to_build_one(tmp_path, tiny_data_dir):
    message = f"no dataset hpa_stacked/256 in {tmp_path}: 'make shards' builds one, --data-dir says where another is"
    with pytest.raises(MissingError) as caught:
        open_dataset(tmp_path, 256)
    assert str(caught.value) == message
    with pytest.raises(MissingError, match=r"hpa_stacked/128 in .* \(only size 32\): 'make shards SIZE=128' builds"):
        open_dataset(tiny_data_dir, 128)


@pytest.mark.parametrize(
    ("keywords", "size", "message"),
    [
        (
            {"channels": ["blue", "green", "red", "yellow"]},
            8,
            r"channels blue, green, red, yellow, expected red, green, blue, yellow$",
        ),
        ({"class_names": [f"class {k}" for k in range(27)]}, 8, r"27 classes, expected 28$"),
        ({}, 16, r"images of shape \(8, 8, 4\), expected \(16, 16, 4\)$"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused(tmp_path, keywords, size, message):
    path = write_dataset(tmp_path, SMALL, **keywords)
    with pytest.raises(InputError, match=rf"^dataset {path}: {message}"):
        open_version(path, size)


def test_class_names_that_contradict_one_another_are_refused(tmp_path):
    import json

    path = write_dataset(tmp_path, SMALL)
    metadata = json.loads((path / "metadata.json").read_text())
    metadata["class_names"][3] = "Nucleoli"
    (path / "metadata.json").write_text(json.dumps(metadata))
    message = "class 3 is 'class 3' in its features, 'Nucleoli' in its metadata"
    with pytest.raises(InputError, match=rf"^dataset {path}: {message}$"):
        open_version(path)


def test_a_dataset_without_moments_is_refused(tmp_path):
    import json

    path = write_dataset(tmp_path, SMALL)
    metadata = json.loads((path / "metadata.json").read_text())
    del metadata["mean"]
    (path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=rf"^dataset {path}: no mean in its metadata; build it with 'make shards'$"):
        open_version(path)


def test_another_dataset_than_the_runs_is_refused(tmp_path, tiny_dataset):
    import dataclasses

    saved = {**dataclasses.asdict(tiny_dataset), "fingerprint": "f00"}
    saved = {name: list(value) if isinstance(value, tuple) else value for name, value in saved.items()}
    message = f"dataset {tiny_dataset.path}: fingerprint {tiny_dataset.fingerprint}, but f00 in run runs/x"
    with pytest.raises(InputError) as caught:
        check_same(tiny_dataset, saved, "runs/x")
    assert str(caught.value) == message
    saved["class_names"] = ["Nucleoplasm", *saved["class_names"][1:]]
    with pytest.raises(InputError, match="class 0 is 'class 0', but 'Nucleoplasm' in run runs/x$"):
        check_same(tiny_dataset, saved, "runs/x")


def test_a_dataset_without_dev_is_refused(tmp_path):
    path = write_dataset(tmp_path, Shape(size=8, train=4, dev=0, test=2, num_shards=1))
    with pytest.raises(InputError, match=rf"^dataset {path}: no examples in dev; it has train,test$"):
        check_present(open_version(path), ["dev", "test"])
    with pytest.raises(InputError, match=rf"^dataset {path}: no examples in dev; build it from more examples$"):
        check_splits(open_version(path))


def test_a_split_without_examples_is_named_with_those_that_have_some(tmp_path):
    path = write_dataset(tmp_path, Shape(size=8, train=4, dev=0, test=2, num_shards=1))
    with pytest.raises(InputError, match=rf"^dataset {path}: no examples in dev, extra; it has train,test$"):
        check_present(open_version(path), ("train", "dev", "extra"))
