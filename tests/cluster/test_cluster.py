"""The same job on other engines gives the same bytes: `make test-cluster`."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from pipeline.errors import EXIT_FAILED, EXIT_STOPPED
from pipeline.write import runners
from tests.support import cluster, flink, spark
from tests.support.sources import SHARED, digests

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

TREE = SHARED / "tools" / "fullscale_tree.py"


@pytest.fixture(scope="module", autouse=True)
def _ready():
    if not (cluster.ROOT / ".ready").exists():
        pytest.skip("the engines are not installed: run make test-cluster")


@pytest.fixture(scope="module", params=["real", "2000"])
def sources(request, real_sample, tmp_path_factory):
    """(folder, options of the build, digests that DirectRunner gives)."""
    if request.param == "real":
        source, options = real_sample, ("--num-shards", "8")
    else:
        source, options = tmp_path_factory.mktemp("tree"), ("--num-shards", "20")
        subprocess.run([sys.executable, TREE, source, "--num", "2000"], check=True, capture_output=True)
    data_dir = tmp_path_factory.mktemp("direct")
    assert cluster.build(source, data_dir, *options).returncode == 0
    return source, options, digests(data_dir / "hpa_stacked/256/1.1.0")


def compare(name, done, path, expected):
    assert done.returncode == 0, done.stdout + done.stderr
    found = digests(path)
    shards = [file for file in found if ".tfrecord-" in file]
    assert found == expected
    (counts,) = [line.strip() for line in done.stdout.splitlines() if "examples in" in line]
    print(f"\n{name}: {counts}; SHA-256 of all {len(shards)} shards as on DirectRunner")


def test_prism_gives_the_same_bytes(sources, tmp_path):
    source, options, expected = sources
    with cluster.prism(tmp_path / "logs") as runner:
        done = cluster.build(source, tmp_path / "data", *options, *runner)
    compare("Prism", done, tmp_path / "data/hpa_stacked/256/1.1.0", expected)


def test_flink_gives_the_same_bytes(sources, tmp_path):
    source, options, expected = sources
    with flink.flink(tmp_path / "logs") as running:
        done = cluster.build(source, tmp_path / "data", *options, *running.options)
    compare("Flink, two task managers", done, tmp_path / "data/hpa_stacked/256/1.1.0", expected)


def test_spark_gives_the_same_bytes(sources, tmp_path):
    source, options, expected = sources
    with spark.spark(tmp_path / "logs") as runner:
        done = cluster.build(source, tmp_path / "data", *options, *runner)
    compare("Spark, two workers", done, tmp_path / "data/hpa_stacked/256/1.1.0", expected)


def started(command: list[str], reports: Path, num: int) -> subprocess.Popen[str]:
    """Starts a build, and returns it when it has written so many shards."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(list(reports.glob("[!.]*.json"))) < num:
        assert process.poll() is None, f"ended before it had written {num} shards"
        time.sleep(0.02)
    return process


def test_finished_shards_survive_a_killed_task_manager(sources, tmp_path):
    source, options, expected = sources
    reports = tmp_path / "data/hpa_stacked/256/.1.1.0.building/reports"
    with flink.flink(tmp_path / "logs") as running:
        command = cluster.command(source, tmp_path / "data", *options, *running.options)
        process = started(command, reports, 4)
        os.killpg(running.task_managers[0].pid, signal.SIGKILL)
        running.task_managers[0].wait()
        finished = len(list(reports.glob("[!.]*.json")))
        output, errors = process.communicate(timeout=600)
        outcome = "recovered" if process.returncode == 0 else errors.splitlines()[-1]
        print(f"\ntask manager killed after {finished} shards: {outcome}")
        if process.returncode:
            assert process.returncode == EXIT_FAILED
            assert "Traceback" not in errors
            assert runners.AGAIN in errors
            assert not (tmp_path / "data/hpa_stacked/256/1.1.0").exists()
            cluster.wait_for("the loss to be noticed", lambda: running.num_alive() == 1)
            running.add_task_manager()
            done = cluster.build(source, tmp_path / "data", *options, *running.options)
            assert "of them from an earlier run" in done.stdout, done.stdout + done.stderr
        else:
            done = subprocess.CompletedProcess(command, 0, output, errors)
    compare("Flink, after the loss", done, tmp_path / "data/hpa_stacked/256/1.1.0", expected)


