"""Plans reach the workers by way of a file: the job stays small whatever the number of examples."""

import zlib

import apache_beam as beam
import pytest

from pipeline import job
from pipeline.errors import JobError
from pipeline.images import sources
from pipeline.plan import shards
from pipeline.plan.table import Example
from pipeline.schema import HPA_KAGGLE_2018
from pipeline.store import files
from pipeline.store.workspace import DiskWorkspace
from pipeline.write import tasks
from pipeline.write.tasks import Task
from pipeline.write.transforms import WriteConfig


def some_tasks(num, per_shard=3):
    return [
        Task(
            shards.ShardPlan("train", k, num, tuple(Example(f"ex-{k}-{j}", (j, 27)) for j in range(per_shard))),
            f"{k:064x}",
        )
        for k in range(num)
    ]


def test_every_task_comes_back_once_from_the_ranges(tmp_path):
    for num in (0, 1, 5, tasks.MAX_RANGES, 1000):
        expected = some_tasks(num)
        path, ranges = tasks.write(DiskWorkspace(tmp_path), expected)
        assert len(ranges) == min(num, tasks.MAX_RANGES)
        assert [task for limits in ranges for task in tasks.read(path, *limits)] == expected


def test_each_run_has_a_file_of_its_own(tmp_path):
    first, _ = tasks.write(DiskWorkspace(tmp_path), some_tasks(2))
    second, _ = tasks.write(DiskWorkspace(tmp_path), some_tasks(2))
    assert first != second
    assert files.listing(DiskWorkspace(tmp_path).tasks).keys() == {second.name}


def test_a_million_examples_make_a_small_job(tmp_path):
    per_shard = int(shards.DEFAULT_SHARD_MIB * 2**20 // shards.record_bytes(HPA_KAGGLE_2018, 256))
    examples = tuple(Example(f"{k:08x}-bb99-11e8-b2b9-ac1f6b6435d0", (k % 28,)) for k in range(per_shard))
    num = -(-1_000_000 // per_shard)
    assert num > 3900
    workspace = DiskWorkspace(tmp_path / "1.1.0")
    every = (Task(shards.ShardPlan("train", k, num, examples), f"{k:064x}") for k in range(num))
    path, ranges = tasks.write(workspace, every)
    pipeline = beam.Pipeline()
    job.make_graph(pipeline, path, ranges, WriteConfig(workspace, sources.Folder("images"), HPA_KAGGLE_2018, 256))
    proto = pipeline.to_runner_api()
    print(f"{num} shards: a job of {proto.ByteSize():,} bytes, tasks of {path.stat().st_size:,} bytes")
    assert path.stat().st_size > 40_000_000
    assert proto.ByteSize() < 50_000  # Dataflow refuses more than 10 MB


def test_a_file_that_holds_no_tasks_is_named(tmp_path):
    text = b"[1, 2]"
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    with pytest.raises(JobError, match=r"no file of tasks \(.*\); run the same command again to continue"):
        list(tasks.read(path, 0, path.stat().st_size))
