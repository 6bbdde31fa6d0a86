"""Contenders of the section `read`: each reads the same training examples as batches, as its own documentation shows.

    python -m bench.readers run NAME OUT --seconds 12      prints the figures as JSON

A batch is images uint8 `[64, 256, 256, 4]` and label vectors `[64, 28]`, shuffled. Nothing is put on a device. `OUT`
holds what `bench.forms` wrote.
"""

import concurrent.futures
import itertools
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.forms import NUM_CLASSES, TIMES, label_vector, tfds_dir

SIZE, BATCH_SIZE, BUFFER = 256, 64, 1024
SHAPE = (SIZE, SIZE, 4)

Batches = Iterator[tuple[Any, Any]]
"""Images and labels of one batch after the other, `END` after each epoch, without end."""


def ours(out: Path, batch_size: int, times: int) -> Batches:
    """`model.data.batches.train_batches`."""
    from model.data.batches import train_batches
    from model.data.dataset import open_version
    from model.data.order import Order

    dataset = open_version(tfds_dir(out, times))
    order = Order(seed=0, buffer=BUFFER)
    for epoch in itertools.count():
        yield from train_batches(dataset, order, epoch, channels=dataset.channels, batch_size=batch_size).prefetch(2)
        yield END


def tfds_load(out: Path, batch_size: int, times: int) -> Batches:
    """`tfds.load(...).batch(...)` on the same files."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    dataset = tfds.builder_from_directory(tfds_dir(out, times)).as_dataset(split="train", shuffle_files=True)
    dataset = dataset.shuffle(BUFFER).map(
        lambda row: (row["image"], tf.reduce_max(tf.one_hot(row["labels"], NUM_CLASSES, dtype=tf.uint8), axis=0))
    )
    while True:
        yield from dataset.batch(batch_size).prefetch(2)
        yield END


def png_records(out: Path, batch_size: int, times: int) -> Batches:
    """TFRecords of the same images as PNG, decoded by TensorFlow."""
    import tensorflow as tf

    features = {"png": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.FixedLenFeature([], tf.string)}

    def parse(serialised: Any) -> Any:
        parsed = tf.io.parse_single_example(serialised, features)
        # OpenCV wrote the channels as blue, green, red, alpha; PNG keeps red first.
        image = tf.gather(tf.io.decode_png(parsed["png"], channels=4), [2, 1, 0, 3], axis=-1)
        return image, tf.io.decode_raw(parsed["labels"], tf.uint8)

    records = tf.data.TFRecordDataset([str(out / "png_records/train.tfrecord")] * times).shuffle(BUFFER)
    while True:
        yield from records.map(parse, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)
        yield END


def webdataset(out: Path, batch_size: int, times: int) -> Batches:
    """`wds.WebDataset` with its own shuffling and batching, in two loader processes."""
    import webdataset as wds

    def pair(sample: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        image = np.frombuffer(sample["image"], np.uint8).reshape(SHAPE)
        return image, np.frombuffer(sample["labels"], np.uint8)

    shards = sorted(map(str, (out / "webdataset").glob("*.tar"))) * times
    dataset = wds.WebDataset(shards, shardshuffle=len(shards), seed=0, empty_check=False)
    dataset = dataset.shuffle(BUFFER // 2).map(pair).batched(batch_size)
    loader = wds.WebLoader(dataset, batch_size=None, num_workers=2)
    while True:
        yield from loader
        yield END


def mds(out: Path, batch_size: int, times: int) -> Batches:
    """MosaicML's `StreamingDataset` in Torch's `DataLoader` with two processes."""
    from streaming import Stream, StreamingDataset
    from torch.utils.data import DataLoader

    class Pairs(StreamingDataset):
        def __getitem__(self, index: Any) -> Any:
            row = super().__getitem__(index)
            return row["image"], row["labels"]

    dataset = Pairs(streams=[Stream(local=str(out / "mds"), repeat=times)], shuffle=True, batch_size=batch_size)
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=2, persistent_workers=True)
    while True:
        yield from loader
        yield END


def grain_array_record(out: Path, batch_size: int, times: int) -> Batches:
    """Grain on ArrayRecord, reading ahead with 16 threads."""
    import grain.python as grain

    def pair(record: bytes) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.frombuffer(record, np.uint8, offset=NUM_CLASSES).reshape(SHAPE),
            np.frombuffer(record, np.uint8, count=NUM_CLASSES),
        )

    source = grain.ArrayRecordDataSource(str(out / "grain/train.array_record"))
    dataset = grain.MapDataset.source(source).shuffle(seed=0).repeat(times).map(pair).batch(batch_size)
    while True:
        yield from dataset.to_iter_dataset(grain.ReadOptions(num_threads=16, prefetch_buffer_size=64))
        yield END


def _data_source(out: Path, times: int) -> Any:
    """Returns TFDS's data source of train in ArrayRecord, `times` times over."""
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(tfds_dir(out / "data_source", times)).as_data_source(split="train")


