"""A published dataset is checked when it is opened."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from model.data import card
from model.data.batches import eval_batches, read_labels
from model.data.dataset import (
    check_batch_size,
    check_compatible,
    check_present,
    check_same,
    check_splits,
    find,
    open_dataset,
    open_version,
)
from pipeline.errors import InputError, MissingError
from pipeline.schema import HPA_KAGGLE_2018, SPLITS
from tests.support.datasets import NUCLEI, PAINTING, Shape, draw_examples, write_dataset
from tests.support.hpa import CLASS_NAMES

SMALL = Shape(size=8, train=4, dev=2, test=2, num_shards=1)


def test_a_batch_larger_than_train_is_refused(tiny_dataset):
    message = r"^a batch of 193 is larger than train \(192 examples\): --batch-size 192 or less$"
    with pytest.raises(InputError, match=message):
        check_batch_size(tiny_dataset, 193)
    check_batch_size(tiny_dataset, 192)


def test_a_missing_dataset_is_refused_with_how_to_build_one(tmp_path, tiny_data_dir):
    builds = "'python -m pipeline shards --source DIR' builds one, --data-dir names another place"
    message = f"no dataset hpa_stacked/256 in {tmp_path}: {builds}"
    with pytest.raises(MissingError) as caught:
        open_dataset(tmp_path, 256)
    assert str(caught.value) == message
    message = r"hpa_stacked/128 in .* \(it holds 32: add --size 32\): 'python -m pipeline shards --source DIR --size 128' builds"
    with pytest.raises(MissingError, match=message):
        open_dataset(tiny_data_dir, 128)


@pytest.mark.parametrize(
    ("metadata", "size", "message"),
    [
        (
            {"channels": ["blue", "green", "red", "yellow"]},
            8,
            r"channels blue, green, red, yellow, expected red, green, blue, yellow$",
        ),
        ({"class_names": CLASS_NAMES[:27]}, 8, r"27 classes, expected 28$"),
        ({"class_names": ["A", *CLASS_NAMES[1:]]}, 8, r"class 0 is 'A' in its metadata, 'Nucleoplasm' in its schema$"),
        ({"schema": {"name": "x"}}, 8, r"the schema in its metadata cannot be read: not a schema: 'channels'$"),
        ({}, 16, r"images of shape \(8, 8, 4\), expected \(16, 16, 4\)$"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused(tmp_path, metadata, size, message):
    path = write_dataset(tmp_path, SMALL, metadata=metadata)
    with pytest.raises(InputError, match=rf"^dataset {path}: {message}"):
        open_version(path, size)


@pytest.mark.parametrize(
    ("written", "claimed", "message"),
    [
        (HPA_KAGGLE_2018, {"depth": "uint16"}, "images of type uint8, expected uint16"),
        (HPA_KAGGLE_2018, {"single_label": True}, "no feature 'label', which schema 'hpa_kaggle_2018' has"),
        (NUCLEI, {"classes": (*NUCLEI.classes, "folded")}, "5 names of classes, expected 6"),
        (NUCLEI, {"classes": (*NUCLEI.classes[:4], "folded")}, "class 4 is 'hole' in its features, 'folded' in its"),
    ],
)
def test_records_of_another_form_than_the_schema_says_are_refused(tmp_path, written, claimed, message):
    schema = dataclasses.replace(written, **claimed)
    metadata = {"schema": schema.to_dict(), "class_names": list(schema.classes)}
    path = write_dataset(tmp_path, SMALL, schema=written, metadata=metadata)
    with pytest.raises(InputError, match=rf"^dataset {path}: {message}"):
        open_version(path)


def test_a_dataset_of_version_1_0_0_is_that_of_the_default_schema_and_read_alike(tmp_path):
    old, new = (open_version(write_dataset(tmp_path, SMALL, version=version)) for version in ("1.0.0", "1.1.0"))
    assert (old.schema, old.has_label_vectors, new.has_label_vectors) == (HPA_KAGGLE_2018, False, True)
    assert open_dataset(tmp_path, 8) == new
    for split in SPLITS:
        for batch, expected in zip(*(_all(dataset, split) for dataset in (old, new)), strict=True):
            for values, others in zip(batch, expected, strict=True):
                np.testing.assert_array_equal(values, others)


def _all(dataset, split):
    return list(eval_batches(dataset, split, channels=dataset.channels, batch_size=3).as_numpy_iterator())


@pytest.mark.parametrize("schema", [NUCLEI, PAINTING])
def test_images_and_labels_of_any_schema_are_those_written(tmp_path, schema):
    dataset = open_version(write_dataset(tmp_path, SMALL, schema=schema))
    assert (dataset.schema, dataset.channels) == (schema, schema.channel_names)
    (batch,) = eval_batches(dataset, "train", channels=dataset.channels, batch_size=4).as_numpy_iterator()
    drawn = draw_examples(4, 8, 0, "synthetic-train", schema)
    assert batch.images.dtype == schema.dtype
    np.testing.assert_array_equal(batch.images, [image for _, image, _ in drawn])
    assert [np.flatnonzero(vector).tolist() for vector in batch.label_vectors] == [labels for _, _, labels in drawn]
    np.testing.assert_array_equal(read_labels(dataset, "train"), batch.label_vectors)


def test_the_only_dataset_of_a_size_is_found_else_the_default_one(tmp_path):
    nuclei = write_dataset(tmp_path, SMALL, schema=NUCLEI)
    assert find(tmp_path, 8) == find(tmp_path, 0) == find(tmp_path, 0, "nuclei") == nuclei
    default = write_dataset(tmp_path, SMALL)
    assert find(tmp_path, 8) == default
    assert find(tmp_path, 8, "nuclei") == nuclei
    painting = write_dataset(tmp_path, dataclasses.replace(SMALL, size=16), schema=PAINTING)
    assert find(tmp_path, 16) == painting
    message = rf"^{tmp_path} holds several datasets, 8, nuclei-8, painting-16: choose one with --schema NAME and --size"
    shutil.rmtree(default)
    with pytest.raises(InputError, match=message.replace(" 8, nuclei-8", " nuclei-8")):
        find(tmp_path, 0)


def test_a_missing_schema_is_refused_with_those_that_exist(tmp_path):
    write_dataset(tmp_path, SMALL, schema=NUCLEI)
    with pytest.raises(MissingError) as caught:
        find(tmp_path, 16, "painting")
    assert str(caught.value) == (
        f"no dataset hpa_stacked/painting-16 in {tmp_path} (it holds nuclei-8: add --schema nuclei --size 8): "
        "'python -m pipeline shards --source DIR --schema painting --size 16' builds one, --data-dir names another place"
    )


def test_another_schema_than_the_runs_is_refused(tmp_path):
    nuclei, painting = (open_version(write_dataset(tmp_path, SMALL, schema=schema)) for schema in (NUCLEI, PAINTING))
    message = rf"^dataset {nuclei.path}: schema 'nuclei', but 'painting' in run runs/x$"
    with pytest.raises(InputError, match=message):
        check_same(nuclei, painting.to_json(), "runs/x")
    renamed = dataclasses.replace(nuclei, schema=dataclasses.replace(NUCLEI, name="cells"))
    check_compatible(renamed, nuclei.to_json(), "runs/x")
    several = dataclasses.replace(nuclei, schema=dataclasses.replace(NUCLEI, single_label=False))
    with pytest.raises(InputError, match=r"single-label False, but True in run runs/x$"):
        check_compatible(several, nuclei.to_json(), "runs/x")


def test_label_vectors_of_another_length_are_an_error(tmp_path):
    import tensorflow as tf

    path = write_dataset(tmp_path, SMALL, schema=NUCLEI)
    dataset = open_version(path)
    (shard,) = path.glob("*train*")
    record = tf.train.Example.FromString(next(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()))
    record.features.feature["label_vector"].bytes_list.value[0] = bytes(10)
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for _ in range(4):
            writer.write(record.SerializeToString())
    with pytest.raises(tf.errors.InvalidArgumentError):
        read_labels(dataset, "train")


def test_examples_of_a_group_column_are_in_groups(tmp_path):
    path = write_dataset(tmp_path, SMALL, schema=NUCLEI)
    (path / "columns.csv").write_text("Id,plate\na,P1\nb,P2\nc,P1\n")
    assert card.read_groups(open_version(path)) == {"a": "P1", "b": "P2", "c": "P1"}
    (path / "groups.csv").write_text("Id,Group\nb,g\nc,g\n")
    assert card.read_groups(open_version(path)) == {"a": "a", "b": "a", "c": "a"}


def test_class_names_that_contradict_one_another_are_refused(tmp_path):
    path = write_dataset(tmp_path, SMALL)
    metadata = json.loads((path / "metadata.json").read_text())
    metadata["class_names"][3] = metadata["schema"]["classes"][3] = "Nucleolus"
    (path / "metadata.json").write_text(json.dumps(metadata))
    message = "class 3 is 'Nucleoli fibrillar center' in its features, 'Nucleolus' in its metadata"
    with pytest.raises(InputError, match=rf"^dataset {path}: {message}$"):
        open_version(path)


def test_a_dataset_without_moments_is_refused(tmp_path):
    path = write_dataset(tmp_path, SMALL)
    metadata = json.loads((path / "metadata.json").read_text())
    del metadata["mean"]
    (path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(
        InputError, match=rf"^dataset {path}: no mean in its metadata; build it with 'python -m pipeline shards'$"
    ):
        open_version(path)


def test_a_dataset_of_another_file_format_is_refused(tmp_path):
    path = write_dataset(tmp_path, SMALL)
    info = json.loads((path / "dataset_info.json").read_text())
    (path / "dataset_info.json").write_text(json.dumps({**info, "fileFormat": "array_record"}))
    message = "its shards are array_record, but the trainer reads tfrecord: build it with --file-format tfrecord"
    with pytest.raises(InputError, match=rf"^dataset {path}: {message}$"):
        open_version(path)


def test_another_dataset_than_the_runs_is_refused(tmp_path, tiny_dataset):
    saved = {**tiny_dataset.to_json(), "fingerprint": "f00"}
    message = f"dataset {tiny_dataset.path}: fingerprint {tiny_dataset.fingerprint}, but f00 in run runs/x"
    with pytest.raises(InputError) as caught:
        check_same(tiny_dataset, saved, "runs/x")
    assert str(caught.value) == message
    saved["class_names"] = ["Nucleus", *saved["class_names"][1:]]
    with pytest.raises(InputError, match="class 0 is 'Nucleoplasm', but 'Nucleus' in run runs/x$"):
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
