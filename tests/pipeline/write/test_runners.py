"""Beam's options and runners, and the private parts of Beam that this package relies on."""

import socket
import subprocess
import sys

import pytest
from apache_beam.options import pipeline_options

from pipeline.errors import EndedJobError, InputError, JobError, StorageError
from pipeline.store import files
from pipeline.write import runners


def test_beam_still_has_the_private_parser_that_knows_every_flag():
    message = "Beam changed: adapt `runners.unknown_flags`"
    assert hasattr(pipeline_options, "_BeamArgumentParser"), message
    assert hasattr(pipeline_options.PipelineOptions, "_add_argparse_args"), message
    assert runners.unknown_flags(["--runner=DirectRunner", "--direct_num_workers=2"]) == [], message
    assert runners.unknown_flags(["--runer=DirectRunner"]) == ["--runer=DirectRunner"], message


def test_a_flag_that_beam_does_not_know_is_refused():
    with pytest.raises(InputError, match="--sourc=x: neither an option of this command nor of Beam; see --help"):
        runners.parse_options(["--sourc=x"])


def test_ready_options_are_returned_as_they_are():
    options = pipeline_options.PipelineOptions(["--runner=DirectRunner"])
    assert runners.parse_options(options) is options


def test_dataflow_needs_places_that_its_workers_reach(tmp_path):
    runners.check_reach("PrismRunner", {"images": tmp_path})
    runners.check_reach("DataflowRunner", {"images": files.at("gs://bucket/x")})
    with pytest.raises(InputError, match="the images must be at gs://, where DataflowRunner's workers can reach it"):
        runners.check_reach("DataflowRunner", {"images": tmp_path})


def test_a_job_server_that_is_not_there_is_named_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"
        runners.check_job_server(pipeline_options.PipelineOptions([f"--job_endpoint={endpoint}"]))
    for other in ([], ["--job_endpoint=embed"]):
        runners.check_job_server(pipeline_options.PipelineOptions(other))
    with pytest.raises(
        InputError, match=rf"^--job_endpoint {endpoint}: no job server answers \(Connection refused\); start it, or"
    ):
        runners.check_job_server(pipeline_options.PipelineOptions([f"--job_endpoint={endpoint}"]))


class Running:
    """The result of a job that Ctrl-C interrupts."""

    state, cancelled = "RUNNING", 0

    def __init__(self, failure=None):
        self._failure = failure

    def run(self):
        return self

    def wait_until_finish(self):
        raise KeyboardInterrupt

    def cancel(self):
        self.cancelled += 1
        if self._failure:
            raise self._failure


def test_a_stopped_command_cancels_its_job_on_a_cluster_only():
    job = Running()
    with pytest.raises(KeyboardInterrupt) as stopped:
        runners.run(job, "PortableRunner")
    assert job.cancelled == 1
    asked = "PortableRunner was asked to cancel the job; if the cluster still runs it, cancel it there"
    assert stopped.value.__notes__ == [asked]
    with pytest.raises(KeyboardInterrupt):
        runners.run(job)
    assert job.cancelled == 1


def test_a_job_that_cannot_be_cancelled_is_named():
    with pytest.raises(KeyboardInterrupt) as stopped:
        runners.run(Running(RuntimeError("connection lost")), "FlinkRunner")
    expected = "the job on FlinkRunner could not be cancelled (connection lost); cancel it there"
    assert stopped.value.__notes__ == [expected]


