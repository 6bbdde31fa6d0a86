"""The command line: `python -m pipeline sample | schema | audit | fingerprint | groups | split | shards | verify`."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import schema_commands
from pipeline.console import next_commands
from pipeline.console.called import echo_next
from pipeline.console.commands import Group
from pipeline.errors import counted, echo, one_line_errors, shown
from pipeline.options import BEAM_ARGUMENTS, PATH, PLACE, SCHEMA_OPTION, find_source, load_schema, source_options
from pipeline.schema import DEFAULT_SIZE

if TYPE_CHECKING:
    from pipeline.plan.splits import Splits
    from pipeline.plan.table import LabelTable
    from pipeline.schema import Schema
    from pipeline.store.files import Place

STOPPED = "stopped; the same command continues where it was"

# Everything else is imported by the command that needs it, so that `--help` answers at once.


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Turn microscope images and a label table into a sharded, split, verified TFDS dataset.

    \b
    No images at hand?    python -m pipeline sample build/sample
    Your own images?      python -m pipeline schema init DIR --out atlas.toml
    Are they complete?    python -m pipeline audit --source DIR
    Any duplicates?       python -m pipeline fingerprint, then groups
    Build the dataset:    python -m pipeline shards --source DIR --data-dir data
    Is it still intact?   python -m pipeline verify data/hpa_stacked/256/1.0.0
    """


