"""The contenders of `bench read`: the same training examples as batches, each in the way its documentation says.

    python -m bench.readers write SOURCE DATASET_DIR OUT      the forms that the peers read
    python -m bench.readers run NAME OUT                      one contender; prints its figures as JSON

A batch is images uint8 `[64, 256, 256, 4]` and label vectors `[64, 28]`, shuffled. Nothing is put on a device.
"""

import concurrent.futures
import itertools
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

SIZE, NUM_CLASSES, BUFFER = 256, 28, 1024
SHAPE = (SIZE, SIZE, 4)

TIMES = 15
"""An epoch is the files so many times over, which makes it as long as one of the real set."""

Batches = Iterator[tuple[Any, Any]]


def label_vector(labels: Any) -> np.ndarray:
    """Returns uint8 `[28]` of 0 and 1."""
    vector = np.zeros(NUM_CLASSES, np.uint8)
    vector[labels] = 1
    return vector


def write(source: Path, dataset_dir: Path, out: Path) -> None:
    """Writes the train split in every form that is read."""
    import cv2
    import tensorflow as tf
    import tensorflow_datasets as tfds
    import webdataset as wds
    from array_record.python.array_record_module import ArrayRecordWriter
    from streaming import MDSWriter

    builder = tfds.builder_from_directory(dataset_dir)
    num = builder.info.splits["train"].num_examples
    for name in ("array_record", "png_records", "webdataset"):
        (out / name).mkdir(parents=True)
    for times in (1, TIMES):
        repeat(dataset_dir, tfds_dir(out, times), times)
    (out / "source").symlink_to(source.absolute())
    columns = {"id": "str", "image": "ndarray:uint8:256,256,4", "labels": "ndarray:uint8:28"}
    tar = wds.ShardWriter(str(out / "webdataset/train-%05d.tar"), maxsize=64 << 20, verbose=0)
    records = tf.io.TFRecordWriter(str(out / "png_records/train.tfrecord"))
    array = ArrayRecordWriter(str(out / "array_record/train.array_record"), "group_size:1,uncompressed")
    ids = []
    with tar, records, MDSWriter(out=str(out / "mds"), columns=columns, size_limit=64 << 20) as mds:
        for example in tfds.as_numpy(builder.as_dataset(split="train")):
            example_id, image, vector = example["id"].decode(), example["image"], label_vector(example["labels"])
            ids.append((example_id, np.flatnonzero(vector).tolist()))
            tar.write({"__key__": example_id, "image": image.tobytes(), "labels": vector.tobytes()})
            mds.write({"id": example_id, "image": image, "labels": vector})
            array.write(vector.tobytes() + image.tobytes())
            record = tf.train.Example()
            record.features.feature["png"].bytes_list.value.append(cv2.imencode(".png", image)[1].tobytes())
            record.features.feature["labels"].bytes_list.value.append(vector.tobytes())
            records.write(record.SerializeToString())
    array.close()
    assert len(ids) == num
    (out / "ids.json").write_text(json.dumps(ids))


def tfds_dir(out: Path, times: int) -> Path:
    """Returns where the dataset lies whose train split is the one that was built, so many times over."""
    return out / f"tfds-{times}"