def _stacked(rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([row["image"] for row in rows]), np.stack([row["label_vector"] for row in rows])


def data_source(out: Path, batch_size: int, times: int) -> Batches:
    """`tfds.data_source` on array_record shards, read in a random order by one thread."""
    source, rng = _data_source(out, times), np.random.default_rng(0)
    while True:
        order = rng.permutation(len(source))
        for start in range(0, len(order), batch_size):
            yield _stacked([source[int(k)] for k in order[start : start + batch_size]])
        yield END


def grain_data_source(out: Path, batch_size: int, times: int) -> Batches:
    """Grain on `tfds.data_source`, as in docs/reading.md, reading ahead with 16 threads."""
    import grain.python as grain

    dataset = grain.MapDataset.source(_data_source(out, times)).shuffle(seed=0)
    dataset = dataset.map(lambda row: (row["image"], row["label_vector"])).batch(batch_size)
    while True:
        yield from dataset.to_iter_dataset(grain.ReadOptions(num_threads=16, prefetch_buffer_size=64))
        yield END


def torch_data_source(out: Path, batch_size: int, times: int) -> Batches:
    """Torch's `DataLoader` on `tfds.data_source`, as in docs/reading.md, with two processes."""
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        _data_source(out, times), batch_size=batch_size, shuffle=True, num_workers=2, collate_fn=_tensors,
        multiprocessing_context="spawn", persistent_workers=True,
    )  # fmt: skip
    while True:
        yield from loader
        yield END


def _tensors(rows: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    import torch

    return tuple(map(torch.from_numpy, _stacked(rows)))


def plain_numpy(out: Path, batch_size: int, times: int) -> Batches:
    """Plain Python and NumPy on the dataset's TFRecords, shuffled in a buffer: docs/reading.md."""
    rng = np.random.default_rng(0)
    while True:
        pool: list[tuple[np.ndarray, np.ndarray]] = []
        batch: list[tuple[np.ndarray, np.ndarray]] = []
        for row in itertools.chain(_plain_rows(out, times, rng), itertools.repeat(None, BUFFER)):
            if row is not None:
                pool.append(row)
            if len(pool) == BUFFER or (row is None and pool):
                batch.append(pool.pop(int(rng.integers(len(pool)))))
            if len(batch) == batch_size:
                yield np.stack([image for image, _ in batch]), np.stack([vector for _, vector in batch])
                batch = []
        if batch:
            yield np.stack([image for image, _ in batch]), np.stack([vector for _, vector in batch])
        yield END


def _plain_rows(out: Path, times: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (image, label vector) of every record, the shards in a random order."""
    paths = sorted(tfds_dir(out, times).glob("*-train.tfrecord-*"))
    for index in rng.permutation(len(paths)):
        with open(paths[index], "rb") as file:
            while header := file.read(12):
                record = file.read(int.from_bytes(header[:8], "little"))
                file.read(4)
                found = dict(_entries(record))
                yield (
                    np.frombuffer(found[b"image"], np.uint8).reshape(SHAPE),
                    np.frombuffer(found[b"label_vector"], np.uint8),
                )


def _entries(record: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yields (feature, its first value) of a `tf.train.Example`, without copying values."""
    (features,) = _fields(memoryview(record))
    for entry in _fields(features):
        name, feature = _fields(entry)
        (values,) = _fields(feature)
        yield bytes(name), next(_fields(values))


def _fields(message: memoryview) -> Iterator[memoryview]:
    """Yields the contents of a message of length-delimited fields."""
    position = 0
    while position < len(message):
        length, shift, position = 0, 0, position + 1
        while True:
            byte = message[position]
            length, shift, position = length | (byte & 0x7F) << shift, shift + 7, position + 1
            if byte < 0x80:
                break
        yield message[position : position + length]
        position += length


def sedpack(out: Path, batch_size: int, times: int) -> Batches:
    """sedpack's batches, read and shuffled in Rust."""
    from sedpack.io import Dataset

    dataset = Dataset(out / "sedpack")
    while True:
        for _ in range(times):
            for batch in dataset.as_numpy_iterator_rust_batched(
                split="train", repeat=False, batch_size=batch_size, shuffle=BUFFER
            ):
                yield batch["image"], batch["labels"]
        yield END


def four_pngs(out: Path, batch_size: int, times: int) -> Batches:
    """Opens, decodes and resizes the four PNGs of an example in every epoch, as the paper does."""
    import tensorflow as tf

    ids = json.loads((out / "ids.json").read_text())
    root = str((out / "source").resolve() / "train")

    def load(example_id: Any, vector: Any) -> Any:
        channels = [
            tf.io.decode_png(tf.io.read_file(tf.strings.join([root, "/", example_id, "_", name, ".png"])), channels=1)
            for name in ("red", "green", "blue", "yellow")
        ]
        image = tf.image.resize(tf.concat(channels, axis=-1), (SIZE, SIZE), method="area")
        return tf.cast(image + 0.5, tf.uint8), vector

    vectors = np.stack([label_vector(labels) for _, labels in ids])
    dataset = (
        tf.data.Dataset.from_tensor_slices(([example_id for example_id, _ in ids], vectors))
        .repeat(times)
        .shuffle(len(ids))
    )
    while True:
        yield from dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)
        yield END


READERS: dict[str, Callable[[Path, int, int], Batches]] = {
    "ours": ours,
    "tfds.load": tfds_load,
    "png_records": png_records,
    "webdataset": webdataset,
    "mds": mds,
    "grain": grain_array_record,
    "data_source": data_source,
    "grain data_source": grain_data_source,
    "torch data_source": torch_data_source,
    "numpy": plain_numpy,
    "sedpack": sedpack,
    "four_pngs": four_pngs,
}

END = (None, None)
"""The item between two epochs."""


def limit(out: Path, seconds: float) -> float:
    """Returns examples per second of two threads that read the dataset's shards and copy every byte once."""
    shards = sorted(tfds_dir(out, 1).glob("*-train.tfrecord-*"))
    num = len(json.loads((out / "ids.json").read_text()))

    def read(path: Path) -> int:
        buffer, copy = bytearray(1 << 20), bytearray(1 << 20)
        with open(path, "rb", buffering=0) as file:
            while got := file.readinto(buffer):
                copy[:got] = memoryview(buffer)[:got]
        return 1

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(read, shards))
        began, epochs = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            epochs += len(list(pool.map(read, shards))) == len(shards)
        return epochs * num / (time.perf_counter() - began)


