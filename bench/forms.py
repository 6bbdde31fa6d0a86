"""The train split of one dataset, in the format of each contender of the section `read`.

python -m bench.forms SOURCE DATASET_DIR OUT --reader NAME ...
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

NUM_CLASSES = 28
SHARD_BYTES = 64 << 20

TIMES = 15
"""An epoch reads the files this many times, which makes it as long as an epoch of the real set."""

Example = tuple[str, np.ndarray, np.ndarray]
"""Id, image uint8 `[256, 256, 4]`, label vector uint8 `[28]`."""


def label_vector(labels: Any) -> np.ndarray:
    """Returns uint8 `[28]` of 0 and 1."""
    vector = np.zeros(NUM_CLASSES, np.uint8)
    vector[labels] = 1
    return vector


def examples(dataset_dir: Path) -> Iterator[Example]:
    """Yields every example of the train split."""
    import tensorflow_datasets as tfds

    for example in tfds.as_numpy(tfds.builder_from_directory(dataset_dir).as_dataset(split="train")):
        yield example["id"].decode(), example["image"], label_vector(example["labels"])


def tfds_dir(out: Path, times: int) -> Path:
    """Returns the folder of the dataset whose train split is the built one, `times` times over."""
    return out / f"tfds-{times}"


def repeat(dataset_dir: Path, out: Path, times: int) -> None:
    """Makes a dataset whose train split links `times` times to every train shard of `dataset_dir`."""
    shards = sorted(dataset_dir.absolute().glob("*-train.*-of-*")) * times
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


def png_records(dataset_dir: Path, out: Path) -> None:
    """Writes TFRecords of images as PNG."""
    import cv2
    import tensorflow as tf

    out.mkdir()
    with tf.io.TFRecordWriter(str(out / "train.tfrecord")) as records:
        for _, image, vector in examples(dataset_dir):
            record = tf.train.Example()
            record.features.feature["png"].bytes_list.value.append(cv2.imencode(".png", image)[1].tobytes())
            record.features.feature["labels"].bytes_list.value.append(vector.tobytes())
            records.write(record.SerializeToString())


def webdataset(dataset_dir: Path, out: Path) -> None:
    """Writes tar files of raw images and label vectors."""
    import webdataset as wds

    out.mkdir()
    with wds.ShardWriter(str(out / "train-%05d.tar"), maxsize=SHARD_BYTES, verbose=0) as tar:
        for example_id, image, vector in examples(dataset_dir):
            tar.write({"__key__": example_id, "image": image.tobytes(), "labels": vector.tobytes()})


def mds(dataset_dir: Path, out: Path) -> None:
    """Writes MDS shards of raw images and label vectors."""
    from streaming import MDSWriter

    columns = {"id": "str", "image": "ndarray:uint8:256,256,4", "labels": "ndarray:uint8:28"}
    with MDSWriter(out=str(out), columns=columns, size_limit=SHARD_BYTES) as writer:
        for example_id, image, vector in examples(dataset_dir):
            writer.write({"id": example_id, "image": image, "labels": vector})


def array_record(dataset_dir: Path, out: Path) -> None:
    """Writes an ArrayRecord file of raw label vectors and images."""
    from array_record.python.array_record_module import ArrayRecordWriter

    out.mkdir()
    writer = ArrayRecordWriter(str(out / "train.array_record"), "group_size:1,uncompressed")
    for _, image, vector in examples(dataset_dir):
        writer.write(vector.tobytes() + image.tobytes())
    writer.close()


def array_record_dataset(dataset_dir: Path, out: Path) -> None:
    """Writes train as `--file-format array_record` does, and the datasets that repeat it."""
    from pipeline.write.shard_files import FORMATS

    once, target = out / "once", FORMATS["array_record"]
    once.mkdir(parents=True)
    for name in ("features.json", "labels.labels.txt", "metadata.json"):
        shutil.copyfile(dataset_dir / name, once / name)
    info = (dataset_dir / "dataset_info.json").read_text()
    (once / "dataset_info.json").write_text(info.replace('"fileFormat": "tfrecord"', '"fileFormat": "array_record"'))
    for shard in sorted(dataset_dir.glob("*-train.tfrecord-*")):
        path = once / shard.name.replace("tfrecord", "array_record")
        with open(shard, "rb") as file, open(path, "wb") as written, target.writing(written) as sink:
            for record in FORMATS["tfrecord"].read(file, hashlib.sha256()):
                sink.add(target.pieces(record))
    for times in (1, TIMES):
        repeat(once, tfds_dir(out, times), times)


def sedpack(dataset_dir: Path, out: Path) -> None:
    """Writes sedpack's shards of raw images and label vectors, uncompressed like the others."""
    from sedpack.io import Attribute, Dataset, DatasetStructure, Metadata

    attributes = [
        Attribute(name="image", dtype="uint8", shape=(256, 256, 4)),
        Attribute(name="labels", dtype="uint8", shape=(NUM_CLASSES,)),
    ]
    structure = DatasetStructure(
        saved_data_description=attributes, compression="", examples_per_shard=SHARD_BYTES // (256 * 256 * 4)
    )
    with Dataset.create(out, Metadata(description="train"), structure).filler() as filler:
        for _, image, vector in examples(dataset_dir):
            filler.write_example(values={"image": image, "labels": vector}, split="train")


FORMS: dict[str, Callable[[Path, Path], None]] = {
    "png_records": png_records,
    "webdataset": webdataset,
    "mds": mds,
    "grain": array_record,
    "data_source": array_record_dataset,
    "sedpack": sedpack,
}
"""Functions that write what a reader needs, from the dataset's folder into a new folder named after the reader. Other
readers use the files of the dataset or of the source."""


ON_DATA_SOURCE = {name: "data_source" for name in ("grain data_source", "torch data_source")}
"""Readers that use what another reader's function writes."""


def write(source: Path, dataset_dir: Path, out: Path, readers: tuple[str, ...]) -> None:
    """Writes what these readers need, and for all readers the ids and links to the source and the dataset."""
    for times in (1, TIMES):
        repeat(dataset_dir, tfds_dir(out, times), times)
    (out / "source").symlink_to(source.absolute())
    ids = [(example_id, np.flatnonzero(vector).tolist()) for example_id, _, vector in examples(dataset_dir)]
    (out / "ids.json").write_text(json.dumps(ids))
    for name in readers:
        if (form := ON_DATA_SOURCE.get(name, name)) in FORMS and not (out / form).exists():
            FORMS[form](dataset_dir, out / form)


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("dataset_dir", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--reader", "readers", multiple=True, help="A reader whose format is written; may be repeated.")
def main(source: Path, dataset_dir: Path, out: Path, readers: tuple[str, ...]) -> None:
    """Write the train split of DATASET_DIR, built from SOURCE, for these readers."""
    write(source, dataset_dir, out, readers)


if __name__ == "__main__":
    main()
