"""How does a finished build become a dataset that TFDS reads, in one step?

Shards, TFDS's own metadata and a `SHA256SUMS` file (checked by `sha256sum -c` too) are completed out of
sight, then the folder is renamed to its place. A reader sees all of it or nothing. In an object store, which
cannot rename, `dataset_info.json` is written last and removed first: without it there is no dataset.
"""

import csv
import io
import json
import math
import os
import re
import shutil
from collections.abc import Container, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline import schema
from pipeline.dataset import texts
from pipeline.plan.shards import ShardPlan
from pipeline.store import files
from pipeline.store.files import ObjectPath, Place, replacing, sha256_of
from pipeline.write.writer import BadImageRow, ShardReport

INFO = "dataset_info.json"
CHECKSUMS = "SHA256SUMS"
QUARANTINE = "quarantine.csv"
GROUPS = "groups.csv"
_OURS = re.compile(
    rf"{schema.NAME}-.*\.tfrecord-.*|{INFO}|{CHECKSUMS}|{QUARANTINE}|{GROUPS}|features\.json|metadata\.json"
    r"|.*\.labels\.txt"
)
"""Names of all files that a build puts into a dataset's folder."""

MODULE = "hpa_tfds.hpa_stacked.hpa_stacked_dataset_builder"

SUPERVISED_KEYS = ("image", "labels")


def dataset_dir(data_dir: Place, size: int) -> Place:
    """Returns where TFDS looks for the dataset of that size."""
    return data_dir / schema.NAME / str(size) / schema.VERSION