def test_beam_is_imported_without_pandas_which_can_be_imported_afterwards():
    code = """
import gc, sys
from pipeline.write import runners
with runners.importing_beam():
    pass
assert "apache_beam.runners.portability.fn_api_runner" in sys.modules
assert "pandas" not in sys.modules, "Beam imports pandas: half a second and 45 MB more"
assert gc.isenabled()
import pandas
with runners.importing_beam():
    pass
assert sys.modules["pandas"] is pandas
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_runner_is_refused():
    options = pipeline_options.PipelineOptions([])
    with pytest.raises(InputError, match="NoSuchRunner"), runners.pipeline_on("NoSuchRunner", options):
        pass


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            "x\nRuntimeError: OSError: [Errno 28] x: the disk is full [while running 'y']\n",
            JobError,
            "x: the disk is full",
        ),
        ("a\nStorageError: gs://b/c: the store failed [while running 'y']", StorageError, "gs://b/c: the store failed"),
        (
            "page\njava.lang.IllegalStateException: lost\nmore",
            JobError,
            r"the Beam job failed on FlinkRunner \(java.lang.IllegalStateException: lost\); see the runner's log. Run",
        ),
    ],
)
def test_errors_of_a_job_are_reduced_to_their_line(text, kind, message):
    with pytest.raises(kind, match=message), runners._plain_errors("FlinkRunner"):
        raise RuntimeError(text)


def test_a_defect_on_this_machine_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), runners._plain_errors(object()):
        raise ZeroDivisionError


class Job:
    """A pipeline, and the result of its run, in any state."""

    def __init__(self, state, *, refused="", failed=""):
        self.state, self.refused, self.failed = state, refused, failed

    def run(self):
        if self.refused:
            raise RuntimeError(self.refused)
        return self

    def wait_until_finish(self):
        if self.failed:
            raise RuntimeError(self.failed)
        return self.state


def test_a_job_that_did_not_end_well_is_an_error():
    message = "the Beam job ended in state CANCELLED; see the runner's log"
    with pytest.raises(JobError, match=message) as caught:
        runners.run(Job("CANCELLED"), "FlinkRunner")
    assert not isinstance(caught.value, EndedJobError)  # somebody wanted that


def test_a_job_that_failed_and_has_ended_is_known_as_such():
    with pytest.raises(EndedJobError, match=r"failed on FlinkRunner \(OSError: lost\); .* Run the same command again"):
        runners.run(Job("FAILED", failed="a page\nOSError: lost"), "FlinkRunner")
    with pytest.raises(JobError) as caught:  # the connection was lost: it may still run
        runners.run(Job("RUNNING", failed="a page\nOSError: lost"), "FlinkRunner")
    assert not isinstance(caught.value, EndedJobError)


def test_what_fails_before_a_job_runs_is_not_to_be_tried_again():
    message = r"DataflowRunner did not accept the job \(OSError: no bucket\); check the options of the runner, and that"
    with pytest.raises(InputError, match=message) as caught, runners.pipeline_on("DirectRunner", None):
        runners.run(Job("", refused="a page\nOSError: no bucket"), "DataflowRunner")
    assert "again" not in str(caught.value)


def test_options_that_do_not_fit_are_told_on_one_line():
    options = pipeline_options.PipelineOptions(["--project=", "--region=r", "--temp_location=gs://b/t"])
    with pytest.raises(InputError) as caught, runners.pipeline_on("DataflowRunner", options):
        pass
    assert "\n" not in str(caught.value)
    assert "again" not in str(caught.value)


@pytest.mark.parametrize(
    ("runner", "flags", "expected"),
    [
        ("DataflowRunner", ["--machine_type=n1-standard-4"], 6),
        ("DataflowRunner", ["--machine_type=e2-highmem-16"], 2),
        ("DataflowRunner", [], 21),
        ("DataflowRunner", ["--machine_type=n1-standard-4", "--num_workers=9"], 9),
        ("DataflowRunner", ["--machine_type=n1-standard-4", "--max_num_workers=3"], 3),
        ("FlinkRunner", [], None),
    ],
)
def test_dataflow_gets_no_more_workers_than_21_tasks_can_occupy(runner, flags, expected):
    options = pipeline_options.PipelineOptions(flags)
    runners.limit_workers(runner, options, 21)
    assert options.view_as(pipeline_options.WorkerOptions).max_num_workers == expected
