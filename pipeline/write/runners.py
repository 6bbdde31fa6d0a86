"""Beam's options, runners and errors."""

import contextlib
import gc
import importlib
import logging
import re
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.errors import EndedJobError, InputError, JobError, StorageError
from pipeline.store import files
from pipeline.store.files import Place

AGAIN = "Run the same command again to continue with the missing shards"
"""Advice at the end of the message of a job that failed on a cluster."""


def parse_options(args: Sequence[str] | Any) -> Any:
    """Returns Beam's `PipelineOptions` for command-line flags; ready options are returned as they are.

    Raises:
      InputError: a flag that Beam does not know; Beam itself would only log it.
    """
    with quiet(logging.ERROR):
        from apache_beam.options.pipeline_options import PipelineOptions

    if isinstance(args, PipelineOptions):
        return args
    if unknown := unknown_flags(args):
        raise InputError(f"{unknown[0]}: neither an option of this command nor of Beam; see --help")
    return PipelineOptions(list(args))


def unknown_flags(args: Sequence[str]) -> list[str]:
    """Returns the words of a command line that are not options of Beam."""
    # Beam's public parser never rejects a flag; its private one returns those that it does not know.
    with quiet(logging.ERROR):
        from apache_beam.options import pipeline_options

    parser = pipeline_options._BeamArgumentParser(allow_abbrev=False, add_help=False)
    kind: Any
    for kind in (pipeline_options.PipelineOptions, *pipeline_options.PipelineOptions.__subclasses__()):
        kind._add_argparse_args(parser)
    return parser.parse_known_args(list(args))[1]


def choose_runner(options: Any) -> Any:
    """Returns the runner that the options name, or Beam's in-memory runner by default."""
    from apache_beam.options.pipeline_options import SetupOptions, StandardOptions

    # Everything that workers run is in modules; by default Beam would also pickle the main program for them.
    options.view_as(SetupOptions).save_main_session = False
    name = options.view_as(StandardOptions).runner
    if name not in (None, "DirectRunner"):
        return name
    # `DirectRunner` would try Prism first, a program that Beam fetches from the network.
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    return FnApiRunner()


def check_reach(runner: Any, places: dict[str, Place]) -> None:
    """Checks that a runner's workers can reach the named places.

    Raises:
      InputError: the runner is Dataflow, and a place is on this machine's disk. On other runners, a path may be on a
        file system that all workers share.
    """
    if runner != "DataflowRunner":
        return
    for name, place in places.items():
        if not files.is_remote(place):
            raise InputError(f"{place}: the {name} must be at gs://, where {runner}'s workers can reach it")


def check_job_server(options: Any) -> None:
    """Checks that something listens at `--job_endpoint`, if it is given: Beam would wait for minutes.

    Raises:
      InputError: nothing listens there.
    """
    from apache_beam.options.pipeline_options import PortableOptions

    endpoint = options.view_as(PortableOptions).job_endpoint
    host, separator, port = (endpoint or "").rpartition(":")
    if not separator or not port.isdecimal():  # none, or "embed"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise InputError(
            f"--job_endpoint {endpoint}: no job server answers ({error.strerror or error}); start it, or correct the address"
        ) from None


