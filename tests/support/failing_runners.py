"""Runners that report a job as failed, on this machine: `--runner=tests.support.failing_runners.Late`."""

from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState

MESSAGE = "many lines\njava.lang.IllegalStateException: lost a task manager"


class _Failed(PipelineResult):
    def wait_until_finish(self, duration=None):
        raise RuntimeError(MESSAGE)


class Late(PipelineRunner):
    """Does all of the work, and reports that the job failed."""

    state = PipelineState.FAILED

    def run_pipeline(self, pipeline, options):
        FnApiRunner().run_pipeline(pipeline, options).wait_until_finish()
        return _Failed(self.state)


class Lost(Late):
    """Does all of the work; the connection is lost before the job is seen to end."""

    state = PipelineState.RUNNING


class Early(PipelineRunner):
    """Does nothing, and reports that the job failed."""

    def run_pipeline(self, pipeline, options):
        return _Failed(PipelineState.FAILED)
