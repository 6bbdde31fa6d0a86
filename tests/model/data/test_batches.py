"""Batches are what the shards hold, in an order that depends on seed and epoch alone."""

import collections

import numpy as np
import pytest

from model.data.batches import eval_batches, read_labels, set_labels_aside, train_batches
from model.data.dataset import open_version
from model.data.order import Order, count_steps
from pipeline.errors import InputError
from tests.support.datasets import CHANNELS, Shape, draw_examples, train_tiny, write_dataset

SMALL = Shape(size=8, train=4, dev=2, test=2, num_shards=1)


def batches(dataset, order=None, epoch=0, channels=CHANNELS, batch_size=16, **more):
    found = train_batches(
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
    with pytest.raises(InputError, match=rf"shard {shard.name} has \d+ bytes, too few or too many for 4 records"):
        open_version(path)


@pytest.mark.parametrize("channels", [["green"], ["green", "blue", "red"], CHANNELS])
def test_channels_come_in_the_order_asked_for(tiny_dataset, channels):
    whole = batches(tiny_dataset)[0][0]
    chosen = batches(tiny_dataset, channels=channels)[0][0]
    assert (chosen == whole[..., [CHANNELS.index(channel) for channel in channels]]).all()


def test_a_rest_smaller_than_a_batch_is_left_for_another_epoch(tiny_dataset):
    order = Order(seed=1, buffer=64)
    found = batches(tiny_dataset, order, batch_size=50)
    assert [len(images) for images, _ in found] == [50, 50, 50]
    assert count_steps(tiny_dataset, order, 0, 50) == 3


def test_a_limited_epoch_sees_only_the_first_examples(tiny_dataset):
    found = keys(batches(tiny_dataset, Order(seed=1, buffer=64, limit=64)))
    stored = eval_batches(tiny_dataset, "train", channels=CHANNELS, batch_size=64, limit=64)
    assert sorted(found) == sorted(image.tobytes() for image in next(stored.as_numpy_iterator()).images)
    assert len(read_labels(tiny_dataset, "dev", limit=10)) == 10


def test_evaluation_batches_are_the_whole_split_with_ids_images_and_label_vectors(tiny_dataset):
    examples = {i: (image, labels) for i, image, labels in draw_examples(48, 32, 1, "synthetic-dev")}
    found = eval_batches(tiny_dataset, "dev", channels=CHANNELS, batch_size=20)
    parts = list(found.as_numpy_iterator())
    assert [len(part.images) for part in parts] == [20, 20, 8]
    assert len(found) == 3
    rows = [row for part in parts for row in zip(*part, strict=True)]
    assert sorted(example_id.decode() for example_id, _, _ in rows) == sorted(examples)
    for example_id, image, vector in rows:
        expected, labels = examples[example_id.decode()]
        assert (image == expected).all()
        assert np.flatnonzero(vector).tolist() == labels
    assert (read_labels(tiny_dataset, "dev") == np.stack([vector for _, _, vector in rows])).all()


def test_label_vectors_are_set_aside_while_images_are_read(tiny_dataset):
    stored = eval_batches(tiny_dataset, "dev", channels=CHANNELS, batch_size=20)
    images, label_vectors = set_labels_aside(stored)
    assert (len(images), label_vectors) == (3, [])
    expected = list(stored.as_numpy_iterator())
    for read, batch in zip(images.as_numpy_iterator(), expected, strict=True):
        np.testing.assert_array_equal(read, batch.images)
    np.testing.assert_array_equal(np.concatenate(label_vectors), read_labels(tiny_dataset, "dev"))


def test_training_scores_dev_in_one_pass_and_each_split_once_at_the_end(tiny_data_dir, tmp_path, records_read):
    train_tiny(tiny_data_dir, tmp_path / "run", blocks=(1,), epochs=1)
    # Dev: after the epoch, for the two losses by moving and batch statistics, and with all splits.
    assert records_read == {"train": 192, "dev": 48 + 2 * 48 + 48, "test": 48}


def test_tensorflow_does_not_tune_what_is_set(tiny_dataset):
    order = Order(seed=0, buffer=8)
    train = train_batches(tiny_dataset, order, 0, channels=CHANNELS, batch_size=8)
    dev = eval_batches(tiny_dataset, "dev", channels=CHANNELS, batch_size=8)
    assert train.options().autotune.enabled is dev.options().autotune.enabled is False


def test_examples_are_shown_as_often_as_their_factors_say(tiny_dataset):
    labels = read_labels(tiny_dataset, "train")
    stored = eval_batches(tiny_dataset, "train", channels=CHANNELS, batch_size=64).as_numpy_iterator()
    images = np.concatenate([batch.images for batch in stored])
    order = Order(seed=1, buffer=64, factors=np.where(labels[:, 2] > 0, 3.0, 1.0))
    expected = {image.tobytes(): 3 if vector[2] else 1 for image, vector in zip(images, labels, strict=True)}
    found = collections.Counter(keys(batches(tiny_dataset, order, batch_size=1)))
    assert found == expected


def test_copies_of_an_example_are_spread_over_the_epoch(tmp_path):
    dataset = open_version(write_dataset(tmp_path, Shape(size=8, train=600, dev=2, test=2, num_shards=4)))
    factors = np.ones(600)
    factors[::20] = 7
    order = Order(seed=5, buffer=32, factors=factors)
    epoch = keys(batches(dataset, order, batch_size=1))
    places = [
        np.flatnonzero([key == copied for key in epoch]) for copied, n in collections.Counter(epoch).items() if n > 1
    ]
    assert np.shape(places) == (30, 7)
    # Of k places drawn from n at random, neighbours lie (n + 1) / (k + 1) apart in the mean.
    assert np.diff(places).mean() == pytest.approx(len(epoch) / 8, rel=0.1)
    assert np.mean(places) == pytest.approx(len(epoch) / 2, rel=0.1)


@pytest.mark.parametrize("limit", [100, 192])
def test_a_limited_epoch_repeats_only_the_first_examples(tiny_dataset, limit):
    order = Order(seed=1, buffer=64, factors=np.full(limit, 2.0), limit=limit)
    found = collections.Counter(keys(batches(tiny_dataset, order, batch_size=1)))
    assert (len(found), set(found.values())) == (limit, {2})
