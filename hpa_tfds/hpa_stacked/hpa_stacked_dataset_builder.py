"""The TFDS builder of `hpa_stacked`.

Preparing runs the same job as `python -m pipeline shards` and writes the same bytes: unlike a stock TFDS Beam builder,
it sends no image through a shuffle and continues after a crash. Reading is TFDS's own.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import tensorflow_datasets.public_api as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from pipeline import job, progress, schema
from pipeline.config import BuildConfig
from pipeline.dataset import metadata, publish, texts
from pipeline.images import sources
from pipeline.store import files
from pipeline.store.files import Place

_LAYOUT = """\
Put the images and the label table of the Kaggle competition "Human Protein Atlas Image Classification" (2018,
https://www.kaggle.com/c/human-protein-atlas-image-classification/data; it asks for an account) here:
  {dir}/train.csv                     header Id,Target
  {dir}/train.zip                     as downloaded, unopened, or unpacked:
  {dir}/train/<Id>_red.png            and _green, _blue, _yellow, for each Id
or name another folder of that layout with --manual_dir."""


@dataclasses.dataclass(eq=False, kw_only=True)
class HpaStackedConfig(tfds.core.BuilderConfig):
    """A configuration, named after its size.

    Attributes:
      size: pixels a side.
      seed: changes the split and the order of examples.
      on_error, max_bad: what happens to bad images, as in `pipeline.BuildConfig`.
    """

    name: str = ""
    description: str | None = None
    size: int = schema.DEFAULT_SIZE
    seed: int = 0
    on_error: str = "fail"
    max_bad: float = 0.01

    def __post_init__(self) -> None:
        self.name = self.name or str(self.size)
        self.description = self.description or texts.config_description(self.size)
        if self.name != str(self.size):
            raise ValueError(f"config '{self.name}' has size {self.size}, expected the name '{self.size}'")


class Builder(FileReaderBuilder):
    """Builder of `hpa_stacked`. Its configurations are sizes, "256" by default."""

    VERSION = tfds.core.Version(schema.VERSION)
    RELEASE_NOTES = schema.RELEASE_NOTES
    BUILDER_CONFIGS = [HpaStackedConfig(size=size) for size in schema.SIZES]  # noqa: RUF012
    DEFAULT_BUILDER_CONFIG_NAME = str(schema.DEFAULT_SIZE)
    MANUAL_DOWNLOAD_INSTRUCTIONS = _LAYOUT.format(dir="<manual_dir>")

    def _info(self) -> tfds.core.DatasetInfo:
        published = publish.published_metadata(files.at(os.fspath(self._data_dir))) or {}
        return tfds.core.DatasetInfo(
            builder=self,
            description=texts.description(synthetic=published.get("synthetic", False)),
            features=metadata.features(self.builder_config.size),
            supervised_keys=metadata.SUPERVISED_KEYS,
            homepage=texts.HOMEPAGE,
            citation=texts.citation(),
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(
        self,
        *,
        download_dir: Any = None,
        download_config: tfds.download.DownloadConfig | None = None,
        file_format: Any = None,
        permissions: Any = None,
    ) -> None:
        """Builds and publishes the dataset of this configuration, unless it is already published.

        Nothing is downloaded: the source is `manual_dir`. Arguments are those that TFDS documents.

        Raises:
          AssertionError: no data in `manual_dir`; the message names the expected paths.
          ValueError: an argument that this dataset does not support, or a source that cannot be built from.
        """
        config = download_config or tfds.download.DownloadConfig()
        _refuse(config, file_format or self.info.file_format)
        if self.data_path.exists() and not config.download_mode.overwrite_dataset:
            return
        manager = self._make_download_manager(download_dir=download_dir, download_config=config)
        labels, images = _find(
            manager, files.at(config.manual_dir or Path(download_dir or manager.download_dir) / "manual")
        )
        with progress.Bar("building") as update:
            job.build(self._build_config(labels, images, config), update)
        self.info.read_from_directory(self.data_path)

    def _build_config(self, labels: Place, images: Place, config: tfds.download.DownloadConfig) -> BuildConfig:
        settings: dict[str, Any] = {}
        if config.max_shard_size != tfds.download.DownloadConfig().max_shard_size:
            settings["shard_mib"] = config.max_shard_size / 2**20
        if config.beam_options is not None:
            settings["beam_args"] = config.beam_options
        return BuildConfig(
            labels=labels,
            images=images,
            data_dir=files.at(os.fspath(self._data_dir_root)),
            size=self.builder_config.size,
            seed=self.builder_config.seed,
            on_error=self.builder_config.on_error,
            max_bad=self.builder_config.max_bad,
            num_shards=config.num_shards,
            max_examples=config.max_examples_per_split,
            overwrite=config.download_mode.overwrite_dataset,
            **settings,
        )

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("download_and_prepare builds the dataset")


def _refuse(config: tfds.download.DownloadConfig, file_format: Any) -> None:
    """Raises `ValueError` for a setting of TFDS that this dataset does not support."""
    default = tfds.download.DownloadConfig()
    if getattr(file_format, "value", file_format) not in (None, "tfrecord"):
        _refuse_one("file_format", "hpa_stacked is written as tfrecord")
    if config.download_mode == tfds.download.GenerateMode.UPDATE_DATASET_INFO:
        _refuse_one("update_metadata_only", "the dataset's checksums cover its metadata; build it again")
    if config.max_examples_per_split == 0:
        _refuse_one("max_examples_per_split=0", "'python -m pipeline audit' checks a source without building")
    if config.ignore_duplicates:
        _refuse_one("ignore_duplicates", "a repeated id is an error in the label table")
    if config.min_shard_size != default.min_shard_size:
        _refuse_one("min_shard_size", "set max_shard_size or num_shards")
    if config.compute_stats not in (default.compute_stats, tfds.download.ComputeStatsMode.AUTO):
        _refuse_one("compute_stats", "counts and channel statistics are always computed")
    if config.beam_runner is not None:
        _refuse_one("beam_runner", "name the runner in beam_pipeline_options")


def _refuse_one(name: str, advice: str) -> None:
    raise ValueError(f"{name} is not supported by hpa_stacked: {advice}")


def _find(manager: tfds.download.DownloadManager, expected: Place) -> tuple[Place, Place]:
    """Returns (label table, images).

    Raises:
      AssertionError: as in TFDS, for a `manual_dir` without data; the message names the expected paths.
    """
    try:
        return sources.find(files.at(os.fspath(manager.manual_dir)))
    except FileNotFoundError as error:
        raise AssertionError(f"{error}\n{_LAYOUT.format(dir=expected)}") from None
    except AssertionError as error:  # TFDS's own text, for a folder that is not there
        raise AssertionError(str(error).replace("<manual_dir>", str(expected))) from None
