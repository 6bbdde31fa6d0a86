"""Time of each step of building an example, and speed of each stage of reading batches.

python -m bench.profile SOURCE DATASET_DIR      prints the figures as JSON
"""

import functools
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def building(source: Path, num: int = 200) -> dict[str, float]:
    """Returns milliseconds an example of each step on one thread, medians of `num` examples."""
    import cv2

    from bench import builders
    from bench.figures import show
    from pipeline.images import limits, png, sources, stack
    from pipeline.images.resize import resize
    from pipeline.schema import HPA_KAGGLE_2018
    from pipeline.write import records

    cv2.setNumThreads(0)
    images, flags = sources.open_images(source / "train"), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
    bad = functools.partial(limits.BadImage, "any")
    spent: dict[str, list[float]] = {}

    def timed(step: str, function: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = function()
        spent.setdefault(step, []).append(1000 * (time.perf_counter() - began))
        return result

    with tempfile.TemporaryFile() as file:
        for example_id, labels in builders.examples(source)[:num]:
            names = HPA_KAGGLE_2018.files(example_id)
            paths = [str(source / "train" / name) for name in names]
            data = timed("files read", lambda names=names: [images.read(name) for name in names])
            timed(show.ALONE[0], lambda paths=paths: [cv2.imread(path, flags) for path in paths])
            read = timed("PNGs checked and decoded", lambda data=data: [png.decode(one, bad)[0] for one in data])
            small = timed("resized", lambda read=read: [resize(one, 256) for one in read])
            stacked = timed("stacked", lambda small=small: stack.stack(small))
            timed("moments", lambda small=small: stack.moments(small))
            record = timed(
                "made a record",
                lambda i=example_id, data=stacked.data, labels=labels: records.frame(
                    records.encode(i, data, labels, records.label_vector(labels, HPA_KAGGLE_2018.num_classes))
                ),
            )
            timed("SHA-256", lambda record=record: [hashlib.sha256(piece) for piece in record])
            timed("written", lambda record=record: [file.write(piece) for piece in record])
    return {step: statistics.median(values) for step, values in spent.items()}


def reading(dataset_dir: Path, seconds: float = 12.0) -> dict[str, float]:
    """Returns examples per second of the input pipeline, one stage longer each time; medians of three rounds."""
    from bench import forms, readers
    from model import backend

    backend.start()
    import tensorflow as tf

    from model.data import batches as model_batches

    def rate(batches: Any) -> float:
        def endless() -> readers.Batches:
            while True:
                yield from ((batch, None) for batch in batches.with_options(model_batches.options()).prefetch(2))
                yield readers.END

        return readers.rate(endless(), seconds)

    with tempfile.TemporaryDirectory() as out:
        repeated = readers.tfds_dir(Path(out), readers.TIMES)
        forms.repeat(dataset_dir, repeated, readers.TIMES)
        paths = [str(path) for path in sorted(repeated.glob("*-train.tfrecord-*"))]
        records = tf.data.TFRecordDataset(paths, buffer_size=model_batches.BUFFER_BYTES)
        stages: dict[str, Callable[[], float]] = {
            "records read, checked, batched": lambda: rate(records.batch(64)),
            "shuffled first": lambda: rate(records.shuffle(readers.BUFFER).batch(64)),
            "shards interleaved, parsed": lambda: readers.rate(readers.ours(Path(out), 64, readers.TIMES), seconds),
        }
        rounds = [{name: stage() for name, stage in stages.items()} for _ in range(3)]
    return {name: statistics.median(rates[name] for rates in rounds) for name in stages}


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("dataset_dir", type=click.Path(path_type=Path, exists=True))
def main(source: Path, dataset_dir: Path) -> None:
    """Time the steps of building SOURCE and of reading DATASET_DIR."""
    print(json.dumps({"building": building(source), "reading": reading(dataset_dir)}))


if __name__ == "__main__":
    main()