def repeat(dataset_dir: Path, out: Path, times: int) -> None:
    """Makes a dataset whose train split has every shard of another one so many times, by links to its files."""
    shards = sorted(dataset_dir.absolute().glob("*-train.tfrecord-*")) * times
    out.mkdir(parents=True)
    for name in ("features.json", "labels.labels.txt", "metadata.json"):
        (out / name).symlink_to(dataset_dir.absolute() / name)
    for index, shard in enumerate(shards):
        stem = shard.name.rsplit("-", 3)[0]
        (out / f"{stem}-{index:05d}-of-{len(shards):05d}").symlink_to(shard)
    info = json.loads((dataset_dir / "dataset_info.json").read_text())
    info["splits"] = [
        {**split, "numBytes": str(int(split["numBytes"]) * times), "shardLengths": split["shardLengths"] * times}
        for split in info["splits"]
        if split["name"] == "train"
    ]
    (out / "dataset_info.json").write_text(json.dumps(info))


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
    """`tfds.load(...).batch(...)` on the same files, what one types first."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    dataset = tfds.builder_from_directory(tfds_dir(out, times)).as_dataset(split="train", shuffle_files=True)
    dataset = dataset.shuffle(BUFFER).map(
        lambda one: (one["image"], tf.reduce_max(tf.one_hot(one["labels"], NUM_CLASSES, dtype=tf.uint8), axis=0))
    )
    while True:
        yield from dataset.batch(batch_size).prefetch(2)
        yield END


def png_records(out: Path, batch_size: int, times: int) -> Batches:
    """TFRecords of the same images as PNG."""
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
            one = super().__getitem__(index)
            return one["image"], one["labels"]

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

    source = grain.ArrayRecordDataSource(str(out / "array_record/train.array_record"))
    dataset = grain.MapDataset.source(source).shuffle(seed=0).repeat(times).map(pair).batch(batch_size)
    while True:
        yield from dataset.to_iter_dataset(grain.ReadOptions(num_threads=16, prefetch_buffer_size=64))
        yield END


def four_pngs(out: Path, batch_size: int, times: int) -> Batches:
    """The paper's way: four PNGs an example opened, decoded and resized at run time."""
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
    dataset = tf.data.Dataset.from_tensor_slices(([one for one, _ in ids], vectors)).repeat(times).shuffle(len(ids))
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
    "four_pngs": four_pngs,
}

END = (None, None)
"""Between two epochs."""


def limit(out: Path, seconds: float) -> float:
    """Returns examples per second at which two threads read our shards to the end and copy what they read once."""
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
    """Returns examples per second over whole epochs, their starts included, until so many seconds have passed.

    An epoch before that does not count. Of an epoch that takes longer than `seconds`, so much is read.
    """
    _epoch(batches, seconds)
    began, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        done += _epoch(batches, seconds)
    return done / passed


def _epoch(batches: Batches, seconds: float) -> int:
    """Reads to the end of an epoch, or for so many seconds; returns the number of examples."""
    began, done = time.perf_counter(), 0
    for images, _ in batches:
        if images is None:
            break
        done += len(images)
        if time.perf_counter() - began >= seconds:
            break
    return done


def content(batches: Batches) -> list[int]:
    """Returns what one epoch holds whatever its order: examples, sum of their CRC-32s, labels."""
    found = np.zeros(3, np.int64)
    for images, labels in itertools.takewhile(lambda pair: pair[0] is not None, batches):
        whole = np.ascontiguousarray(images)
        found += len(whole), sum(zlib.crc32(image) for image in whole), int(np.asarray(labels).sum())
    return found.tolist()


@click.group()
def main() -> None:
    """Write the forms that are read, and read them."""


@main.command("write")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("dataset_dir", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def write_command(source: Path, dataset_dir: Path, out: Path) -> None:
    """Write the train split of DATASET_DIR, built from SOURCE, in every form."""
    write(source, dataset_dir, out)


@main.command("run")
@click.argument("name", type=click.Choice(["limit", *READERS]))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seconds", default=5.0, show_default=True)
@click.option("--check", is_flag=True, help="What an epoch holds, instead of how fast it comes.")
def run_command(name: str, out: Path, seconds: float, check: bool) -> None:
    """Read with the contender NAME."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if name == "ours":
        from model import backend

        backend.start()
    if check:
        # A divisor of the number of examples, so that no rest is dropped.
        num = len(json.loads((out / "ids.json").read_text()))
        print(json.dumps({"content": content(READERS[name](out, 2 if num % 2 == 0 else 1, 1))}))
    elif name == "limit":
        print(json.dumps({"examples_per_second": limit(out, seconds)}))
    else:
        print(json.dumps({"examples_per_second": rate(READERS[name](out, 64, TIMES), seconds)}))


if __name__ == "__main__":
    main()
