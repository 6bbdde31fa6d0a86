"""Rebuilds examples of a published dataset from their images and compares them byte by byte."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pipeline.dataset import publish
from pipeline.errors import InputError
from pipeline.images import sources
from pipeline.images.stack import BadExample, stack_example
from pipeline.plan import manifest
from pipeline.plan.manifest import Manifest
from pipeline.plan.table import Example, summary
from pipeline.schema import HPA_KAGGLE_2018, Schema
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.store.layout import METADATA, is_shard
from pipeline.threads import map_ahead
from pipeline.write import records, shard_files

OnProgress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Rebuilt:
    """The outcome: how many examples were rebuilt, and one line for each difference from the source."""

    num: int
    problems: tuple[str, ...]


def rebuild(
    directory: Place,
    labels: Place,
    images: Place,
    schema: Schema,
    *,
    sample: int | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Rebuilt:
    """Rebuilds examples of a dataset from their images, and compares image, labels and label vector with its records.

    Args:
      directory: of one version of the dataset.
      labels: the label table.
      images: folder or zip.
      schema: describes the source; see `published_schema`.
      sample: how many examples, chosen by a hash of their ids; `None` for all, which also compares the ids themselves.
      on_progress: called with (examples rebuilt, examples in total).

    Raises:
      InputError: the dataset or the source cannot be read.
      RecordError: a shard is damaged.
    """
    metadata = publish.published_metadata(directory) or {}
    source = manifest.read(labels, sources.open_images(images, schema), schema)
    examples = {example.id: example for example in source.examples}
    names = [name for name in sorted(files.listing(directory)) if is_shard(name)]
    ids = [example_id for name in names for example_id in _ids(directory / name)]
    chosen = set(choose(ids, sample))
    compare = _Comparison(source, examples, metadata)
    problems: list[str] = [] if sample is not None else list(_lost(directory, examples, ids, metadata))
    done = 0
    with ThreadPoolExecutor(source.images.threads) as pool:
        stored = (record for record in _records(directory, names) if record.id in chosen)
        for found in map_ahead(pool, compare, stored, 4 * source.images.threads):
            problems += found
            done += 1
            on_progress(done, len(chosen))
    return Rebuilt(done, tuple(problems))


def published_schema(directory: Place) -> Schema:
    """Returns the schema that a dataset was built with; version 1.0.0 recorded none and knew only the default one.

    Raises:
      InputError: its metadata cannot be read.
    """
    metadata = publish.published_metadata(directory)
    if metadata and "schema" not in metadata and metadata.get("dataset_version") == "1.0.0":
        return HPA_KAGGLE_2018
    try:
        return Schema.from_dict((metadata or {})["schema"])
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{directory / METADATA}: holds no schema ({type(error).__name__}), so the examples cannot be rebuilt; "
            "name the one of the source with --schema"
        ) from None


def choose(ids: Sequence[str], num: int | None) -> list[str]:
    """Returns `num` of the ids (`None`: all), always the same ones for the same set of ids."""
    # Not the first ones: they may all have been written by one worker.
    return sorted(ids, key=lambda example_id: hashlib.sha256(f"rebuild {example_id}".encode()).digest())[:num]


def _ids(path: Place) -> list[str]:
    with files.reading(path) as file:
        return list(shard_files.of_file(path.name).read_ids(file))


def _records(directory: Place, names: Sequence[str]) -> Iterator[records.Record]:
    for name in names:
        with files.reading(directory / name) as file:
            yield from map(records.decode, shard_files.of_file(name).read(file, hashlib.sha256()))


def _lost(
    directory: Place, examples: Mapping[str, Example], ids: Sequence[str], metadata: Mapping[str, Any]
) -> Iterator[str]:
    """Yields a problem unless exactly as many ids are missing from the dataset as its build left out."""
    lost = sorted(examples.keys() - set(ids))
    limited = metadata.get("max_examples_per_split") is not None
    if not limited and len(lost) != metadata.get("num_quarantined", 0):
        listed = summary([f"id '{example_id}'" for example_id in lost], "ids")
        yield (
            f"{len(lost)} ids of the label table are not in {directory}, "
            f"expected {metadata.get('num_quarantined', 0)} that were left out: {listed}"
        )


@dataclasses.dataclass(frozen=True)
class _Comparison:
    source: Manifest
    examples: Mapping[str, Example]
    metadata: Mapping[str, Any]

    def __call__(self, record: records.Record) -> list[str]:
        """Returns how a record differs from what its source gives now."""
        example, schema = self.examples.get(record.id), self.source.schema
        if example is None:
            return [f"id '{record.id}': not in the label table"]
        try:
            names = self.source.names(example)
            image = stack_example(self.source.images, names, schema, int(self.metadata["size"])).image
        except BadExample as error:
            return [f"id '{record.id}': cannot be rebuilt: {image.filter}: {image.detail}" for image in error.images]
        vector = records.label_vector(example.labels, schema.num_classes)
        return list(_differences(record, example, image, vector, schema))


def _differences(
    record: records.Record, example: Example, image: np.ndarray, vector: bytes, schema: Schema
) -> Iterator[str]:
    if record.image != image.tobytes():
        yield f"id '{record.id}': {_pixels(record.image, image)}"
    if record.labels != example.labels:
        yield f"id '{record.id}': labels {list(record.labels)}, but the label table says {list(example.labels)}"
    # Records of dataset version 1.0.0 have no vector.
    if record.label_vector not in (None, vector) or record.single != schema.single_label:
        yield f"id '{record.id}': its label vector does not match the labels in the label table"


def _pixels(stored: bytes, image: np.ndarray) -> str:
    if len(stored) != image.nbytes:
        return f"image of {len(stored)} bytes, but its files give {image.nbytes}"
    found = np.frombuffer(stored, image.dtype).astype(np.int64)
    distance = np.abs(found - image.reshape(-1))
    return (
        f"{np.count_nonzero(distance)} of {image.size} values of the image are not those that its files give "
        f"(by up to {distance.max()})"
    )