def limit_workers(runner: Any, options: Any, num_tasks: int) -> None:
    """Sets the largest number of Dataflow's workers, unless it is given, to what `num_tasks` can keep busy.

    A worker runs one process a core, and a process one task at a time. The last number in the name of a machine type is
    its number of cores (https://cloud.google.com/compute/docs/machine-resource); without one, it is taken as 1.
    """
    from apache_beam.options.pipeline_options import WorkerOptions

    workers = options.view_as(WorkerOptions)
    if runner != "DataflowRunner" or workers.max_num_workers is not None:
        return
    cores = re.search(r"-([1-9]\d*)$", workers.machine_type or "")
    needed = -(-num_tasks // int(cores[1] if cores else 1))
    workers.max_num_workers = max(needed, workers.num_workers or 1)


@contextlib.contextmanager
def pipeline_on(runner: Any, options: Any) -> Iterator[Any]:
    """Yields a new `beam.Pipeline`; inside, what Beam logs and raises is reduced to the line that matters.

    Raises:
      InputError: options that the runner refuses, an unknown runner, or no job server where `--job_endpoint` says.
      JobError: the job failed.
    """
    import apache_beam as beam

    if options is not None:
        check_job_server(options)
    with _plain_errors(runner), quiet(logging.CRITICAL):
        try:
            pipeline = beam.Pipeline(runner=runner, options=options)
        except (ValueError, ImportError) as error:  # options that do not fit, a package that is missing
            raise InputError(" ".join(str(error).split())) from None
        yield pipeline


def run(pipeline: Any, runner: Any = None) -> Any:
    """Runs the pipeline to its end and returns its result.

    Raises:
      InputError: the runner, named as in `choose_runner`, did not accept the job.
      EndedJobError: the job failed on a cluster, and has ended there.
      JobError: it ended in a state other than DONE.
    """
    result = _submit(pipeline, runner)
    with _telling_ended_jobs(result, runner), _cancelling_when_stopped(result, runner):
        state = result.wait_until_finish()
        if state not in (None, "DONE"):
            raise JobError(f"the Beam job ended in state {state}; see the runner's log")
    return result


def _submit(pipeline: Any, runner: Any) -> Any:
    """Starts the pipeline; a failure before it runs on a cluster is due to the configuration or the connection."""
    try:
        return pipeline.run()
    except Exception as error:
        if not _only_submits(pipeline, runner):
            raise
        line = _last_line(str(error)) or type(error).__name__
        raise InputError(
            f"{runner} did not accept the job ({line}); check the options of the runner, and that it can be reached"
        ) from error


def _only_submits(pipeline: Any, runner: Any) -> bool:
    """Returns whether `pipeline.run` returns before the job has run."""
    from apache_beam.runners.portability.portable_runner import PortableRunner

    return runner == "DataflowRunner" or isinstance(getattr(pipeline, "runner", None), PortableRunner)


@contextlib.contextmanager
def _telling_ended_jobs(result: Any, runner: Any) -> Iterator[None]:
    """Turns a failure in the block into an `EndedJobError` if the job has ended as failed on a cluster.

    Not if the job was cancelled, or its end was not seen: its workers may still write.
    """
    try:
        with _plain_errors(runner):
            yield
    except JobError as error:
        if isinstance(runner, str) and _has_failed(result):
            raise EndedJobError(str(error)) from error
        raise


@contextlib.contextmanager
def _cancelling_when_stopped(result: Any, runner: Any) -> Iterator[None]:
    """Cancels the job if Ctrl-C ends the block: on a cluster it would continue without this process.

    Beam's job server for Flink only stops waiting for its job, which then runs to its end, so the note says to check.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if isinstance(runner, str):
            try:
                result.cancel()
                error.add_note(f"{runner} was asked to cancel the job; if the cluster still runs it, cancel it there")
            except Exception as failure:  # the cluster may be gone
                line = _last_line(str(failure)) or type(failure).__name__
                error.add_note(f"the job on {runner} could not be cancelled ({line}); cancel it there")
        raise


def _has_failed(result: Any) -> bool:
    try:
        return bool(result.state == "FAILED")
    except Exception:  # this asks the cluster, which may be gone
        return False


@contextlib.contextmanager
def importing_beam() -> Iterator[None]:
    """Imports Beam in the background while the block runs.

    The import takes a second, and the split's solver, which works without the GIL, leaves a core free. A run with
    nothing to do never imports Beam.
    """

    def work() -> None:
        with contextlib.suppress(ImportError), _light_imports():  # the job imports it again and reports the error
            importlib.import_module("pipeline.write.transforms")
            importlib.import_module("apache_beam.runners.portability.fn_api_runner")

    thread = threading.Thread(target=work, name="import", daemon=True)
    with quiet(logging.ERROR):  # Beam logs every optional package that is missing
        thread.start()
        try:
            yield
        finally:
            thread.join()


@contextlib.contextmanager
def _light_imports() -> Iterator[None]:
    """Makes the imports in the block cheaper: half a second and 45 MB for Beam's.

    Garbage is not collected: imports make little, and each collection walks everything imported so far. pandas is
    hidden: where it is installed, Beam imports it for type hints of data frames, which this job does not use.
    """
    hidden = sys.modules.setdefault("pandas", None) is None  # type: ignore[arg-type]
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if hidden:
            del sys.modules["pandas"]
        gc.freeze()  # what was imported stays, so later collections skip it
        if collecting:
            gc.enable()


@contextlib.contextmanager
def quiet(level: int) -> Iterator[None]:
    """Suppresses log messages below `level`."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(level)
    try:
        yield
    finally:
        root.setLevel(before)


@contextlib.contextmanager
def _plain_errors(runner: Any) -> Iterator[None]:
    """Reduces Beam's long report of an error, or of Ctrl-C, to the line that matters.

    On this machine that is the message of a worker's `OSError` or store error; anything else is a defect and keeps its
    traceback. On a cluster, where machines come and go, every error is reduced.
    """
    try:
        yield
    except (OSError, InputError, JobError) as error:
        message, step, _ = str(error).partition(" [while running ")
        if step and not isinstance(error, OSError):
            raise type(error)(message) from error  # without the name of the step, which Beam appends
        raise
    except Exception as error:
        text = str(error)
        if re.search(r"^KeyboardInterrupt(?: \[while running .*)?$", text, re.MULTILINE):
            raise KeyboardInterrupt from None  # raised in the thread that runs Beam, which turns it into an error
        if store := re.search(r"StorageError: (.+?)(?: \[while running .*)?$", text, re.MULTILINE):
            raise StorageError(store[1]) from error
        pattern = r"^(?:\w+: )*(?:\w*Error|OSError): \[Errno \d+\] (.+?)(?: \[while running .*)?$"
        worker = re.search(pattern, text, re.MULTILINE)
        if worker is None and not isinstance(runner, str):
            raise
        raise JobError(worker[1] if worker else _cluster_error(runner, text)) from error


def _cluster_error(runner: str, text: str) -> str:
    return f"the Beam job failed on {runner} ({_last_line(text) or 'no message'}); see the runner's log. " + AGAIN


def _last_line(text: str) -> str:
    """Returns the last line of a runner's message that names an error, or else its last line; empty if it has none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception)\b|details = ", line)]
    return (named or lines or [""])[-1][:300]
