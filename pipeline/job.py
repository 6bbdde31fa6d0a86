"""The job: from a label table and a set of images to a published dataset."""

import contextlib
import dataclasses
import errno
import fcntl
import importlib
import json
import logging
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline import schema
from pipeline.dataset import publish
from pipeline.dataset.conservation import prove, shard_problems
from pipeline.errors import InputError, JobError
from pipeline.images import sources
from pipeline.plan import manifest, shards, splits
from pipeline.plan.manifest import Manifest
from pipeline.plan.shards import ShardPlan
from pipeline.store import files
from pipeline.store.files import ObjectPath, Place
from pipeline.write import tasks, writer
from pipeline.write.writer import BadImageRow, ShardReport

Progress = Callable[[int, int], None]


class BadExamples(InputError):
    """Images that cannot be used, and a build that was told not to leave any out (or not so many)."""


class AlreadyPublished(InputError):
    """Another dataset is published where this one would go."""


@dataclasses.dataclass(frozen=True)
class BuildConfig:
    """One build. The first group of fields decides the bytes of the dataset; the second does not.

    Places may be given as paths or as URLs (`files.at`).
    """

    labels: Place
    images: Place
    data_dir: Place
    size: int = schema.DEFAULT_SIZE
    seed: int = 0
    split_sizes: tuple[int, ...] | None = None
    groups: Place | None = None
    num_shards: int | None = None
    shard_mib: float = shards.DEFAULT_SHARD_MIB
    max_examples: int | None = None

    threads: int | None = None
    on_error: str = "fail"
    max_bad: float = 0.01
    overwrite: bool = False
    beam_args: Sequence[str] | Any = ()  # flags, or ready PipelineOptions
    write: Callable[..., ShardReport] = writer.write_shard

    def __post_init__(self) -> None:
        for name in ("labels", "images", "data_dir", "groups"):
            if (place := getattr(self, name)) is not None:
                object.__setattr__(self, name, files.at(place))
        if not 1 <= self.size <= 4096:
            raise InputError(f"size is {self.size}, expected 1 to 4096 pixels a side")
        if self.on_error not in ("fail", "quarantine"):
            raise InputError(f"on_error is '{self.on_error}', expected 'fail' or 'quarantine'")
        if not 0 <= self.max_bad <= 1:
            raise InputError(f"max_bad is {self.max_bad}, expected a share from 0 to 1 (0% to 100%)")


@dataclasses.dataclass(frozen=True)
class BuildResult:
    """What a build did. `metadata` is what the dataset says of itself."""

    path: Place
    metadata: dict[str, Any]
    num_examples: dict[str, int]
    num_shards: int
    num_shards_resumed: int
    bad: tuple[BadImageRow, ...]
    metrics: tuple[str, ...] = ()  # of this run, one line each
    up_to_date: bool = False


def build(config: BuildConfig, on_progress: Progress = lambda done, total: None) -> BuildResult:
    """Builds and publishes the dataset; continues a build that was killed; does nothing if it is there.

    Args:
      config: what to build, and how.
      on_progress: called with (examples done, examples in all), from another thread.

    Raises:
      InputError: something is wrong with the input or the place; nothing was published.
      ConservationError: what was written is not what was planned; nothing was published.
      OSError: a file could not be written.
    """
    options = _beam_options(config.beam_args) if config.beam_args else None
    source = manifest.read(config.labels, sources.open_images(config.images))
    parameters = _parameters(config, source)
    fingerprint = source.fingerprint(**parameters)
    target = publish.dataset_dir(config.data_dir, config.size)
    with _lock(target):
        published = _check_target(config, source, target, fingerprint)
        if published is not None:
            return _up_to_date(target, published)
        _check_missing(config, source)
        with _importing_beam():
            plans = make_plans(config, source)
        directory = _building_dir(target)
        done = _finished(directory, plans, config.size, source)
        _check_space(directory, plans, done, config.size)
        with _reporting(directory, plans, on_progress):
            metrics = _run(config, source, directory, plans, done, options)
        reports = _read_reports(directory, plans, config.size, source)
        planned = [example for plan in plans for example in plan.examples]
        prove(directory, plans, reports, source.examples if config.max_examples is None else planned)
        complete = [report for report in reports if report is not None]
        bad = _check_bad(config, target, complete, len(planned))
        metadata = {
            **publish.describe(plans, complete, size=config.size, synthetic=source.synthetic),
            "fingerprint": fingerprint,
            **parameters,
        }
        _publish(config, directory, target, plans, complete, metadata)
        _clean_up(target)
    return BuildResult(
        path=target,
        metadata=metadata,
        num_examples=_count(plans, complete),
        num_shards=len(plans),
        num_shards_resumed=len(done),
        bad=bad,
        metrics=tuple(metrics),
    )


