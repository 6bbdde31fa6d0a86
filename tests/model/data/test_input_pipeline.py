"""Batches are what the shards hold, in an order that depends on seed and epoch alone."""

import collections

import numpy as np
import pytest

from model.data import input_pipeline
from model.data.input_pipeline import Order
from pipeline.errors import InputError, MissingError
from tests.support.datasets import CHANNELS, Shape, draw_examples, write_dataset

SMALL = Shape(size=8, train=4, dev=2, test=2, num_shards=1)


def batches(dataset, order=None, epoch=0, channels=CHANNELS, batch_size=16, **more):
    found = input_pipeline.train_batches(
        dataset, order or Order(seed=1, buffer=64), epoch, channels=channels, batch_size=batch_size, **more
    )
    return list(found.as_numpy_iterator())


def keys(found) -> list[bytes]:
    """One key per image, in order: its pixels."""
    return [image.tobytes() for images, _ in found for image in images]


def test_batches_are_uint8_images_and_label_vectors(tiny_dataset):
    images, labels = batches(tiny_dataset)[0]
    assert (images.dtype, images.shape) == (np.uint8, (16, 32, 32, 4))
    assert (labels.dtype, labels.shape) == (np.float32, (16, 28))


def test_an_epoch_shows_every_example_once_with_its_own_labels(tiny_dataset):
    expected = {image.tobytes(): labels for _, image, labels in draw_examples(192, 32, 0, "synthetic-train")}
    found = {
        image.tobytes(): np.flatnonzero(vector).tolist()
        for images, labels in batches(tiny_dataset)
        for image, vector in zip(images, labels, strict=True)
    }
    assert found == expected


def test_the_order_depends_on_seed_and_epoch_alone(tiny_dataset):
    one = keys(batches(tiny_dataset))
    assert keys(batches(tiny_dataset)) == one
    assert keys(batches(tiny_dataset, epoch=1)) != one
    assert keys(batches(tiny_dataset, Order(seed=2, buffer=64))) != one


@pytest.mark.parametrize("factors", [None, np.linspace(1, 3, 192)])
def test_skipping_batches_leaves_the_rest_as_it_was(tiny_dataset, factors):
    order = Order(seed=3, buffer=50, factors=factors)
    assert keys(batches(tiny_dataset, order, epoch=2, skip=5)) == keys(batches(tiny_dataset, order, epoch=2))[5 * 16 :]


def test_a_record_of_another_size_than_the_metadata_says_is_an_error(tmp_path):
    import tensorflow as tf

    path = write_dataset(tmp_path, SMALL)
    (shard,) = path.glob("*train*")
    record = tf.train.Example.FromString(next(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()))
    record.features.feature["image"].bytes_list.value[0] = b"short"
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for _ in range(4):
            writer.write(record.SerializeToString())
    with pytest.raises(tf.errors.InvalidArgumentError):
        batches(input_pipeline.open_version(path), batch_size=4)


@pytest.mark.parametrize("channels", [["green"], ["green", "blue", "red"], CHANNELS])
def test_channels_come_in_the_order_asked_for(tiny_dataset, channels):
    whole = batches(tiny_dataset)[0][0]
    chosen = batches(tiny_dataset, channels=channels)[0][0]
    assert (chosen == whole[..., [CHANNELS.index(channel) for channel in channels]]).all()


def test_a_rest_smaller_than_a_batch_is_left_for_another_epoch(tiny_dataset):
    order = Order(seed=1, buffer=64)
    found = batches(tiny_dataset, order, batch_size=50)
    assert [len(images) for images, _ in found] == [50, 50, 50]
    assert input_pipeline.num_steps(tiny_dataset, order, 0, 50) == 3


def test_a_limited_epoch_sees_only_the_first_examples(tiny_dataset):
    found = keys(batches(tiny_dataset, Order(seed=1, buffer=64, limit=64)))
    stored = input_pipeline.eval_batches(tiny_dataset, "train", channels=CHANNELS, batch_size=64, limit=64)
    assert sorted(found) == sorted(image.tobytes() for image in next(stored.as_numpy_iterator()))
    assert len(input_pipeline.read_labels(tiny_dataset, "dev", limit=10)) == 10


def test_evaluation_sees_the_whole_split_in_the_order_of_its_ids_and_labels(tiny_dataset):
    examples = {i: (image, labels) for i, image, labels in draw_examples(48, 32, 1, "synthetic-dev")}
    found = input_pipeline.eval_batches(tiny_dataset, "dev", channels=CHANNELS, batch_size=20)
    parts = list(found.as_numpy_iterator())
    assert [len(part) for part in parts] == [20, 20, 8]
    assert len(found) == 3
    ids = input_pipeline.read_ids(tiny_dataset, "dev")
    labels = input_pipeline.read_labels(tiny_dataset, "dev")
    assert sorted(ids) == sorted(examples)
    for example_id, image, vector in zip(ids, np.concatenate(parts), labels, strict=True):
        assert (image == examples[example_id][0]).all()
        assert np.flatnonzero(vector).tolist() == examples[example_id][1]


