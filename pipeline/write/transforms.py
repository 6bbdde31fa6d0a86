"""Beam's side of writing: DoFns that call `tasks.read` and `writer.write_shard`, and the job's metrics."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

from pipeline.images.sources import Images
from pipeline.schema import Schema
from pipeline.store.files import Place
from pipeline.store.workspace import Workspace
from pipeline.write import tasks
from pipeline.write.in_work import marking
from pipeline.write.reports import BadImageRow, ShardReport
from pipeline.write.tasks import Task
from pipeline.write.writer import write_shard

NAMESPACE = "hpa_stacked"
"""Namespace of the job's metrics in a runner's console."""


@dataclasses.dataclass(frozen=True)
class WriteConfig:
    """What every worker needs to write shards.

    `threads`: `None` for as many as suit the worker and the images; `skip`: examples that are not decoded, and why.
    """

    workspace: Workspace
    images: Images
    schema: Schema
    size: int
    threads: int | None = None
    write: Callable[..., ShardReport] = write_shard
    skip: Mapping[str, Sequence[BadImageRow]] = dataclasses.field(default_factory=dict)


class ReadTasks(beam.DoFn):
    """`(start, end)` in the file of tasks -> `Task`."""

    def __init__(self, path: Place):
        self._path = path

    def process(self, byte_range: tuple[int, int]) -> Iterator[Task]:
        yield from tasks.read(self._path, *byte_range)


class StackAndWrite(beam.DoFn):
    """`Task` -> `(filename, examples written)`; the shard and its report are written by then."""

    def __init__(self, config: WriteConfig):
        self._config = config

    def setup(self) -> None:
        import cv2

        # Decoding and resizing release the GIL, so threads in one process keep the cores busy, with a fraction of the
        # memory of one process per core. OpenCV's own threads would compete with them.
        cv2.setNumThreads(1)
        self._threads = self._config.threads or self._config.images.threads
        self._pool = ThreadPoolExecutor(self._threads, "stack")
        self._open = contextlib.ExitStack()
        self._mark = self._open.enter_context(marking(self._config.workspace.work_folder, self._threads))

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._open.close()

    def process(self, task: Task) -> Iterator[tuple[str, int]]:
        config = self._config
        report = config.write(
            task,
            workspace=config.workspace,
            images=config.images,
            schema=config.schema,
            size=config.size,
            pool=self._pool,
            # Many threads wait for an object store; a few results ahead are enough for them.
            look_ahead=min(4 * self._threads, self._threads + 32),
            observe=lambda name, value: Metrics.distribution(NAMESPACE, name).update(value),
            mark=self._mark,
            skip=config.skip,
        )
        _count(task, report)
        yield report.filename, len(report.ids)


def _count(task: Task, report: ShardReport) -> None:
    Metrics.counter(NAMESPACE, "examples_read").inc(len(task.plan.examples))
    Metrics.counter(NAMESPACE, "examples_written").inc(len(report.ids))
    Metrics.counter(NAMESPACE, "bytes_written").inc(report.num_bytes)
    for code in {row.code for row in report.bad}:
        ids = {row.id for row in report.bad if row.code == code}
        Metrics.counter(NAMESPACE, f"examples_bad_{code}").inc(len(ids))


def read_metrics(result: PipelineResult) -> list[str]:
    """Returns one line for each of the job's own metrics; empty on a runner that keeps none."""
    try:
        metrics = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    except NotImplementedError:
        return []
    lines = [f"{metric.key.metric.name}: {metric.result:,}" for metric in metrics["counters"]]
    for metric in metrics["distributions"]:
        values = metric.result
        lines.append(f"{metric.key.metric.name}: mean {values.mean:.1f}, min {values.min}, max {values.max}")
    return sorted(lines)