def _publish(
    config: BuildConfig,
    directory: Place,
    target: Place,
    plans: Sequence[ShardPlan],
    reports: Sequence[ShardReport],
    metadata: dict[str, Any],
) -> None:
    with contextlib.ExitStack() as stack:
        if isinstance(directory, ObjectPath):
            finished = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpa_stacked-")))
        else:
            finished = directory / writer.SHARDS
        if config.groups:
            (finished / publish.GROUPS).write_bytes(config.groups.read_bytes())
        publish.write_metadata(finished, plans, reports, metadata)
        if isinstance(target, ObjectPath):
            publish.upload(finished, target)
        else:
            publish.move_into_place(finished, target)


def make_plans(config: BuildConfig, source: Manifest) -> list[ShardPlan]:
    """Returns the plan of every shard of a build."""
    groups = manifest.read_groups(config.groups, source.examples) if config.groups else None
    assigned = splits.assign(source.examples, config.split_sizes, seed=config.seed, groups=groups)
    return shards.plan(
        source.examples,
        assigned.of,
        size=config.size,
        seed=config.seed,
        num_shards=config.num_shards,
        shard_mib=config.shard_mib,
        max_examples=config.max_examples,
    )


def report(config: BuildConfig, result: BuildResult) -> str:
    """Returns what a person should know at the end, in a few lines."""
    counts = ", ".join(f"{name} {count}" for name, count in result.num_examples.items())
    lines = [
        f"nothing to do: {result.path} holds this very dataset" if result.up_to_date else f"published {result.path}",
        f"  {counts} examples in {result.num_shards} shards"
        + (f", {result.num_shards_resumed} of them from an earlier run" if result.num_shards_resumed else ""),
    ]
    if result.metadata["synthetic"]:
        lines.append("  SYNTHETIC: drawn, not photographed")
    if quarantined := result.metadata["num_quarantined"]:
        lines.append(f"  {quarantined} bad examples left out, listed in {result.path / publish.QUARANTINE}")
    if scaled := result.metadata["num_16bit_images"]:
        lines.append(f"  {scaled} images scaled from 16 to 8 bits")
    lines += [f"  {line}" for line in result.metrics]
    name = f"{schema.NAME}/{config.size}"
    lines.append(f"  read it with tfds.load({name!r}, data_dir={str(config.data_dir)!r})")
    return "\n".join(lines)


def _parameters(config: BuildConfig, source: Manifest) -> dict[str, Any]:
    groups = files.sha256_of(config.groups) if config.groups else None
    return {
        "dataset_version": schema.VERSION,
        "seed": config.seed,
        "split_sizes": list(config.split_sizes or splits.proportional_sizes(len(source.examples))),
        "groups_sha256": groups,
        "num_shards_per_split": config.num_shards,
        "shard_mib": float(config.shard_mib),
        "max_examples_per_split": config.max_examples,
    }


