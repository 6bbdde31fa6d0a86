"""Continues a build: finished shards of an earlier run are kept, everything else is removed."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.dataset import provenance
from pipeline.dataset.conservation import shard_problems
from pipeline.images.sources import REMOTE_THREADS
from pipeline.plan.manifest import Manifest
from pipeline.store import files
from pipeline.store.workspace import Workspace
from pipeline.write import reports
from pipeline.write.reports import ShardReport, report_name
from pipeline.write.tasks import Task


def keep_finished(
    workspace: Workspace, tasks: Sequence[Task], source: Manifest, *, check_content: bool = False
) -> list[Task]:
    """Removes whatever is not a finished shard of these tasks, and returns the tasks that are still to do.

    A shard is finished if its report was made for the same plan (ids, labels, file sizes, version), names no bad
    image, and its content is still the one that was reported. The source files must be what the worker read: files
    whose stamps have changed are read again; with `check_content`, all files are.
    """
    workspace.prepare()
    stored = workspace.finished()
    finished = [
        (task, report)
        for task, report in zip(tasks, read_reports(workspace, tasks), strict=True)
        # A bad image may have been replaced by a good one of the same size.
        if report
        and not report.bad
        and not shard_problems(workspace, task.plan, report, stored)
        and workspace.is_intact(report.filename, report.sha256)
    ]
    done = {task.filename for task, _ in finished} - _outdated(finished, source, check_content)
    # Reports before their shards, so that no report outlives its shard.
    kept = set(map(report_name, done))
    files.remove(workspace.reports / name for name in files.listing(workspace.reports) if name not in kept)
    workspace.discard(keep=done)
    return [task for task in tasks if task.filename not in done]


def _outdated(finished: Sequence[tuple[Task, ShardReport]], source: Manifest, check_content: bool) -> set[str]:
    """Returns the names of the shards whose source files are not what the worker read."""
    suspects = [(task, report) for task, report in finished if check_content or report.listed != task.listed]
    if not suspects:
        return set()
    changed = set(provenance.changed(source, provenance.by_example(*zip(*suspects, strict=True))))
    return {task.filename for task, _ in suspects if any(example.id in changed for example in task.plan.examples)}


def read_reports(workspace: Workspace, tasks: Sequence[Task]) -> list[ShardReport | None]:
    """Returns the report on each task's shard, `None` where there is none for exactly this plan."""
    names = files.listing(workspace.reports)

    def read(task: Task) -> ShardReport | None:
        report = reports.read(workspace, task.filename) if report_name(task.filename) in names else None
        return report if report and report.plan_fingerprint == task.fingerprint else None

    with ThreadPoolExecutor(REMOTE_THREADS) as pool:
        return list(pool.map(read, tasks))


def num_finished(workspace: Workspace, tasks: Sequence[Task]) -> int:
    """Returns how many shards have a report."""
    names = files.listing(workspace.reports)
    return sum(report_name(task.filename) in names for task in tasks)


def num_reported(workspace: Workspace, tasks: Sequence[Task]) -> int:
    """Returns how many examples are in shards that have a report."""
    names = files.listing(workspace.reports)
    return sum(len(task.plan.examples) for task in tasks if report_name(task.filename) in names)
