"""A TFDS Beam builder as TFDS's documentation shows it: `_generate_examples` returns a PTransform."""

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_datasets as tfds

from bench.source import SIZE, examples, load
from pipeline.schema import HPA_KAGGLE_2018


class Stock(tfds.core.GeneratorBasedBuilder):
    """The images of this project, shuffled and written by TFDS."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, source: Path, **kwargs: Any) -> None:
        self._source = source
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        labels = tfds.features.Sequence(tfds.features.ClassLabel(names=list(HPA_KAGGLE_2018.classes)))
        image = tfds.features.Tensor(shape=(SIZE, SIZE, 4), dtype=np.uint8)
        features = {"id": tfds.features.Text(), "image": image, "labels": labels}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Any:
        source = self._source

        def record(example: tuple[str, list[int]]) -> tuple[str, dict[str, Any]]:
            example_id, image, labels = load(example, source)
            return example_id, {"id": example_id, "image": image, "labels": labels}

        return beam.Create(examples(source)) | beam.Map(record)