@contextlib.contextmanager
def _lock(target: Place) -> Iterator[None]:
    """Holds the right to build at `target`; two builds in one place would mix their shards."""
    if isinstance(target, ObjectPath):
        with lease(target.with_name(f".{target.name}.lock")):
            yield
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = open(target.with_name(f".{target.name}.lock"), "w")  # noqa: SIM115
    except OSError as error:
        raise InputError(
            f"{target.parent}: cannot be written ({error.strerror}); choose another data directory"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{target}: another build is at work there; wait for it or stop it") from None
        yield


LEASE_SECONDS = 90.0
"""How long a build that died keeps others from its place in an object store."""


@contextlib.contextmanager
def lease(path: ObjectPath) -> Iterator[None]:
    """Holds the object at `path`, which a living build writes anew three times in `LEASE_SECONDS`.

    A store has no locks that end with their holder. A holder on this machine that is no longer alive is not
    waited for; of one elsewhere, the object stops changing.
    """
    mine = {"host": socket.gethostname(), "pid": os.getpid()}

    def stated() -> bytes:
        return json.dumps({**mine, "time": time.time()}).encode()

    try:
        path.create(stated())
    except FileExistsError:
        holder = json.loads(path.read_text())
        age = time.time() - holder["time"]
        same_host = holder["host"] == mine["host"]
        alive = _is_alive(holder["pid"]) if same_host else age < LEASE_SECONDS
        if alive:
            raise InputError(
                f"{path.parent}: another build is at work there (process {holder['pid']} on {holder['host']}, "
                f"heard of {max(age, 0):.0f} s ago); wait for it or stop it"
                + ("" if same_host else f": its claim lapses {LEASE_SECONDS:.0f} s after its last word")
            ) from None
        path.write_bytes(stated())
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(LEASE_SECONDS / 3):
            with contextlib.suppress(JobError):  # the next time, perhaps
                path.write_bytes(stated())

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _check_target(config: BuildConfig, source: Manifest, target: Place, fingerprint: str) -> dict[str, Any] | None:
    """Returns the metadata of the published dataset if it is the one asked for, `None` if it must be built."""
    _check_synthetic(config, source, target)
    published = publish.published_metadata(target)
    if published is None:
        return None
    if published.get("fingerprint") == fingerprint:
        return published
    if config.overwrite:
        return None
    found = f"fingerprint {published['fingerprint'][:12]}" if "fingerprint" in published else "no fingerprint"
    raise AlreadyPublished(
        f"{target}: holds a dataset of other input or parameters ({found}, expected {fingerprint[:12]}); "
        "use another data directory, or --overwrite to replace it"
    )


def _check_synthetic(config: BuildConfig, source: Manifest, target: Place) -> None:
    """A drawn dataset never stands where a real one is expected, and never beside one."""
    kind = {True: "synthetic", False: "real"}
    for other in (folder / schema.VERSION for folder in files.folders(target.parent.parent)):
        metadata = publish.published_metadata(other) or {}
        if metadata.get("synthetic", source.synthetic) != source.synthetic:
            raise AlreadyPublished(
                f"{other}: holds {kind[not source.synthetic]} images, and this source is "
                f"{kind[source.synthetic]}; build it in a data directory of its own"
            )
    if source.synthetic and config.data_dir.absolute() == default_data_dir():
        raise InputError(
            f"{config.data_dir}: is where TFDS looks by default, and this source is synthetic; "
            "build it in a data directory of its own, so that it never passes for the real images"
        )


def default_data_dir() -> Place:
    """Returns the data directory that TFDS uses when none is named."""
    place = files.at(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
    return place.expanduser().absolute() if isinstance(place, Path) else place


def _up_to_date(target: Place, metadata: dict[str, Any]) -> BuildResult:
    _clean_up(target)  # a run killed just after the rename
    info = json_splits(target)
    return BuildResult(
        path=target,
        metadata=metadata,
        num_examples={name: sum(lengths) for name, lengths in info.items()},
        num_shards=sum(len(lengths) for lengths in info.values()),
        num_shards_resumed=0,
        bad=(),
        up_to_date=True,
    )


def json_splits(path: Place) -> dict[str, list[int]]:
    """Returns `{split: examples in each shard}` as a published dataset states it."""
    info = json.loads((path / "dataset_info.json").read_text())
    return {split["name"]: [int(n) for n in split["shardLengths"]] for split in info["splits"]}


def _check_missing(config: BuildConfig, source: Manifest) -> None:
    missing = [
        BadImageRow(example_id, name, "missing_filter", f"no file {example_id}_{name}.png")
        for example_id, name in source.missing()
    ]
    if missing:
        target = publish.dataset_dir(config.data_dir, config.size)
        _refuse_bad(config, target, missing, len(source.examples))


def _check_bad(
    config: BuildConfig, target: Place, reports: Sequence[ShardReport], num_examples: int
) -> tuple[BadImageRow, ...]:
    bad = tuple(row for report in reports for row in report.bad)
    if bad:
        _refuse_bad(config, target, bad, num_examples)
        if not any(report.ids for report in reports):
            raise BadExamples("every example is bad; nothing is left to publish")
    return bad


def _refuse_bad(config: BuildConfig, target: Place, bad: Sequence[BadImageRow], num_examples: int) -> None:
    num_bad = len({row.id for row in bad})
    if config.on_error == "quarantine" and num_bad <= config.max_bad * num_examples:
        return
    table = target.with_name("bad_examples.csv")
    publish.write_bad_rows(table, bad)
    rows = sorted(bad, key=lambda row: (row.id, row.filter))
    lines = [f"image '{row.id}': filter '{row.filter}': {row.code}: {row.detail}" for row in rows]
    listed = manifest.summary(lines, "bad images")
    if config.on_error == "quarantine":
        advice = f"more than --max-bad {config.max_bad:.3%}"
    else:
        advice = "mend them, or leave them out with --on-error quarantine"
    raise BadExamples(
        f"{num_bad} of {num_examples} examples are bad, and nothing was published ({advice}; "
        f"all of them: {table}): {listed}"
    )


def _building_dir(target: Place) -> Place:
    directory = writer.building_dir(target)
    if isinstance(directory, Path):
        for name in (writer.SHARDS, writer.REPORTS):
            (directory / name).mkdir(parents=True, exist_ok=True)
    files.remove_temporaries(directory)
    return directory


def _finished(directory: Place, plans: Sequence[ShardPlan], size: int, source: Manifest) -> set[str]:
    """Returns the names of shards that an earlier run finished for this very plan; removes all others."""
    stored = files.listing(writer.shards_dir(directory))
    done = set()
    for plan, report in zip(plans, _read_reports(directory, plans, size, source), strict=True):
        if report and not shard_problems(directory, plan, report, stored) and _is_intact(directory, report):
            done.add(plan.filename)
    reports = directory / writer.REPORTS
    # Before their shards: a report must never outlive what it speaks of.
    files.remove(reports / name for name in files.listing(reports) if name.removesuffix(".json") not in done)
    folder = writer.shards_dir(directory)
    if isinstance(folder, ObjectPath):
        publish.unpublish(folder, keep=done)
    else:
        files.remove(folder / name for name in stored if name not in done)
    return done


def _is_intact(directory: Place, report: ShardReport) -> bool:
    path = writer.shard_path(directory, report.filename)
    # An object is what its stamp says, which has been compared; a file is read again.
    return isinstance(path, ObjectPath) or files.sha256_of(path) == report.sha256


def _read_reports(
    directory: Place, plans: Sequence[ShardPlan], size: int, source: Manifest
) -> list[ShardReport | None]:
    """Returns the report on each shard, `None` where there is none that was made for this very plan."""
    there = files.listing(directory / writer.REPORTS)

    def read(plan: ShardPlan) -> ShardReport | None:
        report = writer.read_report(directory, plan.filename) if f"{plan.filename}.json" in there else None
        if report is None or report.plan_fingerprint != plan.fingerprint(size, source.file_bytes):
            return None
        return report

    with ThreadPoolExecutor(sources.REMOTE_THREADS) as pool:
        return list(pool.map(read, plans))


def _check_space(directory: Place, plans: Sequence[ShardPlan], done: set[str], size: int) -> None:
    if isinstance(directory, ObjectPath):
        return
    todo = sum(len(plan.examples) for plan in plans if plan.filename not in done)
    needed, free = todo * shards.record_bytes(size), shutil.disk_usage(directory).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{directory}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; "
            "free some space, or choose another data directory",
        )


def _run(
    config: BuildConfig,
    source: Manifest,
    directory: Place,
    plans: Sequence[ShardPlan],
    done: set[str],
    options: Any,
) -> list[str]:
    """Writes the shards that are not done, on the runner that `options` name; returns the run's metrics."""
    todo = [plan for plan in plans if plan.filename not in done]
    if not todo:
        return []
    import apache_beam as beam

    from pipeline.write.transforms import WriteConfig, WriteShards, read_metrics

    path, ranges = tasks.write(
        directory.absolute(), (tasks.Task(plan, plan.fingerprint(config.size, source.file_bytes)) for plan in todo)
    )
    write = WriteConfig(
        images=source.images,
        size=config.size,
        directory=directory.absolute(),
        tasks=path,
        threads=config.threads,
        write=config.write,
    )
    options = options or _beam_options(())
    runner = _runner(options)
    _check_reach(runner, config, directory)
    with _plain_errors(runner), _quiet(logging.CRITICAL):
        try:
            pipeline = beam.Pipeline(runner=runner, options=options)
        except ValueError as error:  # options that the runner refuses, or no such runner
            raise InputError(str(error)) from None
        _ = pipeline | "Plans" >> beam.Create(ranges, reshuffle=False) | WriteShards(write)
        result = pipeline.run()
        state = result.wait_until_finish()
    if state not in (None, "DONE"):
        raise JobError(f"the Beam job ended in state {state}; see the runner's log")
    return read_metrics(result)


@contextlib.contextmanager
def _importing_beam() -> Iterator[None]:
    """Imports Beam meanwhile: a second, which a run with nothing to do should not wait for.

    The solver of the split works without Python's lock, so that the two share the processors.
    """

    def work() -> None:
        with contextlib.suppress(ImportError):  # the job imports it again, and tells
            importlib.import_module("pipeline.write.transforms")

    thread = threading.Thread(target=work, name="import", daemon=True)
    with _quiet(logging.ERROR):  # Beam remarks on every optional package that is not there
        thread.start()
        try:
            yield
        finally:
            thread.join()


def _beam_options(args: Sequence[str] | Any) -> Any:
    """Raises `InputError` for an option that Beam does not know; Beam itself would only log it."""
    with _quiet(logging.ERROR):
        from apache_beam.options import pipeline_options

    if isinstance(args, pipeline_options.PipelineOptions):
        return args
    parser = pipeline_options._BeamArgumentParser(allow_abbrev=False, add_help=False)
    known: Any
    for known in (pipeline_options.PipelineOptions, *pipeline_options.PipelineOptions.__subclasses__()):
        known._add_argparse_args(parser)
    unknown = parser.parse_known_args(list(args))[1]
    if unknown:
        raise InputError(f"{unknown[0]}: neither an option of this command nor of Beam; see --help")
    return pipeline_options.PipelineOptions(list(args))


def _runner(options: Any) -> Any:
    from apache_beam.options.pipeline_options import SetupOptions, StandardOptions

    # What workers run stands in modules; Beam would pickle the whole main program for them if not told otherwise.
    options.view_as(SetupOptions).save_main_session = False
    name = options.view_as(StandardOptions).runner
    if name not in (None, "DirectRunner"):
        return name
    # `DirectRunner` would try Prism first, a program that Beam fetches from the network.
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    return FnApiRunner()


def _check_reach(runner: Any, config: BuildConfig, directory: Place) -> None:
    """Raises `InputError` if workers in a cloud are to read or write on this machine's disk."""
    if runner != "DataflowRunner":
        return  # on others, the paths may be those of a file system that all workers share
    for name, place in (("images", config.images), ("data directory", directory)):
        if not isinstance(place, ObjectPath):
            raise InputError(f"{place}: the {name} must be at gs://, where {runner}'s workers can reach it")


@contextlib.contextmanager
def _quiet(level: int) -> Iterator[None]:
    """Keeps log messages below `level` off the screen."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(level)
    try:
        yield
    finally:
        root.setLevel(before)


@contextlib.contextmanager
def _plain_errors(runner: Any) -> Iterator[None]:
    """Turns the pages that Beam makes of an error into the line that matters.

    On this machine: of a worker's `OSError`; the rest are defects. Elsewhere, where machines come and go, of
    everything.
    """
    try:
        yield
    except (OSError, InputError):
        raise
    except Exception as error:
        pattern = r"^(?:\w+: )*(?:\w*Error|OSError): \[Errno \d+\] (.+?)(?: \[while running .*)?$"
        if store := re.search(r"StorageError: (.+?)(?: \[while running .*)?$", str(error), re.MULTILINE):
            raise files.StorageError(store[1]) from error
        found = re.search(pattern, str(error), re.MULTILINE)
        if found is None and not isinstance(runner, str):
            raise
        raise JobError(found[1] if found else _last_error(runner, str(error))) from error


def _last_error(runner: str, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception)\b|details = ", line)]
    line = (named or lines or ["no message"])[-1][:300]
    return (
        f"the Beam job failed on {runner} ({line}); its log tells more. "
        "Run the same command again: it continues with the shards that are missing"
    )


@contextlib.contextmanager
def _reporting(directory: Place, plans: Sequence[ShardPlan], on_progress: Progress) -> Iterator[None]:
    """Calls `on_progress` as reports appear, which they do on every runner."""
    lengths = {f"{plan.filename}.json": len(plan.examples) for plan in plans}
    total, stop = sum(lengths.values()), threading.Event()

    def count() -> None:
        on_progress(sum(lengths.get(name, 0) for name in files.listing(directory / writer.REPORTS)), total)

    def watch() -> None:
        while not stop.wait(5 if isinstance(directory, ObjectPath) else 0.2):
            with contextlib.suppress(JobError):  # the next time, perhaps
                count()

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    count()
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        count()


def _count(plans: Sequence[ShardPlan], reports: Sequence[ShardReport]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for plan, report in zip(plans, reports, strict=True):
        counts[plan.split] = counts.get(plan.split, 0) + len(report.ids)
    return counts


def _clean_up(target: Place) -> None:
    target.with_name("bad_examples.csv").unlink(missing_ok=True)
    files.remove_tree(writer.building_dir(target))
    files.remove_tree(target.with_name(f".{target.name}.replaced"))
