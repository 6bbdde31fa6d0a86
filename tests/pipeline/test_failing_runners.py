"""A cluster that reports a job as failed: the dataset is published only if all of it is proven."""

import re

import pytest

from pipeline import job
from pipeline.dataset import verify
from pipeline.errors import EndedJobError, JobError
from pipeline.job import build
from pipeline.write import writer
from pipeline.write.reports import report_name
from tests.support.sources import config_for, digests

REASON = r"the Beam job failed on .*Late \(java.lang.IllegalStateException: lost a task manager\)"


def failing(source, data_dir, runner, **settings):
    return config_for(source, data_dir, beam_args=[f"--runner=tests.support.failing_runners.{runner}"], **settings)


def test_a_job_that_fails_after_everything_was_written_is_published_with_a_warning(source, tmp_path):
    config = failing(source, tmp_path / "data", "Late")
    result = build(config)
    assert digests(result.path) == digests(build(config_for(source, tmp_path / "reference")).path)
    assert verify.verify(result.path) == []
    (warning,) = result.warnings
    assert warning == (
        "the Beam job failed on tests.support.failing_runners.Late (java.lang.IllegalStateException: lost a task "
        "manager); see the runner's log. All shards had been written and were read again, so the dataset is whole and "
        "was published"
    )
    assert f"  WARNING: {warning}\n" in job.summary(config, result)
    assert build(config).up_to_date


class OtherImages:
    """The images, of which every blue one has been replaced by the green one."""

    def __init__(self, images):
        self._images = images

    def __getattr__(self, name):
        return getattr(self._images, name)

    def together(self, names, *args):
        return OtherImages(self._images.together(names, *args))

    def read(self, name, *args):
        return self._images.read(name.replace("_blue", "_green"), *args)


def replace_shard(task, **settings):
    """Begins a shard of test again when the images have changed, and is stopped before the report on it."""
    report = writer.write_shard(task, **settings)
    if task.plan.split == "test":
        path = settings["workspace"].reports / report_name(task.filename)
        before = path.read_bytes()
        writer.write_shard(task, **settings | {"images": OtherImages(settings["images"])})
        path.write_bytes(before)
    return report


def report_nothing(task, **settings):
    """Is stopped between a shard of dev and its report."""
    report = writer.write_shard(task, **settings)
    if task.plan.split == "dev":
        (settings["workspace"].reports / report_name(task.filename)).unlink()
    return report


@pytest.mark.parametrize(
    ("write", "cause"),
    [
        (replace_shard, r"hpa_stacked-test\.tfrecord-.*: the content is not what its writer reported"),
        (report_nothing, r"hpa_stacked-dev\.tfrecord-.* was never written"),
    ],
)
def test_a_job_that_fails_and_left_anything_unproven_publishes_nothing(source, tmp_path, write, cause):
    with pytest.raises(EndedJobError, match=REASON + ".*Run the same command again to continue") as caught:
        build(failing(source, tmp_path / "data", "Late", write=write))
    assert re.search(cause, str(caught.value.__cause__))
    assert not list(tmp_path.glob("data/hpa_stacked/*/1.1.0"))
    result = build(config_for(source, tmp_path / "data"))
    assert 0 < result.num_shards_resumed < result.num_shards
    assert digests(result.path) == digests(build(config_for(source, tmp_path / "reference")).path)


@pytest.mark.parametrize("runner", ["Early", "Lost"])
def test_a_job_that_fails_before_the_end_or_whose_end_is_not_seen_publishes_nothing(source, tmp_path, runner):
    with pytest.raises(JobError, match="Run the same command again to continue with the missing shards"):
        build(failing(source, tmp_path / "data", runner))
    assert not list(tmp_path.glob("data/hpa_stacked/*/1.1.0"))


def leave_temporary(task, **settings):
    """Leaves behind what a first attempt had written when it was killed."""
    (settings["workspace"].shards / f".tmp-0-{task.filename}").write_bytes(b"half")
    return writer.write_shard(task, **settings)


def test_what_a_killed_worker_left_is_not_published(source, tmp_path):
    result = build(config_for(source, tmp_path / "data", write=leave_temporary))
    assert digests(result.path) == digests(build(config_for(source, tmp_path / "reference")).path)
