"""The job that turns a label table and images into a published dataset."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.config import BuildConfig, BuildResult
from pipeline.console import next_commands
from pipeline.dataset import conservation, crashes, earlier, provenance, publish, quarantine, resume
from pipeline.dataset import metadata as tfds_metadata
from pipeline.dataset.crashes import Rows
from pipeline.errors import EndedJobError, InputError, JobError
from pipeline.images import sources
from pipeline.images.stack import BadExample, read_channels
from pipeline.plan import grouping, manifest, shards, splits, table
from pipeline.plan.manifest import Manifest
from pipeline.plan.table import Example
from pipeline.store import files, layout
from pipeline.store.files import Place
from pipeline.store.locks import CheckHeld, NotWritableError
from pipeline.store.workspace import Workspace, open_workspace
from pipeline.threads import calling_every
from pipeline.write import runners, tasks
from pipeline.write.in_work import marking
from pipeline.write.reports import ShardReport
from pipeline.write.tasks import Task

OnProgress = Callable[[int, int], None]


def build(config: BuildConfig, on_progress: OnProgress = lambda done, total: None) -> BuildResult:
    """Builds and publishes the dataset; continues a killed build; does nothing if the dataset is there already.

    With `overwrite`, it builds even if the dataset is there. If a cluster reports a job as failed but all its shards
    are written, the dataset is published with a warning.

    Args:
      config: what to build, and how.
      on_progress: called with (examples done, examples in total), from another thread.

    Raises:
      InputError: something is wrong with the input or the place; nothing was published.
      ConservationError: what was written is not what was planned; nothing was published.
      JobError: the Beam job or an object store failed, or the lock was lost; nothing was published.
      OSError: a file could not be written.
    """
    options = runners.parse_options(config.beam_args) if config.beam_args else None
    source = manifest.read(config.labels, sources.open_images(config.images, config.schema), config.schema)
    parameters = config.parameters(len(source.examples)) | _content(config, source)
    workspace = open_workspace(config.target)
    try:
        with workspace.lock() as check_lock:
            kept = earlier.find(config, source, workspace)
            fingerprints = _fingerprints(source, parameters, kept)
            if same := publish.find_same(config, source, workspace, fingerprints):
                publish.tidy(workspace, source)
                return same
            parameters = {"fingerprint": fingerprints[0], **parameters, "kept_sha256": kept.sha256}
            return _build(config, source, workspace, kept, parameters, options, check_lock, on_progress)
    except NotWritableError:
        fingerprints = _fingerprints(source, parameters, earlier.find(config, source, workspace))
        if same := publish.find_same(config, source, workspace, fingerprints):
            return same
        raise


def _fingerprints(source: Manifest, parameters: Mapping[str, Any], kept: earlier.Earlier) -> list[str]:
    """Returns the fingerprint of the dataset to build and, if the published one kept a split, one with that split."""
    different = dict.fromkeys([kept.sha256, *([kept.published_sha256] if kept.published_sha256 else [])])
    return [source.fingerprint(**(dict(parameters) | {"kept_sha256": sha256})) for sha256 in different]


def _build(
    config: BuildConfig,
    source: Manifest,
    workspace: Workspace,
    kept: earlier.Earlier,
    parameters: dict[str, Any],
    options: Any,
    check_lock: CheckHeld,
    on_progress: OnProgress,
) -> BuildResult:
    """Builds and publishes the dataset while the lock is held; `parameters` become part of its metadata."""
    quarantine.check(config, workspace, quarantine.missing_images(source), len(source.examples))
    workspace.prepare()
    crashing = crashes.find(config, source, workspace)
    check_images(config, source, workspace, crashing)
    config = _with_found_groups(config, source, workspace, on_progress)
    with runners.importing_beam():
        assigned = assign_splits(config, source, kept.of)
        every = plan_tasks(config, source, assigned.of)
    earlier.save(kept, config, workspace)
    todo = resume.keep_finished(workspace, every, source, check_content=config.check_content)
    workspace.check_space(_record_bytes(config) * sum(len(task.plan.examples) for task in todo))
    with _showing_progress(workspace, every, on_progress):
        metrics, failure = _write(config, source, workspace, todo, options, crashing)
    planned = [example for task in every for example in task.plan.examples]
    expected = planned if config.max_examples else source.examples
    reports = _prove(workspace, every, expected, failure)
    provenance.check_unchanged(source, every, reports)
    bad = quarantine.collect(config, workspace, reports, len(planned))
    metadata = {**parameters, **_describe(config, source, every, reports)}
    check_lock()
    publish.publish(config, source, workspace, every, reports, metadata)
    return BuildResult(
        path=workspace.target,
        metadata=metadata,
        num_examples=tfds_metadata.count_examples(every, reports),
        num_shards=len(every),
        num_shards_resumed=len(every) - len(todo),
        bad=bad,
        metrics=tuple(metrics),
        kept=tuple(assigned.kept_lines()),
        warnings=(*assigned.empty(), *earlier.moved(kept, assigned.of), *_failure_warnings(failure)),
    )


def _write(
    config: BuildConfig, source: Manifest, workspace: Workspace, todo: Sequence[Task], options: Any, crashing: Rows
) -> tuple[list[str], EndedJobError | None]:
    """Writes the shards that are still to do; returns the run's metrics, and the failure of a job that has ended."""
    try:
        return write_shards(config, source, workspace, todo, options, crashing) if todo else [], None
    except EndedJobError as error:
        return [], error


