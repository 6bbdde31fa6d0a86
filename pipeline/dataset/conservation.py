"""Did every example of the plan come out exactly once?

Beam's own local parallel modes have dropped elements without an error, so nothing is published on a
runner's word: the plan is compared, id by id, with what the workers report and with the files themselves. Of
shards in an object store, the ids are read by their writers before the upload; here the sizes and the store's
own checksums are compared.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.errors import JobError
from pipeline.plan.manifest import Example, summary
from pipeline.plan.shards import ShardPlan
from pipeline.store import files
from pipeline.store.files import ObjectPath, Place, Stored
from pipeline.write import records
from pipeline.write.writer import ShardReport, shard_path, shards_dir


class ConservationError(JobError):
    """Examples were lost, repeated or invented between the plan and the files. A defect, not the user's."""


def prove(
    directory: Place,
    plans: Sequence[ShardPlan],
    reports: Sequence[ShardReport | None],
    examples: Sequence[Example],
) -> None:
    """Checks that each of `examples` stands in exactly one shard, or is reported bad, and nothing else does.

    Args:
      directory: of the build.
      plans: all of them.
      reports: one per plan; `None` where there is none.
      examples: all that the plan must hold.

    Raises:
      ConservationError: naming every shard and id that is off (ten at most).
    """
    problems: list[str] = []
    fate: Counter[str] = Counter()
    stored = files.listing(shards_dir(directory))
    for plan, report in zip(plans, reports, strict=True):
        if report is None:
            ids = ", ".join(example.id for example in plan.examples[:3])
            problems.append(f"{plan.filename} was never written: {len(plan.examples)} examples lost ({ids} ...)")
            fate.update(example.id for example in plan.examples)
            continue
        fate.update(report.ids)
        fate.update({row.id for row in report.bad})
        problems += shard_problems(directory, plan, report, stored)
    wanted = {example.id for example in examples}
    problems += [f"id '{i}' came out {n} times, expected once" for i, n in sorted(fate.items()) if n > 1]
    problems += [f"id '{i}' of the label table came out nowhere" for i in sorted(wanted - fate.keys())]
    problems += [f"id '{i}' is not in the label table" for i in sorted(fate.keys() - wanted)]
    if problems:
        raise ConservationError(
            f"{directory}: what was written is not what was planned; nothing was published: "
            + summary(problems, "differences")
        )


def shard_problems(directory: Place, plan: ShardPlan, report: ShardReport, stored: Mapping[str, Stored]) -> list[str]:
    """Returns how a shard's report differs from its plan, or the file from its report; empty if they agree.

    `stored` is the listing of the folder of shards.
    """
    bad = {row.id for row in report.bad}
    expected = [example.id for example in plan.examples if example.id not in bad]
    problems = [f"{plan.filename}: id '{i}' was not written" for i in expected if i not in set(report.ids)]
    if not problems and expected != list(report.ids):
        problems = [f"{plan.filename}: {len(report.ids)} records, expected {len(expected)} in the order of the plan"]
    return problems + _check_file(shard_path(directory, plan.filename), report, stored.get(plan.filename))


def _check_file(path: Place, report: ShardReport, stored: Stored | None) -> list[str]:
    if stored is None:
        return [f"{path.name}: reported as written, but the file is not there"]
    if stored.num_bytes != report.num_bytes:
        return [f"{path.name}: the file has {stored.num_bytes} bytes, its writer counted {report.num_bytes}"]
    if isinstance(path, ObjectPath):
        if stored.stamp != report.stamp:
            return [f"{path.name}: the object is not the one that its writer uploaded (its checksum differs)"]
        return []
    try:
        with open(path, "rb") as file:
            ids = tuple(records.read_ids(file))
    except records.RecordError as error:
        return [f"{path.name}: {error}"]
    if ids != report.ids:
        return [f"{path.name}: the ids in the file are not those that its writer reported"]
    return []
