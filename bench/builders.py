"""Contenders of the section `build`: each writes the same source as a dataset, as its own documentation shows.

    python -m bench.builders NAME SOURCE OUT --threads 2

All of them read, check and resize with `pipeline.images.stack`; they differ in how examples get into files. A
`limit` only reads and decodes the PNG files.
"""

import concurrent.futures
import functools
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np

from bench.forms import NUM_CLASSES, label_vector
from bench.source import SIZE, examples, load

SHARD_BYTES = 64 << 20

Decoder = Callable[[Path], np.ndarray]


def stock_tfds(source: Path, out: Path, threads: int) -> None:
    """TFDS's own Beam builder, `bench.stock_tfds`."""
    import tensorflow_datasets as tfds
    from apache_beam.options.pipeline_options import PipelineOptions

    from bench.stock_tfds import Stock

    # The default of TFDS, DirectRunner, selects this runner.
    config = tfds.download.DownloadConfig(
        beam_runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner",
        beam_options=PipelineOptions([]),
        try_download_gcs=False,
    )
    Stock(source=source, data_dir=out).download_and_prepare(download_config=config)


def webdataset(source: Path, out: Path, threads: int) -> None:
    """WebDataset's `ShardWriter`, fed by a pool of processes."""
    import webdataset as wds

    out.mkdir(parents=True)
    with wds.ShardWriter(str(out / "train-%05d.tar"), maxsize=SHARD_BYTES, verbose=0) as writer:
        for example_id, image, labels in _pooled(source, threads):
            writer.write({"__key__": example_id, "npy": image, "json": labels})


def mds(source: Path, out: Path, threads: int) -> None:
    """MosaicML Streaming's `MDSWriter`, fed by a pool of processes."""
    from streaming import MDSWriter

    columns = {"id": "str", "image": f"ndarray:uint8:{SIZE},{SIZE},4", "labels": "ndarray:int64"}
    with MDSWriter(out=str(out), columns=columns, size_limit=SHARD_BYTES) as writer:
        for example_id, image, labels in _pooled(source, threads):
            writer.write({"id": example_id, "image": image, "labels": np.array(labels, np.int64)})


def sedpack(source: Path, out: Path, threads: int) -> None:
    """sedpack's filler, fed by a pool of processes; labels as a vector, because attributes have fixed shapes."""
    from sedpack.io import Attribute, Dataset, DatasetStructure, Metadata

    attributes = [
        Attribute(name="id", dtype="str", shape=()),
        Attribute(name="image", dtype="uint8", shape=(SIZE, SIZE, 4)),
        Attribute(name="labels", dtype="uint8", shape=(NUM_CLASSES,)),
    ]
    structure = DatasetStructure(
        saved_data_description=attributes, compression="", examples_per_shard=SHARD_BYTES // (SIZE * SIZE * 4)
    )
    with Dataset.create(out, Metadata(description="all"), structure).filler() as filler:
        for example_id, image, labels in _pooled(source, threads):
            row = {"id": example_id, "image": image, "labels": label_vector(labels)}
            filler.write_example(values=row, split="train")


def _pooled(source: Path, threads: int) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    with multiprocessing.get_context("fork").Pool(threads) as pool:
        yield from pool.imap_unordered(functools.partial(load, source=source), examples(source), chunksize=16)


def limit(source: Path, threads: int, decode: Decoder) -> None:
    """Reads and decodes the four files of every example on `threads` threads; resizes and writes nothing."""
    from pipeline.schema import HPA_KAGGLE_2018

    def each(example: tuple[str, list[int]]) -> None:
        for name in HPA_KAGGLE_2018.channel_names:
            decode(source / "train" / f"{example[0]}_{name}.png")

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(each, examples(source)):
            pass


def _opencv() -> Decoder:
    import cv2

    cv2.setNumThreads(0)
    return lambda path: np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def _pillow() -> Decoder:
    from PIL import Image

    return lambda path: np.asarray(Image.open(path))


def _imagecodecs_png() -> Decoder:
    import imagecodecs

    return lambda path: imagecodecs.png_decode(path.read_bytes())


def _imagecodecs_spng() -> Decoder:
    import imagecodecs

    return lambda path: imagecodecs.spng_decode(path.read_bytes())


def _kornia() -> Decoder:
    import kornia_rs.io

    return lambda path: kornia_rs.io.read_image_png_u8(str(path), "mono")[..., 0]


def _ours() -> Decoder:
    from pipeline.images import limits, png

    bad = functools.partial(limits.BadImage, "any")
    return lambda path: png.decode(path.read_bytes(), bad)[0]


DECODERS: dict[str, Callable[[], Decoder]] = {
    "opencv": _opencv,
    "pillow": _pillow,
    "imagecodecs png": _imagecodecs_png,
    "imagecodecs spng": _imagecodecs_spng,
    "kornia-rs": _kornia,
    "ours": _ours,
}
"""Each function imports its library and returns a decoder: path of a PNG -> uint8 `[height, width]`."""

BUILDERS: dict[str, Callable[[Path, Path, int], None]] = {
    "stock_tfds": stock_tfds,
    "webdataset": webdataset,
    "mds": mds,
    "sedpack": sedpack,
    **{
        f"limit {name}": lambda source, out, threads, make=make: limit(source, threads, make())
        for name, make in DECODERS.items()
    },
}


@click.command()
@click.argument("name", type=click.Choice(list(BUILDERS)))
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--threads", default=2, show_default=True)
def main(name: str, source: Path, out: Path, threads: int) -> None:
    """Build a dataset of SOURCE in OUT with the contender NAME."""
    BUILDERS[name](source, out, threads)


if __name__ == "__main__":
    main()
