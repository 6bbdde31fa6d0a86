"""Makes the table of fingerprints of a source: a Beam job like the one for shards, in parts, resumed if killed."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from pipeline import job
from pipeline.config import FINGERPRINTS_VERSION, BuildConfig
from pipeline.dataset import crashes
from pipeline.duplicates import content, fingerprints, groups, pairs, parts
from pipeline.duplicates.parts import PartReport
from pipeline.errors import JobError
from pipeline.images import sources
from pipeline.plan import manifest
from pipeline.plan.manifest import Manifest
from pipeline.plan.shards import ShardPlan
from pipeline.schema import Schema
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.store.layout import GROUPS
from pipeline.store.workspace import Workspace, open_workspace
from pipeline.threads import calling_every
from pipeline.write import runners
from pipeline.write.reports import ShardReport
from pipeline.write.tasks import Task

PART_EXAMPLES = 256
"""Examples in a part: a second or two of work, so that little is lost when a job is killed."""

OnProgress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Result:
    """What a job did."""

    path: Place
    num_examples: int
    num_bad: int
    num_parts: int
    num_resumed: int
    metrics: tuple[str, ...]

    def report(self) -> str:
        """Returns the outcome for a person, in a few lines."""
        resumed = f", {self.num_resumed} of them from an earlier run" if self.num_resumed else ""
        lines = [f"{self.path}: fingerprints of {self.num_examples} examples, made in {self.num_parts} parts{resumed}"]
        if self.num_bad:
            lines.append(f"  {self.num_bad} examples cannot be read; the column 'problem' says why")
        return "\n".join([*lines, *(f"  {line}" for line in self.metrics)])


def fingerprint(
    labels: Place,
    images: Place,
    out: Place,
    schema: Schema,
    *,
    threads: int | None = None,
    beam_args: Sequence[str] | Any = (),
    on_progress: OnProgress = lambda done, total: None,
) -> Result:
    """Writes the table of fingerprints of a source to `out`; continues a killed job.

    Raises:
      InputError: something is wrong with the input or the place.
      JobError: the Beam job or an object store failed, or rows were lost; finished parts are kept.
      OSError: a file could not be written.
    """
    source = manifest.read(labels, sources.open_images(images, schema), schema)
    config = BuildConfig(
        labels=labels, images=images, data_dir=out, schema=schema, size=1, threads=threads, beam_args=beam_args
    )
    workspace = open_workspace(out.with_name(f"{out.name}.parts"))
    with workspace.lock():
        result = make_table(config, source, workspace, out, on_progress)
        workspace.discard(keep=())
        workspace.clean_up()
    return result


def make_table(
    config: BuildConfig, source: Manifest, workspace: Workspace, out: Place, on_progress: OnProgress
) -> Result:
    """Writes the parts that are not finished yet, joins all of them, and leaves them where they are."""
    options = runners.parse_options(config.beam_args) if config.beam_args else None
    every = plan(source)
    todo = _keep_finished(workspace, every)
    config = dataclasses.replace(config, write=cast(Callable[..., ShardReport], parts.write_part))
    crashing = crashes.find(config, source, workspace)
    with _showing_progress(workspace, every, on_progress):
        metrics = job.write_shards(config, source, workspace, todo, options, crashing) if todo else []
    reports = _join(workspace, every, source.schema, out)
    return Result(
        path=out,
        num_examples=len(source.examples),
        num_bad=sum(report.num_bad for report in reports),
        num_parts=len(every),
        num_resumed=len(every) - len(todo),
        metrics=tuple(metrics),
    )


def with_found_groups(
    config: BuildConfig, source: Manifest, workspace: Workspace, on_progress: OnProgress
) -> BuildConfig:
    """Returns the configuration of a build with a table of the groups of duplicates, kept in its workspace.

    Fingerprints are made unless the configuration names a table of them. The workspace keeps their parts, so that a
    build that is killed later does not make them again.
    """
    path = config.fingerprints
    if path is None:
        path = workspace.directory / "fingerprints.csv"
        inner = open_workspace(workspace.directory / "fingerprints")
        make_table(config, source, inner, path, on_progress)
    table = fingerprints.read(path)
    content.check(path, table, source)
    found = groups.join(pairs.find(table))
    groups_path = workspace.directory / GROUPS
    with files.replacing(groups_path) as file:
        file.write(groups.to_csv(found))
    return dataclasses.replace(config, groups=groups_path)


def plan(source: Manifest) -> list[Task]:
    """Returns one task for each part of the table; parts are planned like shards, with examples in the order of ids."""
    examples = source.examples
    num = -(-len(examples) // PART_EXAMPLES)
    tasks = []
    for index in range(num):
        chosen = examples[index * PART_EXAMPLES : (index + 1) * PART_EXAMPLES]
        rows = [
            [example.id, example.files, source.file_bytes[example.id], source.stamps[example.id]] for example in chosen
        ]
        decisive = json.dumps([FINGERPRINTS_VERSION, source.schema.digest(), index, num, rows])
        fingerprint = hashlib.sha256(decisive.encode()).hexdigest()
        tasks.append(Task(ShardPlan("fingerprints", index, num, chosen), fingerprint))
    return tasks


def _keep_finished(workspace: Workspace, every: Sequence[Task]) -> list[Task]:
    """Removes whatever is not a finished part of these tasks, and returns the tasks that are still to do."""
    workspace.prepare()
    done = {
        report.filename
        for task, report in zip(every, parts.read_reports(workspace, every), strict=True)
        if report and not _problem(workspace, task, report)
    }
    kept = {f"{name}.json" for name in done}
    files.remove(workspace.reports / name for name in files.listing(workspace.reports) if name not in kept)
    workspace.discard(keep=done)
    return [task for task in every if parts.name(task.plan) not in done]


def _problem(workspace: Workspace, task: Task, report: PartReport | None) -> str | None:
    """Returns how a part differs from its plan or its report; `None` if it does not."""
    name = parts.name(task.plan)
    if report is None:
        return f"{name} was never written"
    if list(report.ids) != [example.id for example in task.plan.examples]:
        return f"{name} does not hold the planned examples"
    try:
        found = files.sha256_of(workspace.shards / name)
    except FileNotFoundError:
        return f"{name} was reported, but the file does not exist"
    return None if found == report.sha256 else f"{name} is not the file that its writer reported"


def _join(workspace: Workspace, every: Sequence[Task], schema: Schema, out: Place) -> list[PartReport]:
    """Writes the table of all parts and returns their reports.

    Raises:
      JobError: a part is missing or is not what was planned.
    """
    reports = parts.read_reports(workspace, every)
    problems = [found for pair in zip(every, reports, strict=True) if (found := _problem(workspace, *pair))]
    if problems:
        raise JobError(
            f"{workspace.directory}: {problems[0]} ({len(problems)} of {len(every)} parts are not right); "
            "run the same command again"
        )
    with files.replacing(out) as file:
        file.write(fingerprints.to_csv([fingerprints.header(schema.channel_names)]))
        for task in every:
            file.write((workspace.shards / parts.name(task.plan)).read_bytes())
    return [report for report in reports if report is not None]


@contextlib.contextmanager
def _showing_progress(workspace: Workspace, every: Sequence[Task], on_progress: OnProgress) -> Iterator[None]:
    """Calls `on_progress` as reports appear, which works on every runner."""
    total = sum(len(task.plan.examples) for task in every)

    def show() -> None:
        with contextlib.suppress(JobError):  # a store that fails is asked again at the next call
            names = files.listing(workspace.reports)
            done = sum(len(task.plan.examples) for task in every if f"{parts.name(task.plan)}.json" in names)
            on_progress(done, total)

    show()
    with calling_every(workspace.poll_seconds, show, name="progress"):
        yield
    show()
