"""How is writing shards spread over the workers of a Beam runner?

Ranges of the file of tasks go in, small summaries come out: no pixel crosses a shuffle. The DoFns only wire
`tasks.read` and `writer.write_shard`.
"""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

from pipeline.images.sources import Images
from pipeline.store.files import Place
from pipeline.write import tasks
from pipeline.write.tasks import Task
from pipeline.write.writer import ShardReport, write_shard

NAMESPACE = "hpa_stacked"
"""Of the job's metrics, in a runner's console."""


@dataclasses.dataclass(frozen=True)
class WriteConfig:
    """What every worker needs to know to write a shard; `threads`: `None` for what suits worker and images."""

    images: Images
    size: int
    directory: Place
    tasks: Place
    threads: int | None = None
    write: Callable[..., ShardReport] = write_shard


class WriteShards(beam.PTransform):
    """`PCollection[(start, end) in the file of tasks] -> PCollection[(filename, examples written)]`."""

    def __init__(self, config: WriteConfig):
        super().__init__()
        self._config = config

    def expand(self, ranges: beam.PCollection) -> beam.PCollection:
        # Without a reshuffle a runner may fuse the tasks with their source into one piece of work.
        return (
            ranges
            | "ReadTasks" >> beam.ParDo(_ReadTasks(self._config.tasks))
            | "SpreadOverWorkers" >> beam.Reshuffle()
            | "StackAndWrite" >> beam.ParDo(_WriteShard(self._config))
        )


class _ReadTasks(beam.DoFn):
    def __init__(self, path: Place):
        self._path = path

    def process(self, byte_range: tuple[int, int]) -> Iterator[Task]:
        yield from tasks.read(self._path, *byte_range)


class _WriteShard(beam.DoFn):
    def __init__(self, config: WriteConfig):
        self._config = config

    def setup(self) -> None:
        import cv2

        # Decoding and resizing release the GIL, so threads in one process fill the cores, at a fraction of
        # the memory of a process each. OpenCV's own threads would only be in their way.
        cv2.setNumThreads(1)
        self._threads = self._config.threads or self._config.images.threads
        self._pool = ThreadPoolExecutor(self._threads, "stack")

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def process(self, task: Task) -> Iterator[tuple[str, int]]:
        config = self._config
        report = config.write(
            task.plan,
            images=config.images,
            size=config.size,
            directory=config.directory,
            plan_fingerprint=task.fingerprint,
            pool=self._pool,
            # Threads that wait for an object store are many: for them a few results in hand are enough.
            look_ahead=min(4 * self._threads, self._threads + 32),
            observe=lambda name, value: Metrics.distribution(NAMESPACE, name).update(value),
        )
        Metrics.counter(NAMESPACE, "examples_read").inc(len(task.plan.examples))
        Metrics.counter(NAMESPACE, "examples_written").inc(len(report.ids))
        Metrics.counter(NAMESPACE, "bytes_written").inc(report.num_bytes)
        for code in {row.code for row in report.bad}:
            ids = {row.id for row in report.bad if row.code == code}
            Metrics.counter(NAMESPACE, f"examples_bad_{code}").inc(len(ids))
        yield report.filename, len(report.ids)


def read_metrics(result: PipelineResult) -> list[str]:
    """Returns a line for each of the job's own metrics, or none on a runner that keeps none."""
    try:
        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    except NotImplementedError:
        return []
    lines = [f"{metric.key.metric.name}: {metric.result:,}" for metric in found["counters"]]
    for metric in found["distributions"]:
        values = metric.result
        lines.append(f"{metric.key.metric.name}: mean {values.mean:.1f}, min {values.min}, max {values.max}")
    return sorted(lines)
