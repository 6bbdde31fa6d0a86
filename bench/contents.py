"""Did two builders write the same? Every image of theirs, by id, as a digest."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Content = dict[str, tuple[str, tuple[int, ...]]]
"""Id -> (SHA-256 of the image's bytes, labels)."""


def of(kind: str, path: Path) -> Content:
    """Returns what is in the dataset at `path`; `kind` is `tfds`, `webdataset`, `mds` or `array_record`.

    Raises:
        RuntimeError: an id is there twice.
    """
    found: Content = {}
    for example_id, image, labels in {"tfds": tfds, "webdataset": webdataset, "mds": mds}[kind](path):
        if example_id in found:
            raise RuntimeError(f"{path}: {example_id} is there twice")
        found[example_id] = hashlib.sha256(np.ascontiguousarray(image)).hexdigest(), tuple(sorted(map(int, labels)))
    return found


def tfds(path: Path) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    """Yields every example of a TFDS dataset, of all splits."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(path)
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            yield example["id"].decode(), example["image"], example["labels"].tolist()


def webdataset(path: Path) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    """Yields every example of tar files in WebDataset's form."""
    for name in sorted(path.glob("*.tar")):
        with tarfile.open(name) as tar:
            parts = {member.name: tar.extractfile(member).read() for member in tar}
        for example_id in {one.partition(".")[0] for one in parts}:
            image = np.load(io.BytesIO(parts[f"{example_id}.npy"]))
            yield example_id, image, json.loads(parts[f"{example_id}.json"])


def mds(path: Path) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    """Yields every example of an MDS dataset."""
    from streaming import LocalDataset

    for example in LocalDataset(local=str(path)):
        yield example["id"], example["image"], example["labels"].tolist()
