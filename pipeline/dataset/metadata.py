"""TFDS's metadata of a dataset, and `metadata.json`, which describes the build."""

import math
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.dataset import texts
from pipeline.schema import NAME, RELEASE_NOTES, VERSION, Schema
from pipeline.store import layout
from pipeline.write.reports import ShardReport
from pipeline.write.tasks import Task

MODULE = "hpa_tfds.hpa_stacked.hpa_stacked_dataset_builder"


def by_split(tasks: Sequence[Task], reports: Sequence[ShardReport]) -> dict[str, list[ShardReport]]:
    """Returns the reports of each split that has any shards, in the order of the tasks."""
    found: dict[str, list[ShardReport]] = {}
    for task, report in zip(tasks, reports, strict=True):
        found.setdefault(task.plan.split, []).append(report)
    return found


def count_examples(tasks: Sequence[Task], reports: Sequence[ShardReport]) -> dict[str, int]:
    """Returns how many examples were written to each split."""
    return {split: sum(len(report.ids) for report in mine) for split, mine in by_split(tasks, reports).items()}


def describe(
    tasks: Sequence[Task], reports: Sequence[ShardReport], schema: Schema, *, size: int, synthetic: bool
) -> dict[str, Any]:
    """Returns the metadata that follows from what was written.

    `mean` and `std` are per channel over all pixels of train, on the scale 0..1.
    """
    shards, labels = by_split(tasks, reports), {e.id: e.labels for task in tasks for e in task.plan.examples}
    counts = {split: [0] * schema.num_classes for split in shards}
    for split, mine in shards.items():
        for label in (label for report in mine for example_id in report.ids for label in labels[example_id]):
            counts[split][label] += 1
    mean, std = _moments(shards["train"], schema)
    return {
        "schema": schema.to_dict(),
        "channels": list(schema.channel_names),
        "stains": schema.stains,
        "class_names": list(schema.classes),
        "single_label": schema.single_label,
        "size": size,
        "mean": mean,
        "std": std,
        "label_counts": counts,
        "synthetic": synthetic,
        "num_quarantined": len({example_id for report in reports for example_id in report.bad_ids}),
        "num_16bit_images": sum(report.num_16bit for report in reports),
        "num_dim_images": {
            name: sum(report.num_dim[k] for report in reports) for k, name in enumerate(schema.channel_names)
        },
    }


def _moments(reports: Sequence[ShardReport], schema: Schema) -> tuple[list[float], list[float]]:
    pixels = sum(report.num_pixels for report in reports)
    mean, std = [], []
    for channel in range(schema.num_channels):
        # Exact until the last step: the sums are whole numbers.
        first = Fraction(sum(report.channel_sums[channel] for report in reports), pixels)
        second = Fraction(sum(report.channel_squares[channel] for report in reports), pixels)
        mean.append(float(first / schema.max_value))
        std.append(math.sqrt(second - first**2) / schema.max_value)
    return mean, std


def features(schema: Schema, size: int) -> Any:
    """Returns the `tfds.features.FeaturesDict` of one example."""
    import numpy as np
    import tensorflow_datasets as tfds

    label = tfds.features.ClassLabel(names=list(schema.classes))
    # Raw bytes: without an encoding TFDS stores integers one by one, at half the reading speed.
    raw = tfds.features.Encoding.BYTES
    image = tfds.features.Tensor(
        shape=(size, size, schema.num_channels), dtype=np.dtype(schema.dtype).type, encoding=raw
    )
    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": image,
            # Of fixed length: batching pads `labels` with 0, which is a class.
            "label_vector": tfds.features.Tensor(shape=(schema.num_classes,), dtype=np.uint8, encoding=raw),
            **({"label": label} if schema.single_label else {"labels": tfds.features.Sequence(label)}),
        }
    )


def supervised_keys(schema: Schema) -> tuple[str, str]:
    """Returns the features that `as_supervised` gives."""
    return ("image", "label" if schema.single_label else "label_vector")


def write_dataset_info(
    directory: Path,
    tasks: Sequence[Task],
    reports: Sequence[ShardReport],
    schema: Schema,
    metadata: Mapping[str, Any],
) -> None:
    """Writes TFDS's metadata files for the shards of a build into `directory`."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_info import DatasetIdentity

    size = metadata["size"]
    identity = DatasetIdentity(
        name=NAME,
        version=tfds.core.Version(VERSION),
        data_dir=os.fspath(directory),
        module_name=MODULE,
        config_name=layout.config_name(schema, size),
        config_description=texts.config_description(schema, size),
        release_notes=RELEASE_NOTES,
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=texts.description(schema, synthetic=metadata["synthetic"]),
        features=features(schema, size),
        supervised_keys=supervised_keys(schema),
        homepage=schema.homepage,
        citation=texts.citation(schema),
        license=schema.licence or None,
        metadata=tfds.core.MetadataDict(metadata),
    )
    info.set_file_format(metadata["file_format"])
    info.set_splits(_split_dict(directory, tasks, reports, metadata["file_format"]))
    info.write_to_directory(os.fspath(directory))


def _split_dict(directory: Path, tasks: Sequence[Task], reports: Sequence[ShardReport], file_format: str) -> Any:
    from tensorflow_datasets.core import naming, splits

    template = naming.ShardedFileTemplate(data_dir=directory, dataset_name=NAME, filetype_suffix=file_format)
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
