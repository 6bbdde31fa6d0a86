"""How fast do images reach the step, and how fast would they otherwise?

    python bench/input_pipeline.py --images DIR     DIR in Kaggle's layout: train.csv beside train/

Three ways, side by side in one run, rounds interleaved so that a busy machine is busy for all of them. The
second figure, processor time per example, hardly depends on how busy it is: cores times 1,000,000 divided by it
is what a quiet machine reaches.

- ours: `model.input_pipeline.train_batches`, shuffled, uint8;
- tfds: `tfds.load(...).shuffle(...).batch(...)`, what one types without thinking;
- png: four PNGs per example opened, decoded and resized at run time, by as many threads, which is what the
  paper did.
"""

import csv
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np

FILTERS = ("red", "green", "blue", "yellow")


@click.command()
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True, help="Folder: train.csv, train/")
@click.option("--size", default=256, show_default=True)
@click.option("--num", default=2048, show_default=True, help="Examples in the shards: the images over and over.")
@click.option("--batch-size", default=64, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=4.0, show_default=True, help="Of each way, in each round.")
def main(images: Path, size: int, num: int, batch_size: int, rounds: int, seconds: float) -> None:
    """Measure examples per second of three input pipelines on the same pixels."""
    from model import backend

    backend.start()
    with tempfile.TemporaryDirectory() as folder:
        write_shards(Path(folder), read_examples(images, size), size, num)
        ways: dict[str, Callable[[], Iterator[int]]] = {
            "ours": lambda: ours(Path(folder), size, batch_size),
            "tfds": lambda: stock_tfds(Path(folder), size, batch_size),
            "png": lambda: decoded_at_run_time(images, size, batch_size),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, start in ways.items():
                found[name].append(rate(start(), seconds))
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    for name, (wall, cpu) in medians.items():
        click.echo(
            f"{name:5} {wall:8,.0f} ex/s ({min(found[name])[0]:,.0f} to {max(found[name])[0]:,.0f}), "
            f"{cpu:8,.0f} us of processor each; ours is {medians['ours'][0] / wall:.1f} x faster, "
            f"{cpu / medians['ours'][1]:.1f} x cheaper"
        )


def rate(batches: Iterator[int], seconds: float) -> tuple[float, float]:
    """Returns examples per second, and microseconds of processor time per example.

    The first batch, which starts threads and fills buffers, is not counted.
    """
    next(batches)
    began, cpu, done = time.perf_counter(), time.process_time(), 0
    while (passed := time.perf_counter() - began) < seconds:
        done += next(batches)
    return done / passed, (time.process_time() - cpu) / done * 1e6


def ours(data_dir: Path, size: int, batch_size: int) -> Iterator[int]:
    """Yields the sizes of the trainer's batches, epoch after epoch."""
    from model import input_pipeline

    dataset = input_pipeline.open_dataset(data_dir, size)
    # An epoch of the real set's length: every shard several times.
    times = max(1, 24_000 // dataset.num_examples["train"])
    dataset = dataclasses.replace(
        dataset,
        shards={"train": dataset.shards["train"] * times},
        shard_lengths={"train": dataset.shard_lengths["train"] * times},
        num_examples={"train": dataset.num_examples["train"] * times},
    )
    order = input_pipeline.Order(seed=0, buffer=512)
    for epoch in range(1_000_000):
        batches = input_pipeline.train_batches(dataset, order, epoch, channels=FILTERS, batch_size=batch_size)
        for images, _ in batches:
            yield len(images)


def stock_tfds(data_dir: Path, size: int, batch_size: int) -> Iterator[int]:
    """Yields the sizes of the batches of `tfds.load`."""
    import tensorflow_datasets as tfds

    dataset = tfds.load(f"hpa_stacked/{size}", data_dir=data_dir, split="train", shuffle_files=True)
    for batch in dataset.repeat().shuffle(512).batch(batch_size).prefetch(2):
        yield len(batch["image"])


def decoded_at_run_time(images: Path, size: int, batch_size: int) -> Iterator[int]:
    """Yields the sizes of batches whose PNGs are decoded and resized on the way."""
    import tensorflow as tf

    ids = read_ids(images)

    def load(example_id: tf.Tensor) -> tf.Tensor:
        channels = []
        for name in FILTERS:
            path = tf.strings.join([str(images / "train"), "/", example_id, "_", name, ".png"])
            channels.append(tf.image.decode_png(tf.io.read_file(path), channels=1))
        return tf.image.resize(tf.concat(channels, axis=-1), (size, size), method="area")

    dataset = tf.data.Dataset.from_tensor_slices(ids).repeat().shuffle(512)
    for batch in dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2):
        yield len(batch)


def read_ids(images: Path) -> list[str]:
    """Returns the ids of the label table."""
    with open(images / "train.csv", newline="") as file:
        return [row["Id"] for row in csv.DictReader(file)]


def read_examples(images: Path, size: int) -> list[tuple[str, np.ndarray]]:
    """Returns (id, uint8 `[size, size, 4]`) of every example of the table."""
    import cv2

    examples = []
    for example_id in read_ids(images):
        planes = [
            cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (size, size), interpolation=cv2.INTER_AREA)
            for path in (images / "train" / f"{example_id}_{name}.png" for name in FILTERS)
        ]
        examples.append((example_id, np.stack(planes, axis=-1)))
    return examples


def write_shards(data_dir: Path, examples: list[tuple[str, np.ndarray]], size: int, num: int) -> None:
    """Writes `num` records as the pipeline publishes them, in shards of up to 64 MiB, and TFDS's metadata."""
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import dataset_info, naming, splits

    path = data_dir / "hpa_stacked" / str(size) / "1.0.0"
    path.mkdir(parents=True)
    names = [f"class {index}" for index in range(28)]
    num_shards = max(1, num * size * size * 4 // (64 << 20))
    lengths = [len(range(shard, num, num_shards)) for shard in range(num_shards)]
    for shard in range(num_shards):
        with tf.io.TFRecordWriter(str(path / f"hpa_stacked-train.tfrecord-{shard:05d}-of-{num_shards:05d}")) as writer:
            for index in range(shard, num, num_shards):
                example_id, image = examples[index % len(examples)]
                record = tf.train.Example()
                record.features.feature["id"].bytes_list.value.append(f"{example_id}-{index}".encode())
                record.features.feature["image"].bytes_list.value.append(image.tobytes())
                record.features.feature["labels"].int64_list.value.append(index % 28)
                writer.write(record.SerializeToString())
    tensor = tfds.features.Tensor(shape=(size, size, 4), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES)
    labels = tfds.features.Sequence(tfds.features.ClassLabel(names=names))
    info = tfds.core.DatasetInfo(
        builder=dataset_info.DatasetIdentity(
            name="hpa_stacked",
            version=tfds.core.Version("1.0.0"),
            data_dir=str(path),
            module_name="bench",
            config_name=str(size),
        ),
        features=tfds.features.FeaturesDict({"id": tfds.features.Text(), "image": tensor, "labels": labels}),
        metadata=tfds.core.MetadataDict(
            channels=list(FILTERS), class_names=names, size=size, mean=[0.1] * 4, std=[0.1] * 4, fingerprint="0"
        ),
    )
    template = naming.ShardedFileTemplate(data_dir=path, dataset_name="hpa_stacked", filetype_suffix="tfrecord")
    train = splits.SplitInfo(
        name="train", shard_lengths=lengths, num_bytes=1, filename_template=template.replace(split="train")
    )
    info.set_splits(splits.SplitDict([train]))
    info.write_to_directory(str(path))


if __name__ == "__main__":
    main()