def _prove(
    workspace: Workspace, every: Sequence[Task], expected: Sequence[Example], failure: EndedJobError | None
) -> list[ShardReport]:
    """Returns all reports once they are proven.

    After the `failure` of a job, the content of every shard is proven too: a worker that was stopped may have replaced
    a shard but not yet its report.

    Raises:
      EndedJobError: the failure, if there was one and something is not proven.
      ConservationError: something is not proven.
    """
    workspace.prepare()  # removes what stopped workers left behind
    try:
        found = resume.read_reports(workspace, every)
        reports = conservation.prove(workspace, every, found, expected)
        if failure:
            conservation.prove_content(workspace, reports)
        return reports
    except conservation.ConservationError as error:
        if failure is None:
            raise
        raise failure from error


def _failure_warnings(failure: EndedJobError | None) -> list[str]:
    if failure is None:
        return []
    reason = str(failure).removesuffix(runners.AGAIN).rstrip(". ")
    return [f"{reason}. All shards had been written and were read again, so the dataset is whole and was published"]


def check_images(config: BuildConfig, source: Manifest, workspace: Workspace, crashing: Rows) -> None:
    """Checks that the build may leave out the `crashing` examples, and that the first readable image is large enough.

    Raises:
      InputError: a check failed; only a few images were decoded.
    """
    bad = [*quarantine.missing_images(source), *(row for rows in crashing.values() for row in rows)]
    quarantine.check(config, workspace, bad, len(source.examples))
    for example in [example for example in source.examples if example.id not in crashing][:3]:
        names = manifest.file_names(source.schema, example)
        # Bad examples are reported with all others when the shards are written.
        with contextlib.suppress(BadExample), marking(workspace.work_folder, 1) as mark, mark(example.id):
            side = min(read_channels(source.images, names, source.schema)[0].shape)
            if side < config.size:
                raise InputError(
                    f"size is {config.size}, but the images are smaller: {names[0]} has {side} pixels a side; "
                    "images are never enlarged, so choose a size up to that"
                )
            return


def _record_bytes(config: BuildConfig) -> int:
    return shards.record_bytes(config.schema, config.size)


def _content(config: BuildConfig, source: Manifest) -> dict[str, Any]:
    """Returns the parameter that ties a dataset to the content of its source files, not only to their sizes."""
    if config.fingerprints is None:
        return {}
    from pipeline.duplicates import content, fingerprints

    found = fingerprints.read(config.fingerprints)
    return {"content_sha256": content.digest(config.fingerprints, found, source)}


def _read_groups(config: BuildConfig, source: Manifest) -> table.GroupTable:
    if config.groups is None:
        return table.GroupTable({}, 0)
    return table.read_groups(config.groups, source.examples, extra=config.groups_extra)


def _with_found_groups(
    config: BuildConfig, source: Manifest, workspace: Workspace, on_progress: OnProgress
) -> BuildConfig:
    if not config.find_groups:
        return config
    from pipeline.duplicates import build as duplicates

    return duplicates.with_found_groups(config, source, workspace, on_progress)


def _describe(
    config: BuildConfig, source: Manifest, every: Sequence[Task], reports: Sequence[ShardReport]
) -> dict[str, Any]:
    """Returns the metadata that follows from the input and from what was written."""
    described = tfds_metadata.describe(every, reports, config.schema, size=config.size, synthetic=source.synthetic)
    if num_extra := _read_groups(config, source).num_extra:
        described["num_groups_extra"] = num_extra
    if config.find_groups and config.groups:
        described["groups_sha256"] = files.sha256_of(config.groups)  # not known before the build
    return described


def assign_splits(config: BuildConfig, source: Manifest, kept: Mapping[str, str]) -> splits.Splits:
    """Returns the split of every example; those in `kept`, an earlier split, stay in theirs."""
    groups = _read_groups(config, source).of
    return splits.assign(
        source.examples,
        config.split_sizes,
        seed=config.seed,
        groups=grouping.join(source.groups, groups),
        class_names=config.schema.classes,
        earlier=kept,
    )


def plan_tasks(config: BuildConfig, source: Manifest, split_of: Mapping[str, str]) -> list[Task]:
    """Returns one task for every shard of a build; `split_of` maps id to split."""
    plans = shards.plan(
        source.examples,
        split_of,
        schema=config.schema,
        size=config.size,
        seed=config.seed,
        num_shards=config.num_shards,
        shard_mib=config.shard_mib,
        max_examples=config.max_examples,
        file_format=config.file_format,
    )
    return [
        Task(plan, plan.fingerprint(config.schema, config.size, source.file_bytes), source.listed(plan.examples))
        for plan in plans
    ]


