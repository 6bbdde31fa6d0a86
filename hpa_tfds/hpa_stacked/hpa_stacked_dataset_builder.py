"""The TFDS builder of `hpa_stacked`.

Preparing runs the same job as `python -m pipeline shards` and writes the same bytes: unlike a stock TFDS Beam builder,
it sends no image through a shuffle and continues after a crash. Reading is TFDS's own.
"""

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import tensorflow_datasets.public_api as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from pipeline import job, progress
from pipeline import schema as schemas
from pipeline.config import BuildConfig
from pipeline.dataset import metadata, publish, texts
from pipeline.images import sources
from pipeline.schema import DEFAULT_SIZE, HPA_KAGGLE_2018, RELEASE_NOTES, VERSION, Schema
from pipeline.store import files, layout
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
    """A configuration; `layout.config_name` names it after its schema and size.

    Attributes:
      size: pixels a side.
      schema: describes the source: a name or a TOML file, as `--schema` of `python -m pipeline shards`.
      seed: changes the split and the order of examples.
      on_error, max_bad: what happens to bad images, as in `pipeline.BuildConfig`.
    """

    name: str = ""
    description: str | None = None
    size: int = DEFAULT_SIZE
    schema: str | Schema = HPA_KAGGLE_2018.name
    seed: int = 0
    on_error: str = "fail"
    max_bad: float = 0.01

    def __post_init__(self) -> None:
        self.schema = schemas.load(self.schema) if isinstance(self.schema, str) else self.schema
        expected = layout.config_name(self.schema, self.size)
        self.name = self.name or expected
        self.description = self.description or texts.config_description(self.schema, self.size)
        if self.name != expected:
            raise ValueError(f"config '{self.name}' has size {self.size}, expected the name '{expected}'")


class Builder(FileReaderBuilder):
    """Builder of `hpa_stacked`. Its configurations are sizes, "256" by default, or schemas and sizes."""

    VERSION = tfds.core.Version(VERSION)
    SUPPORTED_VERSIONS = [tfds.core.Version("1.0.0")]  # noqa: RUF012
    RELEASE_NOTES = RELEASE_NOTES
    BUILDER_CONFIGS = [  # noqa: RUF012
        HpaStackedConfig(size=size, schema=name) for name in schemas.BUILT_IN for size in schemas.SIZES
    ]
    DEFAULT_BUILDER_CONFIG_NAME = str(DEFAULT_SIZE)
    MANUAL_DOWNLOAD_INSTRUCTIONS = _LAYOUT.format(dir="<manual_dir>")

    def _info(self) -> tfds.core.DatasetInfo:
        schema = self.builder_config.schema
        published = publish.published_metadata(files.at(os.fspath(self._data_dir))) or {}
        return tfds.core.DatasetInfo(
            builder=self,
            description=texts.description(schema, synthetic=published.get("synthetic", False)),
            features=metadata.features(schema, self.builder_config.size),
            supervised_keys=metadata.supervised_keys(schema),
            homepage=schema.homepage,
            citation=texts.citation(schema),
            license=schema.licence or None,
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
        _refuse(config)
        file_format = _format_name(file_format or self.info.file_format)
        if self.data_path.exists() and not config.download_mode.overwrite_dataset:
            _check_format(self.data_path, _format_name(self.info.file_format), file_format)
            return
        manager = self._make_download_manager(download_dir=download_dir, download_config=config)
        labels, images = _find(
            manager,
            self.builder_config.schema,
            files.at(config.manual_dir or Path(download_dir or manager.download_dir) / "manual"),
        )
        with progress.Bar("building") as update:
            result = job.build(self._build_config(labels, images, config, file_format), update)
        for warning in result.warnings:
            logging.getLogger(__name__).warning("%s", warning)
        # First: `read_from_directory` does not overwrite what the builder already has.
        self.info.set_file_format(file_format, override=True, override_if_initialized=True)
        self.info.read_from_directory(self.data_path)

    def _build_config(
        self, labels: Place, images: Place, config: tfds.download.DownloadConfig, file_format: str
    ) -> BuildConfig:
        settings: dict[str, Any] = {"file_format": file_format}
        if config.max_shard_size != tfds.download.DownloadConfig().max_shard_size:
            settings["shard_mib"] = config.max_shard_size / 2**20
        if config.beam_options is not None:
            settings["beam_args"] = config.beam_options
        return BuildConfig(
            labels=labels,
            images=images,
            data_dir=files.at(os.fspath(self._data_dir_root)),
            schema=self.builder_config.schema,
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


def _format_name(file_format: Any) -> str:
    """Returns the name of a TFDS file format, which may be given as its enum."""
    return str(getattr(file_format, "value", file_format))


def _check_format(path: Any, held: str, expected: str) -> None:
    """Raises `ValueError` if the dataset at `path` is in another format than the one asked for."""
    if held != expected:
        raise ValueError(
            f"{path}: is built in the format {held}, and {expected} is asked for; "
            "use another data_dir, or overwrite the dataset"
        )


def _refuse(config: tfds.download.DownloadConfig) -> None:
    """Raises `ValueError` for a setting of TFDS that this dataset does not support."""
    default = tfds.download.DownloadConfig()
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


def _find(manager: tfds.download.DownloadManager, schema: Schema, expected: Place) -> tuple[Place, Place]:
    """Returns (label table, images).

    Raises:
      AssertionError: as in TFDS, for a `manual_dir` without data; the message names the expected paths.
    """
    try:
        return sources.find(files.at(os.fspath(manager.manual_dir)), schema)
    except FileNotFoundError as error:
        advice = f"\n{_LAYOUT.format(dir=expected)}" if schema == HPA_KAGGLE_2018 else ""
        raise AssertionError(f"{error}{advice}") from None
    except AssertionError as error:  # TFDS's own text, for a missing folder
        raise AssertionError(str(error).replace("<manual_dir>", str(expected))) from None