def test_after_ctrl_c_the_same_command_finishes_although_flink_goes_on(sources, tmp_path):
    """Beam's job server does not cancel Flink's job, so the second one meets what the first still writes."""
    source, options, expected = sources
    reports = tmp_path / "data/hpa_stacked/256/.1.1.0.building/reports"
    with flink.flink(tmp_path / "logs") as running:
        process = started(cluster.command(source, tmp_path / "data", *options, *running.options), reports, 2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == EXIT_STOPPED
        message = errors.splitlines()[-1]
        assert "Error: stopped; PortableRunner was asked to cancel the job" in message
        done = cluster.build(source, tmp_path / "data", *options, *running.options)
        print(f"\n{message}\nthen in Flink: {running.job_states()}")
        assert "of them from an earlier run" in done.stdout, done.stdout + done.stderr
    compare("Flink, after Ctrl-C", done, tmp_path / "data/hpa_stacked/256/1.1.0", expected)


def test_flink_jobs_in_a_row_beside_busy_loops(real_sample, tmp_path):
    """FLINK_RUNS=20 make test-cluster: so many jobs, one after another, on a cluster whose processors are taken."""
    direct = tmp_path / "direct"
    assert cluster.build(real_sample, direct, "--num-shards", "8").returncode == 0
    expected, outcomes = digests(direct / "hpa_stacked/256/1.1.0"), []
    with contextlib.ExitStack() as stack:
        for number in range(os.cpu_count()):
            stack.enter_context(
                cluster.process(tmp_path / f"busy-{number}.log", sys.executable, "-c", "while True: pass")
            )
        running = stack.enter_context(flink.flink(tmp_path / "logs"))
        for number in range(int(os.environ.get("FLINK_RUNS", "3"))):
            data_dir, start = tmp_path / f"data-{number}", time.monotonic()
            done = cluster.build(real_sample, data_dir, "--num-shards", "8", *running.options)
            failed = done.returncode or "WARNING" in done.stdout
            outcomes.append(
                done.stdout + done.stderr if failed else digests(data_dir / "hpa_stacked/256/1.1.0") == expected
            )
            print(f"\nFlink job {number + 1}, {time.monotonic() - start:.0f} s: {outcomes[-1]}", end="")
    assert outcomes == [True] * len(outcomes)


@contextlib.contextmanager
def fake_gcs_server(folder: Path, logs: Path):
    """Runs fake-gcs-server; yields the environment variables that point to it."""
    port = cluster.free_port()
    command = [cluster.ROOT / "bin/fake-gcs-server", "-scheme", "http", "-host", "127.0.0.1", "-port", port,
               "-public-host", f"127.0.0.1:{port}", "-backend", "memory", "-data", folder]  # fmt: skip
    with cluster.process(logs / "gcs.log", *command):
        cluster.wait_for("fake-gcs-server", lambda: cluster.listens(port))
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "FSSPEC_GS_TOKEN": "anon"}


def test_prism_reads_and_writes_an_object_store(real_sample, tmp_path):
    """Source and dataset are in fake-gcs-server, and workers reach them only there."""
    shutil.copytree(real_sample, tmp_path / "buckets/hpa")
    options = ("--num-shards", "8")
    assert cluster.build(real_sample, tmp_path / "direct", *options).returncode == 0
    expected = digests(tmp_path / "direct/hpa_stacked/256/1.1.0")
    logs = tmp_path / "logs"
    with fake_gcs_server(tmp_path / "buckets", logs) as environment, cluster.prism(logs, **environment) as runner:
        done = cluster.build("gs://hpa", "gs://hpa/data", *options, *runner, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        target = "gs://hpa/data/hpa_stacked/256/1.1.0"
        intact = subprocess.run(
            [sys.executable, "-m", "pipeline", "verify", target],
            capture_output=True,
            text=True,
            env=os.environ | environment,
        )
        assert intact.stdout.startswith(f"{target}: intact\n"), intact.stderr
        address = (
            f"{environment['STORAGE_EMULATOR_HOST']}/storage/v1/b/hpa/o/data%2Fhpa_stacked%2F256%2F1.1.0%2FSHA256SUMS"
        )
        with urllib.request.urlopen(f"{address}?alt=media") as answer:
            sums = dict(line.split("  ")[::-1] for line in answer.read().decode().splitlines())
    del expected["SHA256SUMS"]
    assert sums == expected
    print(
        f"\nPrism, gs:// in and out: {json.dumps([line for line in done.stdout.splitlines() if 'examples in' in line])}"
    )