def write_shards(
    config: BuildConfig,
    source: Manifest,
    workspace: Workspace,
    todo: Sequence[Task],
    options: Any,
    crashing: Rows,
) -> list[str]:
    """Writes the shards of all tasks on the runner that `options` name; returns the run's metrics.

    `crashing` are the examples that are not decoded, because that would end the process.
    Ranges of the file of tasks go into the Beam job, and names and counts come out: no pixel crosses a shuffle.
    """
    from pipeline.write.transforms import WriteConfig, read_metrics

    options = options or runners.parse_options(())
    runner = runners.choose_runner(options)
    runners.check_reach(runner, {"images": config.images, "data directory": workspace.directory})
    runners.limit_workers(runner, options, len(todo))
    workspace = workspace.absolute()  # workers may run in another folder
    path, ranges = tasks.write(workspace, todo)
    write = WriteConfig(workspace, source.images, config.schema, config.size, config.threads, config.write, crashing)
    with runners.pipeline_on(runner, options) as pipeline:
        make_graph(pipeline, path, ranges, write)
        return read_metrics(runners.run(pipeline, runner))


def make_graph(pipeline: Any, path: Place, ranges: Sequence[tuple[int, int]], write: Any) -> Any:
    """Adds the job to a `beam.Pipeline`: byte ranges of the file of tasks at `path` -> (shard name, examples written).

    `write` is the `transforms.WriteConfig` of the workers.
    """
    import apache_beam as beam

    from pipeline.write.transforms import ReadTasks, StackAndWrite

    return (
        pipeline
        | "Plans" >> beam.Create(ranges, reshuffle=False)
        | "ReadTasks" >> beam.ParDo(ReadTasks(path))
        # Without this step, a runner may fuse the tasks of a range with their source into one piece of work.
        | "SpreadOverWorkers" >> beam.Reshuffle()
        | "StackAndWrite" >> beam.ParDo(StackAndWrite(write))
    )


@contextlib.contextmanager
def _showing_progress(workspace: Workspace, every: Sequence[Task], on_progress: OnProgress) -> Iterator[None]:
    """Calls `on_progress` as reports appear, which works on every runner; notes at Ctrl-C how many shards are kept."""
    total = sum(len(task.plan.examples) for task in every)

    def show() -> None:
        with contextlib.suppress(JobError):  # a store that fails is asked again at the next call
            on_progress(resume.num_reported(workspace, every), total)

    show()
    try:
        with calling_every(workspace.poll_seconds, show, name="progress"):
            yield
    except KeyboardInterrupt as error:
        with contextlib.suppress(JobError, OSError):
            num = resume.num_finished(workspace, every)
            error.add_note(f"{num} of {len(every)} shards are finished, the same command makes the rest")
        raise
    show()


def summary(config: BuildConfig, result: BuildResult) -> str:
    """Returns the outcome for a person, in a few lines."""
    counts = ", ".join(f"{name} {count}" for name, count in result.num_examples.items())
    resumed = f", {result.num_shards_resumed} of them from an earlier run" if result.num_shards_resumed else ""
    lines = [
        f"nothing to do: {result.path} holds this very dataset" if result.up_to_date else f"published {result.path}",
        f"  {counts} examples in {result.num_shards} shards{resumed}",
    ]
    if result.metadata["synthetic"]:
        lines.append("  SYNTHETIC: drawn, not photographed")
    if num_quarantined := result.metadata["num_quarantined"]:
        lines.append(f"  {num_quarantined} bad examples left out, listed in {result.path / layout.QUARANTINE}")
    if num_extra := result.metadata.get("num_groups_extra"):
        lines.append(f"  {num_extra} ids of {config.groups} are not in the label table and were ignored")
    lines += [f"  WARNING: {warning}" for warning in result.warnings]
    lines += _dim_channels(config, result)
    if num_scaled := result.metadata["num_16bit_images"]:
        lines.append(f"  {num_scaled} images scaled from 16 to 8 bits")
    lines += [f"  {line}" for line in (*result.kept, *result.metrics)]
    with contextlib.suppress(OSError):
        lines.append(f"  root: {publish.root_digest(result.path)}")
    name = layout.config_name(config.schema, config.size)
    lines.append(f"  {next_commands.how_to_read(name, config.data_dir, config.file_format)}")
    return "\n".join(lines)


def _dim_channels(config: BuildConfig, result: BuildResult) -> list[str]:
    """Returns a warning for each channel with a tenth or more dim images, and one line of advice."""
    num, dim = sum(result.num_examples.values()), result.metadata["num_dim_images"]
    percentile = config.schema.depth == "percentile"
    of = "that the schema declares" if percentile else "of their values"
    lines = [
        f"  WARNING: {count} of {num} images of channel '{name}' use less than an eighth of the range {of}"
        for name, count in dim.items()
        if 10 * count >= num
    ]
    command = "'python -m pipeline schema range --schema SCHEMA --source DIR --out MEASURED.toml'"
    if lines and percentile:
        lines.append(f"  if their channels are too dark, {command} measures the ranges again")
    elif lines:
        lines.append(f"  if the camera has fewer bits than the files, set depth in the schema: {command} measures it")
    return lines
