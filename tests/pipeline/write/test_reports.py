"""A report is trusted only if it is exactly what a worker wrote."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from pipeline.dataset.quarantine import BadExamples
from pipeline.errors import JobError
from pipeline.job import build
from pipeline.store.workspace import DiskWorkspace
from pipeline.write import reports, tasks
from pipeline.write.reports import BadImageRow, ShardReport
from tests.pipeline.write.test_tasks import some_tasks
from tests.support.sources import config_for, digests

REPORT = ShardReport(
    "shard", "plan", ("a", "b"), (BadImageRow("c", "red", "empty", "no bytes"),), 9, "00", 8, (1, 2), (3, 4), 0, (0, 1), "", "l",
    ("d1", "d2", "d3"),
)  # fmt: skip


def signed(text: str) -> str:
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def test_a_report_comes_back_as_it_was_written(tmp_path):
    workspace = DiskWorkspace(tmp_path / "1.0.0")
    reports.write(workspace, REPORT)
    assert reports.read(workspace, "shard") == REPORT


def test_every_flipped_bit_of_a_report_is_noticed():
    data = REPORT.to_json().encode()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 7
        with pytest.raises(ValueError, match=r"^the report does not match its checksum$|codec can't"):
            ShardReport.from_json(damaged.decode())


def changed(**values) -> str:
    return json.dumps({**dataclasses.asdict(REPORT), **values})


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "1", '"text"', "{}", "[" * 100_000, '{"bad": 1}', '{"bad": [1]}', '{"bad": [{}]}',
        changed(more=1), changed(bad=[{"id": 1}]), changed(bad=None), changed(ids=None), changed(ids="abc"),
        changed(bad=[{"id": 1, "filter": "", "code": "", "detail": ""}]),
        changed(ids=[1]), changed(ids=[["a"]]), changed(num_bytes="9"), changed(num_bytes=9.0), changed(num_bytes=True),
        changed(filename=None), changed(channel_sums=[1, None]), changed(channel_sums=1), changed(digests=[2]),
        changed(stamp=[]), changed(num_pixels=None), changed(sha256={}),
    ],
)  # fmt: skip
def test_a_report_of_wrong_types_is_refused_without_a_traceback(tmp_path, text):
    with pytest.raises(
        ValueError, match=r"not a report \(|in a report, expected a list$|in a report, expected \w+$|Expecting value"
    ):
        ShardReport.from_json(signed(text))
    workspace = DiskWorkspace(tmp_path / "1.0.0")
    workspace.prepare()
    (workspace.reports / "shard.json").write_text(signed(text))
    assert reports.read(workspace, "shard") is None


def test_a_report_on_another_shard_is_refused(tmp_path):
    workspace = DiskWorkspace(tmp_path / "1.0.0")
    reports.write(workspace, REPORT)
    (workspace.reports / "shard.json").rename(workspace.reports / "other.json")
    assert reports.read(workspace, "other") is None


def test_shards_whose_reports_are_damaged_are_written_again(source, tmp_path):
    reference = build(config_for(source, tmp_path / "reference"))
    spoilt = source.image("ex-0003", "red")
    good = spoilt.read_bytes()
    spoilt.write_bytes(b"")
    config = config_for(source, tmp_path / "data")
    with pytest.raises(BadExamples):
        build(config)
    spoilt.write_bytes(good)
    rng, folder = np.random.default_rng(0), DiskWorkspace(tmp_path / "data/hpa_stacked/16/1.1.0").reports
    for path in sorted(folder.iterdir()):
        data = bytearray(path.read_bytes())
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
    result = build(config)
    assert result.num_shards_resumed == 0
    assert digests(result.path) == digests(reference.path)


def test_a_damaged_task_stops_the_worker(tmp_path):
    path, [(start, end)] = tasks.write(DiskWorkspace(tmp_path), some_tasks(1))
    data = path.read_bytes()
    for position in range(len(data) - 1):
        damaged = bytearray(data)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(JobError, match=r"a task does not match its checksum; run the same command again"):
            list(tasks.read(path, start, end))