def published_metadata(path: Place) -> dict[str, Any] | None:
    """Returns what the dataset at `path` says of itself; `{}` if it is none of ours, `None` if none is there."""
    if not _is_published(path):
        return None
    try:
        metadata = json.loads((path / "metadata.json").read_text())
    except (OSError, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _is_published(path: Place) -> bool:
    if isinstance(path, Path):
        return path.exists()
    names = files.listing(path)
    # Shards without metadata are a build under way; anything that we did not write is somebody else's.
    return INFO in names or not all(map(_OURS.fullmatch, names))


def describe(
    plans: Sequence[ShardPlan], reports: Sequence[ShardReport], *, size: int, synthetic: bool
) -> dict[str, Any]:
    """Returns the metadata that follows from what was written.

    `mean` and `std` are per channel over all pixels of train, on the scale 0..1.
    """
    labels = {example.id: example.labels for plan in plans for example in plan.examples}
    counts: dict[str, list[int]] = {}
    for plan, report in zip(plans, reports, strict=True):
        row = counts.setdefault(plan.split, [0] * schema.NUM_CLASSES)
        for label in (label for example_id in report.ids for label in labels[example_id]):
            row[label] += 1
    train = [report for plan, report in zip(plans, reports, strict=True) if plan.split == "train"]
    mean, std = _moments(train)
    return {
        "channels": list(schema.FILTERS),
        "stains": schema.STAINS,
        "class_names": list(schema.CLASS_NAMES),
        "size": size,
        "mean": mean,
        "std": std,
        "label_counts": counts,
        "synthetic": synthetic,
        "num_quarantined": len({row.id for report in reports for row in report.bad}),
        "num_16bit_images": sum(report.num_16bit for report in reports),
    }


def _moments(reports: Sequence[ShardReport]) -> tuple[list[float], list[float]]:
    pixels = sum(report.num_pixels for report in reports)
    mean, std = [], []
    for channel in range(len(schema.FILTERS)):
        # Exact until the last step: the sums are whole numbers.
        first = Fraction(sum(report.channel_sums[channel] for report in reports), pixels)
        second = Fraction(sum(report.channel_squares[channel] for report in reports), pixels)
        mean.append(float(first / 255))
        std.append(math.sqrt(second - first**2) / 255)
    return mean, std


def write_metadata(
    directory: Path, plans: Sequence[ShardPlan], reports: Sequence[ShardReport], metadata: Mapping[str, Any]
) -> None:
    """Writes TFDS's metadata, the quarantine table and the checksums beside the shards in `directory`."""
    bad = [row for report in reports for row in report.bad]
    if bad:
        write_bad_rows(directory / QUARANTINE, bad)
    info = dataset_info(directory, metadata)
    info.set_splits(_split_dict(directory, plans, reports))
    info.write_to_directory(os.fspath(directory))
    digests = {report.filename: report.sha256 for report in reports}
    for path in sorted(directory.iterdir()):
        if path.name not in digests and path.name != CHECKSUMS:
            digests[path.name] = sha256_of(path)
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    with replacing(directory / CHECKSUMS) as file:
        file.write("".join(lines).encode())


def write_bad_rows(path: Place, rows: Iterable[BadImageRow]) -> None:
    """Writes the table of images that could not be used (id, filter, reason code, detail), by id."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "filter", "code", "detail"])
    writer.writerows(sorted((row.id, row.filter, row.code, row.detail) for row in rows))
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def features(size: int) -> Any:
    """Returns the `tfds.features.FeaturesDict` of one example."""
    import numpy as np
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            # Raw bytes: without an encoding TFDS stores integers one by one, at half the reading speed.
            "image": tfds.features.Tensor(
                shape=(size, size, len(schema.FILTERS)),
                dtype=np.uint8,
                encoding=tfds.features.Encoding.BYTES,
            ),
            "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=list(schema.CLASS_NAMES))),
        }
    )


def dataset_info(directory: Path, metadata: Mapping[str, Any]) -> Any:
    """Returns the `tfds.core.DatasetInfo`, without splits, of the dataset in `directory`."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_info import DatasetIdentity

    size = metadata["size"]
    identity = DatasetIdentity(
        name=schema.NAME,
        version=tfds.core.Version(schema.VERSION),
        data_dir=os.fspath(directory),
        module_name=MODULE,
        config_name=str(size),
        config_description=texts.config_description(size),
        release_notes=schema.RELEASE_NOTES,
    )
    return tfds.core.DatasetInfo(
        builder=identity,
        description=texts.description(synthetic=metadata["synthetic"]),
        features=features(size),
        supervised_keys=SUPERVISED_KEYS,
        homepage=texts.HOMEPAGE,
        citation=texts.citation(),
        metadata=tfds.core.MetadataDict(metadata),
    )


def _split_dict(directory: Path, plans: Sequence[ShardPlan], reports: Sequence[ShardReport]) -> Any:
    from tensorflow_datasets.core import naming, splits

    template = naming.ShardedFileTemplate(data_dir=directory, dataset_name=schema.NAME, filetype_suffix="tfrecord")
    infos = []
    for split in schema.SPLITS:
        mine = [report for plan, report in zip(plans, reports, strict=True) if plan.split == split]
        if mine:
            infos.append(
                splits.SplitInfo(
                    name=split,
                    shard_lengths=[len(report.ids) for report in mine],
                    num_bytes=sum(report.num_bytes for report in mine),
                    filename_template=template.replace(split=split),
                )
            )
    return splits.SplitDict(infos)


def unpublish(target: ObjectPath, keep: Container[str]) -> None:
    """Removes what is published at `target`, its metadata first, but for the files to keep."""
    names = files.listing(target)
    files.remove(target / name for name in sorted(names, key=lambda name: name != INFO) if name not in keep)


def upload(metadata: Path, target: ObjectPath) -> None:
    """Makes the shards at `target` the published dataset, by putting their metadata beside them."""
    for path in sorted(metadata.iterdir(), key=lambda path: path.name == INFO):
        files.upload(path, target / path.name)
    _remember_default_config(target.parent.parent)


def move_into_place(finished: Path, target: Path) -> None:
    """Makes the finished folder the published dataset, replacing an older one if there is one.

    The folder appears complete, by a rename. An older one is moved aside first and deleted after; killed in
    between, the next run of the same command finds everything finished and only repeats the rename.
    """
    for path in finished.iterdir():
        _sync(path)  # by now nearly all of it is on the disk already
    aside = target.with_name(f".{target.name}.replaced")
    if target.exists():
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
    finished.rename(target)
    _sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)
    _remember_default_config(target.parent.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remember_default_config(dataset_root: Place) -> None:
    # Lets `tfds.load("hpa_stacked")` find the default size without our code (the format is TFDS's).
    configs = sorted(int(path.name) for path in files.folders(dataset_root) if path.name.isdigit())
    default = schema.DEFAULT_SIZE if schema.DEFAULT_SIZE in configs else configs[0]
    with replacing(dataset_root / ".config" / "metadata.json") as file:
        file.write(json.dumps({"default_config_name": str(default)}).encode())
