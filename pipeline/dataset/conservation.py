"""Proof that every planned example was written exactly once.

Beam's local parallel modes have been seen to drop elements without an error, so a runner's success is not
trusted: the plan is compared, id by id, with the workers' reports and with the files themselves.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.errors import JobError
from pipeline.plan.shards import ShardPlan
from pipeline.plan.table import Example, summary
from pipeline.store.files import Stored
from pipeline.store.workspace import Workspace
from pipeline.write import records, shard_files
from pipeline.write.reports import ShardReport
from pipeline.write.tasks import Task


class ConservationError(JobError):
    """Examples were lost, repeated or invented between the plan and the files: a defect, not the user's mistake."""


def prove(
    workspace: Workspace,
    tasks: Sequence[Task],
    reports: Sequence[ShardReport | None],
    examples: Sequence[Example],
) -> list[ShardReport]:
    """Checks that each of `examples` is in exactly one shard or reported bad, and that nothing else is.

    Args:
      workspace: of the build.
      tasks: all tasks of the build.
      reports: one per task; `None` where there is none.
      examples: all examples that the plan must hold.

    Returns:
      The reports, one per task.

    Raises:
      ConservationError: naming every shard and id that differs (ten at most).
    """
    problems: list[str] = []
    fate: Counter[str] = Counter()
    stored = workspace.finished()
    for plan, report in zip((task.plan for task in tasks), reports, strict=True):
        if report is None:
            ids = ", ".join(example.id for example in plan.examples[:3])
            problems.append(f"{plan.filename} was never written: {len(plan.examples)} examples lost ({ids} ...)")
            fate.update(example.id for example in plan.examples)
            continue
        fate.update(report.ids)
        fate.update(report.bad_ids)
        problems += shard_problems(workspace, plan, report, stored)
    expected = {example.id for example in examples}
    problems += [f"id '{i}' is in the output {n} times, expected once" for i, n in sorted(fate.items()) if n > 1]
    problems += [f"id '{i}' of the label table is missing from the output" for i in sorted(expected - fate.keys())]
    problems += [f"id '{i}' is not in the label table" for i in sorted(fate.keys() - expected)]
    if problems:
        raise ConservationError(
            f"{workspace.directory}: what was written is not what was planned; nothing was published: "
            + summary(problems, "differences")
        )
    return [report for report in reports if report is not None]


def prove_content(workspace: Workspace, reports: Sequence[ShardReport]) -> None:
    """Reads every shard again and compares its SHA-256 with that of its report.

    Raises:
      ConservationError: naming every shard that differs (ten at most).
    """
    problems = [
        f"{report.filename}: the content is not what its writer reported"
        for report in reports
        if not workspace.is_intact(report.filename, report.sha256)
    ]
    if problems:
        raise ConservationError(
            f"{workspace.directory}: what was written is not what was planned; nothing was published: "
            + summary(problems, "differences")
        )


def shard_problems(
    workspace: Workspace, plan: ShardPlan, report: ShardReport, stored: Mapping[str, Stored]
) -> list[str]:
    """Returns how a shard's report differs from its plan, or the file from its report; empty if they agree.

    `stored` is the listing of the folder of shards.
    """
    bad, written = report.bad_ids, set(report.ids)
    expected = [example.id for example in plan.examples if example.id not in bad]
    problems = [f"{plan.filename}: id '{i}' was not written" for i in expected if i not in written]
    if not problems and expected != list(report.ids):
        problems = [f"{plan.filename}: {len(report.ids)} records, expected {len(expected)} in the order of the plan"]
    if len(report.digests) != len(plan.examples):
        problems.append(
            f"{plan.filename}: {len(report.digests)} digests of source files, expected {len(plan.examples)}"
        )
    return problems + _file_problems(workspace, plan.filename, report, stored.get(plan.filename))


def _file_problems(workspace: Workspace, name: str, report: ShardReport, stored: Stored | None) -> list[str]:
    if stored is None:
        return [f"{name}: reported as written, but the file does not exist"]
    if stored.num_bytes != report.num_bytes:
        return [f"{name}: the file has {stored.num_bytes} bytes, its writer counted {report.num_bytes}"]
    if stored.stamp != report.stamp:
        return [f"{name}: the object is not the one that its writer uploaded (its checksum differs)"]
    try:
        with workspace.reopen(name) as file:
            ids = tuple(shard_files.of_file(name).read_ids(file)) if file else report.ids
    except records.RecordError as error:
        return [f"{name}: {error}"]
    if ids != report.ids:
        return [f"{name}: the ids in the file are not those that its writer reported"]
    return []
