"""Differences between a plan, the reports of workers and the files are named."""

import dataclasses

import pytest

from pipeline.dataset.conservation import ConservationError, prove
from pipeline.plan.shards import ShardPlan
from pipeline.plan.table import Example
from pipeline.store.workspace import open_workspace
from pipeline.write import records
from pipeline.write.reports import ShardReport
from pipeline.write.tasks import Task

EXAMPLES = tuple(Example(f"ex-{k}", (k,)) for k in range(3))
TASK = Task(ShardPlan("train", 0, 1, EXAMPLES), "fingerprint")


@pytest.fixture
def workspace(tmp_path):
    workspace = open_workspace(tmp_path / "1.1.0")
    workspace.prepare()
    return workspace


def write(workspace, examples=EXAMPLES) -> ShardReport:
    pieces = [piece for e in examples for piece in records.frame(records.encode(e.id, b"pixels", e.labels))]
    data = b"".join(pieces)
    (workspace.shards / TASK.filename).write_bytes(data)
    ids = tuple(example.id for example in examples)
    digests = tuple(f"{k:032x}" for k in range(len(EXAMPLES)))
    return ShardReport(TASK.filename, TASK.fingerprint, ids, (), len(data), "", 0, (), (), 0, (), digests=digests)


def problems(workspace, report, examples=EXAMPLES) -> str:
    with pytest.raises(ConservationError) as caught:
        prove(workspace, [TASK], [report], examples)
    start = f"{workspace.directory}: what was written is not what was planned; nothing was published: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def test_a_shard_as_planned_is_accepted(workspace):
    report = write(workspace)
    assert prove(workspace, [TASK], [report], EXAMPLES) == [report]


def test_records_in_another_order_are_found(workspace):
    report = write(workspace, EXAMPLES[::-1])
    assert problems(workspace, report) == f"{TASK.filename}: 3 records, expected 3 in the order of the plan"


def test_other_ids_in_the_file_than_in_the_report_are_found(workspace):
    report = write(workspace, EXAMPLES[::-1])
    expected = f"{TASK.filename}: the ids in the file are not those that its writer reported"
    assert problems(workspace, dataclasses.replace(report, ids=tuple(e.id for e in EXAMPLES))) == expected


def test_an_id_that_no_shard_was_planned_for_is_found(workspace):
    report = write(workspace)
    assert problems(workspace, report, [*EXAMPLES, Example("ex-3", ())]) == (
        "id 'ex-3' of the label table is missing from the output"
    )


def test_an_id_that_is_not_in_the_label_table_is_found(workspace):
    assert problems(workspace, write(workspace), EXAMPLES[:2]) == "id 'ex-2' is not in the label table"


def test_a_report_without_digests_of_source_files_is_found(workspace):
    report = dataclasses.replace(write(workspace), digests=())
    assert problems(workspace, report) == f"{TASK.filename}: 0 digests of source files, expected 3"