def test_tensorflow_does_not_tune_what_is_set(tiny_dataset):
    order = input_pipeline.Order(seed=0, buffer=8)
    train = input_pipeline.train_batches(tiny_dataset, order, 0, channels=CHANNELS, batch_size=8)
    dev = input_pipeline.eval_batches(tiny_dataset, "dev", channels=CHANNELS, batch_size=8)
    assert train.options().autotune.enabled is dev.options().autotune.enabled is False


def test_repeat_factors_are_those_of_lvis():
    labels = np.zeros((1000, 28), np.uint8)
    labels[:, 0] = 1  # everywhere
    labels[:10, 1] = 1  # 1%: sqrt(0.04 / 0.01) = 2
    labels[:1, 2] = 1  # 0.1%: sqrt(0.04 / 0.001) = 6.32
    factors = input_pipeline.repeat_factors(labels, 0.04)
    assert factors[0] == pytest.approx(40**0.5)
    assert factors[1:10] == pytest.approx(2)
    assert (factors[10:] == 1).all()


def test_repeat_factors_are_rounded_up_as_often_as_their_fraction_says():
    factors = np.full(20_000, 2.3)
    repeats = input_pipeline.rounded_repeats(factors, np.random.default_rng(4))
    assert set(repeats) == {2, 3}
    assert repeats.mean() == pytest.approx(2.3, abs=0.02)
    order = Order(seed=4, buffer=1, factors=factors)
    assert (order.repeats(0, 20_000) == order.repeats(0, 20_000)).all()
    assert (order.repeats(0, 20_000) != order.repeats(1, 20_000)).any()


def test_examples_are_shown_as_often_as_their_factors_say(tiny_dataset):
    labels = input_pipeline.read_labels(tiny_dataset, "train")
    images = np.concatenate(
        list(input_pipeline.eval_batches(tiny_dataset, "train", channels=CHANNELS, batch_size=64).as_numpy_iterator())
    )
    order = Order(seed=1, buffer=64, factors=np.where(labels[:, 2] > 0, 3.0, 1.0))
    expected = {image.tobytes(): 3 if vector[2] else 1 for image, vector in zip(images, labels, strict=True)}
    found = collections.Counter(keys(batches(tiny_dataset, order, batch_size=1)))
    assert found == expected


def test_a_batch_larger_than_train_is_refused(tiny_dataset):
    message = r"^a batch of 193 is larger than train \(192 examples\): --batch-size 192 or less$"
    with pytest.raises(InputError, match=message):
        input_pipeline.check_batch_size(tiny_dataset, 193)
    input_pipeline.check_batch_size(tiny_dataset, 192)


def test_a_missing_dataset_is_refused_with_how_to_build_one(tmp_path, tiny_data_dir):
    message = f"no dataset hpa_stacked/256 in {tmp_path}: 'make shards' builds one, --data-dir says where another is"
    with pytest.raises(MissingError) as caught:
        input_pipeline.open_dataset(tmp_path, 256)
    assert str(caught.value) == message
    with pytest.raises(
        MissingError, match=r"hpa_stacked/128 in .* \(size 32 is there\): 'make shards SIZE=128' builds"
    ):
        input_pipeline.open_dataset(tiny_data_dir, 128)


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
        input_pipeline.open_version(path, size)


def test_class_names_that_contradict_one_another_are_refused(tmp_path):
    import json

    path = write_dataset(tmp_path, SMALL)
    metadata = json.loads((path / "metadata.json").read_text())
    metadata["class_names"][3] = "Nucleoli"
    (path / "metadata.json").write_text(json.dumps(metadata))
    message = "class 3 is 'class 3' in its features, 'Nucleoli' in its metadata"
    with pytest.raises(InputError, match=rf"^dataset {path}: {message}$"):
        input_pipeline.open_version(path)


def test_a_dataset_without_moments_is_refused(tmp_path):
    import json

    path = write_dataset(tmp_path, SMALL)
    metadata = json.loads((path / "metadata.json").read_text())
    del metadata["mean"]
    (path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=rf"^dataset {path}: no mean in its metadata; build it with 'make shards'$"):
        input_pipeline.open_version(path)


def test_another_dataset_than_the_runs_is_refused(tmp_path, tiny_dataset):
    import dataclasses

    saved = {**dataclasses.asdict(tiny_dataset), "fingerprint": "f00"}
    saved = {name: list(value) if isinstance(value, tuple) else value for name, value in saved.items()}
    message = f"dataset {tiny_dataset.path}: fingerprint {tiny_dataset.fingerprint}, but f00 in run runs/x"
    with pytest.raises(InputError) as caught:
        input_pipeline.check_same(tiny_dataset, saved, "runs/x")
    assert str(caught.value) == message
    saved["class_names"] = ["Nucleoplasm", *saved["class_names"][1:]]
    with pytest.raises(InputError, match="class 0 is 'class 0', but 'Nucleoplasm' in run runs/x$"):
        input_pipeline.check_same(tiny_dataset, saved, "runs/x")


def test_a_dataset_without_dev_is_refused(tmp_path):
    path = write_dataset(tmp_path, Shape(size=8, train=4, dev=0, test=2, num_shards=1))
    with pytest.raises(InputError, match=rf"^dataset {path}: nothing in dev; build it from more examples$"):
        input_pipeline.check_splits(input_pipeline.open_version(path))
