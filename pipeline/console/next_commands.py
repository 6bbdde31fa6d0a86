"""The command to run after another, with the same arguments."""

import contextlib
from typing import TYPE_CHECKING, Any

import click

from pipeline.console.called import echo_next

if TYPE_CHECKING:
    from pipeline.config import BuildConfig, BuildResult
    from pipeline.schema import Schema
    from pipeline.store.files import Place

SCHEMA = "pipeline.schema"
"""Key in click's `context.meta` of the value of `--schema` as it was typed."""


def source_arguments(schema: object = None) -> list[Any]:
    """Returns the options of the running command that name its input, with another schema if one is given."""
    context = click.get_current_context()
    found: list[Any] = []
    for name in ("source", "images", "labels"):
        if (place := context.params.get(name)) is not None:
            found += [f"--{name}", place]
    return found + (["--schema", schema] if schema else schema_arguments())


def schema_arguments() -> list[Any]:
    """Returns `--schema` as it was given to the running command; nothing for the default."""
    typed = click.get_current_context().meta.get(SCHEMA, "hpa_kaggle_2018")
    return [] if typed == "hpa_kaggle_2018" else ["--schema", typed]


def size_arguments(size: int) -> list[Any]:
    """Returns `--size`; nothing for the default."""
    from pipeline.schema import DEFAULT_SIZE

    return ["--size", size] if size != DEFAULT_SIZE else []


def after_audit(source: "Place | None", size: int) -> None:
    """After an audit: build, at a size that suits the images."""
    sized = size_arguments(size)
    make = ["shards", f"SOURCE={source}", *([f"SIZE={size}"] if sized else [])]
    by_make = make if source is not None and not schema_arguments() else None
    echo_next("pipeline shards", *source_arguments(), *sized, make=by_make)


def after_sample(out: "Place") -> None:
    """After drawing: build."""
    from pipeline import data_dirs

    echo_next("pipeline shards", "--source", out, "--data-dir", data_dirs.SYNTHETIC, make=[])


def after_split(labels: "Place", schema: "Schema", out: "Place") -> None:
    """After a split: build with it, from the folder of the label table if that is a source."""
    from pipeline.errors import InputError
    from pipeline.images import sources

    sized: list[Any] = []
    with contextlib.suppress(InputError, OSError):  # the images may be elsewhere
        sized = fitting_arguments(*sources.find(labels.parent, schema), schema)
    echo_next("pipeline shards", "--source", labels.parent, *schema_arguments(), *sized, "--keep", out)


def after_groups(labels: "Place", images: "Place", schema: "Schema", out: "Place") -> None:
    """After a search for duplicates: build with the groups."""
    sized = fitting_arguments(labels, images, schema)
    echo_next("pipeline shards", *source_arguments(), *sized, "--groups", out)


def fitting_arguments(labels: "Place", images: "Place", schema: "Schema") -> list[Any]:
    """Returns `--size` if images are smaller than the default; nothing if they are remote or cannot be read."""
    from pipeline.errors import InputError, StorageError
    from pipeline.images import sources
    from pipeline.plan import manifest
    from pipeline.source.fitting import fitting_size
    from pipeline.store import files

    if files.is_remote(images):
        return []
    try:
        return size_arguments(fitting_size(manifest.read(labels, sources.open_images(images, schema), schema)))
    except (InputError, StorageError, OSError):
        return []


def after_build(config: "BuildConfig", result: "BuildResult") -> None:
    """After a build: train, if the trainer reads the dataset and is installed; else verify the dataset."""
    from pipeline import data_dirs

    found = data_dirs.remember(config.data_dir)
    if _is_to_train_on(config.data_dir, config.file_format):
        train(config.schema, config.size, None if found else config.data_dir)
    else:
        echo_next("pipeline verify", result.path)


def _is_to_train_on(data_dir: "Place", file_format: str) -> bool:
    from pipeline.console import called, extras
    from pipeline.store import files

    readable = file_format == "tfrecord" and not files.is_remote(data_dir)
    return readable and (called.by_make() or extras.can_train())


def after_verify(dataset_dir: "Place") -> None:
    """After verification: train, if the trainer finds the dataset and is installed; else how to read it."""
    from pipeline import data_dirs
    from pipeline.dataset import publish, rebuild
    from pipeline.errors import echo
    from pipeline.schema import NAME

    metadata = publish.published_metadata(dataset_dir) or {}
    config_dir = dataset_dir.parent
    data_dir, file_format = config_dir.parent.parent, metadata.get("file_format", "tfrecord")
    if config_dir.parent.name != NAME or "size" not in metadata:
        return
    if not _is_to_train_on(data_dir, file_format):
        echo(how_to_read(config_dir.name, data_dir, file_format), err=True)
        return
    found = data_dir.absolute() == data_dirs.to_read()
    train(rebuild.published_schema(dataset_dir), metadata["size"], None if found else data_dir)


def how_to_read(config_name: str, data_dir: "Place", file_format: str) -> str:
    """Returns the call that opens a dataset, and what it needs if that is not installed."""
    from pipeline.console import extras
    from pipeline.schema import NAME

    reader = "load" if file_format == "tfrecord" else "data_source"
    lacking = reader == "load" and not extras.is_installed("tensorflow")
    without = "; it needs TensorFlow, and docs/reading.md shows how to read without it" if lacking else ""
    return f"read it with tfds.{reader}({f'{NAME}/{config_name}'!r}, data_dir={str(data_dir)!r}){without}"


def train(schema: "Schema", size: int, data_dir: "Place | None") -> None:
    """Prints the command for a short run on a dataset; `data_dir` is `None` where the trainer finds it by itself."""
    from pipeline.schema import DEFAULT_SIZE, HPA_KAGGLE_2018

    suits_presets = schema.channel_names == HPA_KAGGLE_2018.channel_names and not schema.single_label
    preset = [] if suits_presets else ["--preset", "any"]
    named = [] if schema.name == HPA_KAGGLE_2018.name else ["--schema", schema.name]
    sized = ["--size", size] if size != DEFAULT_SIZE or preset else []
    where = ["--data-dir", data_dir] if data_dir is not None else []
    make = ["train"]
    make += [] if suits_presets else ["PRESET=any"]
    make += [f"SIZE={size}"] if sized else []
    make += [f"TRAIN_ARGS=--smoke --schema {schema.name}"] if named else []
    make += [f"DATA_DIR={data_dir}"] if where else []
    echo_next("model.train", *preset, *named, *sized, "--smoke", *where, make=make)