def rate(batches: Batches, seconds: float) -> float:
    """Returns examples per second of whole epochs, starts included, read until `seconds` have passed.

    One epoch is read before the clock starts. An epoch that takes longer than `seconds` is cut off there.
    """
    _epoch(batches, seconds)
    began, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        done += _epoch(batches, seconds)
    return done / passed


def _epoch(batches: Batches, seconds: float) -> int:
    """Reads to the end of an epoch, for `seconds` at most; returns the number of examples."""
    began, done = time.perf_counter(), 0
    for images, _ in batches:
        if images is None:
            break
        done += len(images)
        if time.perf_counter() - began >= seconds:
            break
    return done


def content(batches: Batches) -> list[int]:
    """Returns, independent of order, an epoch's number of examples, sum of the CRC-32s of images, number of labels."""
    totals = np.zeros(3, np.int64)
    for images, labels in itertools.takewhile(lambda pair: pair[0] is not None, batches):
        whole = np.ascontiguousarray(images)
        totals += len(whole), sum(zlib.crc32(image) for image in whole), int(np.asarray(labels).sum())
    return totals.tolist()


@click.group()
def main() -> None:
    """Read what `bench.forms` wrote."""


@main.command("run")
@click.argument("name", type=click.Choice(["limit", *READERS]))
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--seconds", default=5.0, show_default=True, help="How long to read.")
@click.option("--check", is_flag=True, help="Print the content of an epoch instead of the speed.")
def run_command(name: str, out: Path, seconds: float, check: bool) -> None:
    """Read with the contender NAME and print its figures."""
    from model import backend

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    backend.keep_freed_memory()  # for every contender, because training with this project has it
    if name == "ours":
        backend.start()
    if check:
        # A divisor of the number of examples, so that no incomplete batch is dropped.
        num = len(json.loads((out / "ids.json").read_text()))
        print(json.dumps({"content": content(READERS[name](out, 2 if num % 2 == 0 else 1, 1))}))
    elif name == "limit":
        print(json.dumps({"examples_per_second": limit(out, seconds)}))
    else:
        print(json.dumps({"examples_per_second": rate(READERS[name](out, BATCH_SIZE, TIMES), seconds)}))


if __name__ == "__main__":
    main()