def _sizes(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        return tuple(int(word) for word in value.split(",")) if value else None
    except ValueError:
        raise click.BadParameter(f"{value!r}, expected three whole numbers like 24000,3000,4072") from None


def _share(context: click.Context, parameter: click.Parameter, value: str) -> float:
    try:
        share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise click.BadParameter(f"{value!r}, expected a share like 1% or 0.01")
    return share


def split_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for the split."""
    for option in (
        click.option("--seed", default=0, show_default=True, help="Seed of the split and of the order of examples."),
        click.option(
            "--groups",
            type=PLACE,
            help="CSV with the columns Id,Group. Examples of one group, such as near-duplicates, stay in one split. "
            "'shards' also takes 'auto': find duplicates first.",
        ),
        click.option(
            "--groups-extra",
            type=click.Choice(["error", "ignore"]),
            default="error",
            show_default=True,
            help="With ids in --groups that are not in the label table: refuse the table, or count and ignore them.",
        ),
        click.option(
            "--keep",
            type=PLACE,
            help="Earlier split (a CSV with the columns Id,Split, or the folder of a published dataset). "
            "Its examples stay in their split; only new ones are placed.",
        ),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("out", type=PATH)
@click.option("--num", default=1000, show_default=True, type=click.IntRange(1), help="Examples to draw.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the drawings.")
@click.option("--balanced", is_flag=True, help="Draw every class equally often, not with its real frequency.")
@click.option("--workers", type=click.IntRange(1), help="Processes to draw with.  [default: one per processor]")
def sample(out: Path, num: int, seed: int, balanced: bool, workers: int | None) -> None:
    """Draw a synthetic source in Kaggle's layout into the folder OUT.

    Pictures of cells with the atlas's four stains and 28 localisations, to try everything without the real
    images. The same seed gives the same files. If it is killed, the same command continues.
    """
    from pipeline.atlas.sample import write_sample

    with one_line_errors(STOPPED):
        write_sample(out, num=num, seed=seed, balanced=balanced, workers=workers)
    echo(f"{num} synthetic examples in {out}")
    next_commands.after_sample(out)


@main.command()
@source_options
@click.option("--deep", is_flag=True, help="Also decode every image, which takes as long as a build.")
@click.option(
    "--size",
    type=click.IntRange(1),
    help=f"With --deep: size of the dataset to be built, in pixels a side.  [default: {DEFAULT_SIZE}, or what fits the "
    "first image if that is smaller]",
)
@click.option("--threads", type=click.IntRange(1), help="With --deep: decoding threads.  [default: one per processor]")
def audit(
    source: "Place | None",
    images: "Place | None",
    labels: "Place | None",
    schema: "Schema",
    deep: bool,
    size: int | None,
    threads: int | None,
) -> None:
    """Count everything in a source and report every problem.

    Writes nothing. Exits with 1 if there is any problem.
    """
    from pipeline import progress
    from pipeline.dataset import audit as audit_module

    with one_line_errors(STOPPED):
        labels_path, images_path = find_source(source, images, labels, schema)
        with progress.Bar("checking") as update:
            found = audit_module.audit(
                labels_path, images_path, schema, deep=deep, size=size, threads=threads, on_progress=update
            )
        echo(found.report())
    if deep and size is None:
        echo(f"checked for a dataset of {found.size} pixels a side; --size checks for another")
    if found.problems:
        sys.exit(1)
    next_commands.after_audit(source, found.size)


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@source_options
@click.option("--out", required=True, type=PLACE, help="CSV to write: one row for each example.")
@click.option("--threads", type=click.IntRange(1), help="Decoding threads per worker.  [default: one per processor]")
@BEAM_ARGUMENTS
def fingerprint(
    source: "Place | None",
    images: "Place | None",
    labels: "Place | None",
    schema: "Schema",
    out: "Place",
    threads: int | None,
    beam_args: tuple[str, ...],
) -> None:
    """Compute digests and perceptual hashes of every example.

    The table also has landmarks; 'groups' finds duplicates in it.
    Reads and decodes every image, on any runner. If it is killed, the same command continues.
    Options that are not listed here are passed to Apache Beam, such as --runner=FlinkRunner.
    """
    from pipeline import progress
    from pipeline.duplicates import build

    with one_line_errors(STOPPED):
        labels_path, images_path = find_source(source, images, labels, schema)
        with progress.Bar("fingerprints") as update:
            result = build.fingerprint(
                labels_path, images_path, out, schema, threads=threads, beam_args=beam_args, on_progress=update
            )
    echo(result.report())
    source_named = next_commands.source_arguments()
    echo_next("pipeline groups", "--fingerprints", out, "--out", out.with_name("groups.csv"), *source_named)


@main.command()
@click.option("--fingerprints", required=True, type=PLACE, help="Table from 'fingerprint'.")
@click.option("--out", required=True, type=PLACE, help="CSV to write, with the columns Id,Group.")
@source_options
@click.option("--rotations", is_flag=True, help="Also compare images rotated by quarter turns and flipped.")
@click.option("--sheet", type=PATH, help="PNG to draw the largest groups to; needs --source.")
def groups(
    fingerprints: "Place",
    out: "Place",
    source: "Place | None",
    images: "Place | None",
    labels: "Place | None",
    schema: "Schema",
    rotations: bool,
    sheet: Path | None,
) -> None:
    """Find duplicates, near-duplicates and overlapping images.

    Writes the groups that 'split' and 'shards' keep together.
    With a label table (--labels or --source), groups are joined with the schema's group columns, and pairs whose
    labels differ are listed. All pairs are written beside the groups, to a CSV that ends in -pairs.csv.
    """
    from pipeline.duplicates import find_groups

    if source is not None:
        labels, images = find_source(source, images, labels, schema)
    if sheet and (labels is None or images is None):
        raise click.UsageError("--sheet shows images and labels: name them with --source, or --images and --labels")
    with one_line_errors():
        echo(find_groups.run(fingerprints, out, labels, images, schema, rotations=rotations, sheet=sheet))
    if labels is not None and images is not None:
        next_commands.after_groups(labels, images, schema, out)


@main.command()
@click.option("--labels", required=True, type=PLACE, help="Label table, a CSV; by default with the columns Id,Target.")
@SCHEMA_OPTION
@click.option(
    "--out",
    required=True,
    type=PATH,
    help="CSV to write, with the columns Id,Split. With --folds: folder for fold-0.csv, fold-1.csv, ...",
)
@click.option(
    "--sizes", callback=_sizes, help="Examples in train,dev,test.  [default: in the proportion 24000,3000,4072]"
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    help="Write this many splits instead of one; each example is in test in exactly one of them.",
)
@click.option(
    "--page",
    type=PATH,
    help="Page (HTML) to write.  [default: --out with the ending .html; with --folds: folds.html in it]",
)
@split_options
def split(labels: "Place", schema: "Schema", out: Path, page: Path | None, folds: int | None, **settings: Any) -> None:
    """Compute only the stratified train/dev/test split.

    Writes a CSV and a page, and prints the counts of each class and what is proven about them. 'shards --keep CSV'
    builds the dataset with exactly this split.
    """
    from pipeline.plan import compare, kept, split_page, table

    if folds and (settings["sizes"] or settings["keep"]):
        raise click.UsageError("--folds does not go with --sizes or --keep: all parts are new, and equally large")
    with one_line_errors(STOPPED):
        labelled = table.read_table(labels, schema)
        groups_path = settings.pop("groups")
        groups, num_extra = _groups(labelled, schema, groups_path, settings.pop("groups_extra"))
        if folds:
            assigned, report = _split_folds(labelled, schema, folds, settings["seed"], groups, out)
        else:
            assigned = _assign(labelled, schema, groups, **settings)
            report = assigned.report()
            kept.write(out, assigned.of)
        others = compare.others(labelled.examples, groups, assigned.wanted, schema.num_classes, settings["seed"])
        default_page = out / "folds.html" if folds else out.with_suffix(".html")
        split_page.write(page or default_page, assigned, others, title=str(labels))
    echo(report)
    if num_extra:
        echo(f"{num_extra} ids of {groups_path} are not in the label table and were ignored")
    next_commands.after_split(labels, schema, out / "fold-0.csv" if folds else out)


def _split_folds(
    labelled: "LabelTable", schema: "Schema", num: int, seed: int, groups: dict[str, str], out: Path
) -> "tuple[Splits, str]":
    """Writes the splits of `num` folds to the folder `out`; returns their parts and a report."""
    from pipeline.plan import folds

    found = folds.assign(labelled.examples, num, seed=seed, groups=groups, class_names=schema.classes)
    paths = found.write(out)
    return found.parts, f"{found.report()}\n{paths[0]} to {paths[-1].name}: one split for each fold"


def _groups(labelled: "LabelTable", schema: "Schema", path: "Place | None", extra: str) -> tuple[dict[str, str], int]:
    """Returns (the group of each id, ids of the group table that are not in the label table)."""
    from pipeline.plan import grouping, manifest, table

    named = table.read_groups(path, labelled.examples, extra=extra) if path else table.GroupTable({}, 0)
    return grouping.join(manifest.column_groups(schema, labelled.columns), named.of), named.num_extra


def _assign(
    labelled: "LabelTable",
    schema: "Schema",
    groups: dict[str, str],
    *,
    sizes: tuple[int, ...] | None,
    keep: "Place | None",
    seed: int,
) -> "Splits":
    from pipeline.plan import kept, splits

    earlier = kept.read(keep) if keep else None
    return splits.assign(
        labelled.examples, sizes, seed=seed, groups=groups, class_names=schema.classes, earlier=earlier
    )


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@source_options
@click.option(
    "--data-dir",
    type=PLACE,
    help="Folder of TFDS datasets.  [default: $TFDS_DATA_DIR or ~/tensorflow_datasets; synthetic: build/synthetic]",
)
@click.option("--size", default=DEFAULT_SIZE, show_default=True, help="Pixels a side of the stacked image.")
@click.option(
    "--sizes",
    "split_sizes",
    callback=_sizes,
    help="Examples in train,dev,test.  [default: in the proportion 24000,3000,4072]",
)
@split_options
@click.option("--num-shards", type=int, help="Shards per split.  [default: by --shard-mib]")
@click.option("--shard-mib", default=64.0, show_default=True, help="Largest size of a shard, in MiB.")
@click.option(
    "--max-examples-per-split", "max_examples", type=int, help="Build at most this many examples of each split."
)
@click.option(
    "--file-format",
    type=click.Choice(["tfrecord", "array_record"]),
    default="tfrecord",
    show_default=True,
    help="Format of the shards: tfrecord for TensorFlow, array_record to read examples in any order (docs/reading.md).",
)
@click.option("--threads", type=click.IntRange(1), help="Decoding threads per worker.  [default: one per processor]")
@click.option(
    "--on-error",
    type=click.Choice(["fail", "quarantine"]),
    default="fail",
    show_default=True,
    help="With bad images: publish nothing, or leave their examples out and list them in quarantine.csv.",
)
@click.option(
    "--max-bad",
    default="1%",
    show_default=True,
    callback=_share,
    help="With quarantine: largest share of examples to leave out.",
)
@click.option(
    "--fingerprints",
    type=PLACE,
    help="Table from 'fingerprint': compare the source with a published dataset by the digests of all files.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Build even if a dataset is there, and replace it. If the label table has grown, published examples "
    "stay in their split.",
)
@click.option("--resplit", is_flag=True, help="With --overwrite: make a new split, also of published examples.")
@click.option(
    "--check-content",
    is_flag=True,
    help="Read every image again to find those that changed.  [default: those whose size or times changed]",
)
@BEAM_ARGUMENTS
def shards(
    source: "Place | None",
    images: "Place | None",
    labels: "Place | None",
    schema: "Schema",
    data_dir: "Place | None",
    **settings: Any,
) -> None:
    """Build, check and publish the dataset.

    If it is killed, the same command continues with the missing shards; once finished, it has nothing to do.
    Options that are not listed here are passed to Apache Beam, such as --runner=FlinkRunner.
    """
    from pipeline import data_dirs, job, progress
    from pipeline.config import BuildConfig

    with one_line_errors(STOPPED):
        labels_path, images_path = find_source(source, images, labels, schema)
        if str(settings["groups"]) == "auto":
            settings |= {"groups": None, "find_groups": True}
        data_dir = data_dir or data_dirs.to_build(labels_path)
        config = BuildConfig(labels=labels_path, images=images_path, schema=schema, data_dir=data_dir, **settings)
        with progress.Bar("building") as update:
            result = job.build(config, update)
    echo(job.summary(config, result))
    next_commands.after_build(config, result)
    gc.freeze()  # skips Python's last garbage collection over all of Beam, which takes a third of a second


@main.command()
@click.argument("dataset_dir", type=PLACE)
@click.option(
    "--source",
    type=PLACE,
    help="Also build the examples again from this source, a folder or zip, and compare every byte.",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    help="With --source: number of examples to rebuild, chosen by their ids.  [default: all]",
)
@click.option(
    "--schema",
    callback=lambda context, parameter, value: load_schema(context, parameter, value) if value else None,
    help="With --source: its schema.  [default: the schema recorded in the dataset]",
)
def verify(dataset_dir: "Place", source: "Place | None", sample: int | None, schema: "Schema | None") -> None:
    """Read and check every byte of a published dataset.

    Checks digests, checksums, counts, ids and labels.
    DATASET_DIR is the folder of one version, like data/hpa_stacked/256/1.1.0. Exits with 1 if there is any problem.
    The last line is the root digest, which stands for every byte: the SHA-256 of SHA256SUMS.
    """
    from pipeline import progress
    from pipeline.dataset.publish import root_digest
    from pipeline.dataset.verify import verify as verify_dataset
    from pipeline.images import sources

    if source is None and (sample is not None or schema is not None):
        raise click.UsageError("--sample and --schema need --source, the images to compare with")
    with one_line_errors(STOPPED):
        if source is not None:
            sources.check_exists(source)
        with progress.Bar("verifying") as update:
            problems = verify_dataset(dataset_dir, update)
        num_rebuilt = 0
        if source is not None and not problems:
            num_rebuilt, problems = _rebuild(dataset_dir, source, sample, schema)
    for problem in problems:
        echo(problem)
    if problems:
        raise click.ClickException(shown(f"{dataset_dir}: {counted(len(problems), 'problem')}"))
    echo(f"{dataset_dir}: intact" + (f", {num_rebuilt} examples built again: identical" if num_rebuilt else ""))
    echo(f"root: {root_digest(dataset_dir)}")
    next_commands.after_verify(dataset_dir)


def _rebuild(
    dataset_dir: "Place", source: "Place", sample: int | None, schema: "Schema | None"
) -> tuple[int, list[str]]:
    """Returns how many examples were built again, and every problem."""
    from pipeline import progress
    from pipeline.dataset import rebuild

    schema = schema or rebuild.published_schema(dataset_dir)
    labels, images = find_source(source, None, None, schema)
    with progress.Bar("building again") as update:
        rebuilt = rebuild.rebuild(dataset_dir, labels, images, schema, sample=sample, on_progress=update)
    return rebuilt.num, list(rebuilt.problems)


main.add_command(schema_commands.schema)
