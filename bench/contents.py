"""The content of a dataset in any of the formats that builders write, as digests by id."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Content = dict[str, tuple[str, tuple[int, ...]]]
"""Id -> (SHA-256 of the image's bytes, ascending labels)."""


def read(kind: str, path: Path) -> Content:
    """Returns the content of the dataset at `path`; `kind` is `tfds`, `webdataset`, `mds` or `sedpack`.

    Raises:
        RuntimeError: an id occurs twice.
    """
    content: Content = {}
    readers = {"tfds": tfds, "webdataset": webdataset, "mds": mds, "sedpack": sedpack}
    for example_id, image, labels in readers[kind](path):
        if example_id in content:
            raise RuntimeError(f"{path}: id {example_id} occurs twice, expected once")
        content[example_id] = (
            hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest(),
            tuple(sorted(map(int, labels))),
        )
    return content


def tfds(path: Path) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    """Yields every example of all splits of a TFDS dataset."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(path)
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            yield example["id"].decode(), example["image"], example["labels"].tolist()


def webdataset(path: Path) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    """Yields every example of WebDataset's tar files."""
    for name in sorted(path.glob("*.tar")):
        with tarfile.open(name) as tar:
            parts = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
        for example_id in {part.partition(".")[0] for part in parts}:
            image = np.load(io.BytesIO(parts[f"{example_id}.npy"]))
            yield example_id, image, json.loads(parts[f"{example_id}.json"])


def mds(path: Path) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    """Yields every example of an MDS dataset."""
    from streaming import LocalDataset

    for example in LocalDataset(local=str(path)):
        yield example["id"], example["image"], example["labels"].tolist()


def sedpack(path: Path) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    """Yields every example of a sedpack dataset."""
    from sedpack.io import Dataset

    for example in Dataset(path).as_numpy_iterator(split="train", repeat=False, shuffle=0):
        yield example["id"], example["image"], np.flatnonzero(example["labels"]).tolist()
