"""Beam's options, runners and errors."""

import contextlib
import gc
import importlib
import logging
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.errors import InputError, JobError, StorageError
from pipeline.store import files
from pipeline.store.files import Place


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
    """Returns the words of a command line that are no options of Beam."""
    # Beam's public parser never rejects a flag; its private one can be asked which flags it does not know.
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
      InputError: Dataflow, and a place on this machine's disk. On other runners a path may be on a file system that
        all workers share.
    """
    if runner != "DataflowRunner":
        return
    for name, place in places.items():
        if not files.is_remote(place):
            raise InputError(f"{place}: the {name} must be at gs://, where {runner}'s workers can reach it")


@contextlib.contextmanager
def pipeline_on(runner: Any, options: Any) -> Iterator[Any]:
    """Yields a new `beam.Pipeline`; inside, what Beam logs and raises is reduced to the line that matters.

    Raises:
      InputError: options that the runner refuses, or an unknown runner.
      JobError: the job failed.
    """
    import apache_beam as beam

    with _plain_errors(runner), quiet(logging.CRITICAL):
        try:
            pipeline = beam.Pipeline(runner=runner, options=options)
        except ValueError as error:
            raise InputError(str(error)) from None
        yield pipeline


def run(pipeline: Any) -> Any:
    """Runs the pipeline to its end and returns its result.

    Raises:
      JobError: it ended in a state other than DONE.
    """
    result = pipeline.run()
    state = result.wait_until_finish()
    if state not in (None, "DONE"):
        raise JobError(f"the Beam job ended in state {state}; see the runner's log")
    return result


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

    Garbage is not collected: imports make little, and each collection walks over all that was imported so far. pandas
    is hidden: where it is installed, Beam imports it for type hints of data frames, which this job does not use.
    """
    hidden = sys.modules.setdefault("pandas", None) is None  # type: ignore[arg-type]
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if hidden:
            del sys.modules["pandas"]
        gc.freeze()  # what was imported stays: later collections leave it out
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
    """Reduces the pages that Beam makes of an error, or of Ctrl-C, to the line that matters.

    On this machine that is the message of a worker's `OSError` or store error; anything else is a defect and keeps its
    traceback. On a cluster, where machines come and go, it is done for every error.
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
            raise KeyboardInterrupt from None  # in the thread that runs Beam, which makes an error of it
        if store := re.search(r"StorageError: (.+?)(?: \[while running .*)?$", text, re.MULTILINE):
            raise StorageError(store[1]) from error
        pattern = r"^(?:\w+: )*(?:\w*Error|OSError): \[Errno \d+\] (.+?)(?: \[while running .*)?$"
        worker = re.search(pattern, text, re.MULTILINE)
        if worker is None and not isinstance(runner, str):
            raise
        raise JobError(worker[1] if worker else _cluster_error(runner, text)) from error


def _cluster_error(runner: str, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception)\b|details = ", line)]
    line = (named or lines or ["no message"])[-1][:300]
    return (
        f"the Beam job failed on {runner} ({line}); see the runner's log. "
        "Run the same command again to continue with the missing shards"
    )
