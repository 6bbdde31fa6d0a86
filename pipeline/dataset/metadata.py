"""TFDS's metadata of a dataset, and what its own metadata says about the build."""

import math
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline import schema
from pipeline.dataset import texts
from pipeline.write.reports import ShardReport
from pipeline.write.tasks import Task

MODULE = "hpa_tfds.hpa_stacked.hpa_stacked_dataset_builder"

SUPERVISED_KEYS = ("image", "labels")


def by_split(tasks: Sequence[Task], reports: Sequence[ShardReport]) -> dict[str, list[ShardReport]]:
    """Returns the reports of each split that has any shards, in the order of the tasks."""
    found: dict[str, list[ShardReport]] = {}
    for task, report in zip(tasks, reports, strict=True):
        found.setdefault(task.plan.split, []).append(report)
    return found


def count_examples(tasks: Sequence[Task], reports: Sequence[ShardReport]) -> dict[str, int]:
    """Returns how many examples were written to each split."""
    return {split: sum(len(report.ids) for report in mine) for split, mine in by_split(tasks, reports).items()}


def describe(tasks: Sequence[Task], reports: Sequence[ShardReport], *, size: int, synthetic: bool) -> dict[str, Any]:
    """Returns the metadata that follows from what was written.

    `mean` and `std` are per channel over all pixels of train, on the scale 0..1.
    """
    shards, labels = by_split(tasks, reports), {e.id: e.labels for task in tasks for e in task.plan.examples}
    counts = {split: [0] * schema.NUM_CLASSES for split in shards}
    for split, mine in shards.items():
        for label in (label for report in mine for example_id in report.ids for label in labels[example_id]):
            counts[split][label] += 1
    mean, std = _moments(shards["train"])
    return {
        "channels": list(schema.FILTERS),
        "stains": schema.STAINS,
        "class_names": list(schema.CLASS_NAMES),
        "size": size,
        "mean": mean,
        "std": std,
        "label_counts": counts,
        "synthetic": synthetic,
        "num_quarantined": len({example_id for report in reports for example_id in report.bad_ids}),
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


def write_dataset_info(
    directory: Path, tasks: Sequence[Task], reports: Sequence[ShardReport], metadata: Mapping[str, Any]
) -> None:
    """Writes TFDS's metadata files for the shards of a build into `directory`."""
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
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=texts.description(synthetic=metadata["synthetic"]),
        features=features(size),
        supervised_keys=SUPERVISED_KEYS,
        homepage=texts.HOMEPAGE,
        citation=texts.citation(),
        metadata=tfds.core.MetadataDict(metadata),
    )
    info.set_splits(_split_dict(directory, tasks, reports))
    info.write_to_directory(os.fspath(directory))


def _split_dict(directory: Path, tasks: Sequence[Task], reports: Sequence[ShardReport]) -> Any:
    from tensorflow_datasets.core import naming, splits

    template = naming.ShardedFileTemplate(data_dir=directory, dataset_name=schema.NAME, filetype_suffix="tfrecord")
    infos = [
        splits.SplitInfo(
            name=split,
            shard_lengths=[len(report.ids) for report in mine],
            num_bytes=sum(report.num_bytes for report in mine),
            filename_template=template.replace(split=split),
        )
        for split, mine in by_split(tasks, reports).items()
    ]
    return splits.SplitDict(infos)
