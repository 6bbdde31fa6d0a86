"""The job as Dataflow receives and runs it, without the cloud: `make test-cluster`.

The job is submitted to a stub of the service on loopback and staged in another program's Google Cloud Storage.
The stub then does what the service does: it installs the staged package, alone, runs the staged graph with it,
and reports the job as done.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.errors import EXIT_FAILED
from tests.cluster.test_cluster import _ready, fake_gcs_server  # noqa: F401
from tests.support import cluster
from tests.support.sources import digests

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

REQUEST_LIMIT = 10 * 2**20
"""Dataflow's limit on the JSON of a job, in bytes (https://cloud.google.com/dataflow/quotas)."""


def download(environment, url, path):
    bucket, _, name = url.removeprefix("gs://").removeprefix("storage.googleapis.com/").partition("/")
    address = f"{environment['STORAGE_EMULATOR_HOST']}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}"
    urllib.request.urlretrieve(f"{address}?alt=media", path)
    return path


class Service:
    """A stub of the Dataflow service that runs one job."""

    def __init__(self, folder, environment, run=True):
        self.folder, self.environment, self.run = folder, environment, run
        self.job, self.state, self.log, self.size = None, "JOB_STATE_RUNNING", "", 0

    def create(self, body):
        self.size, self.job = len(body), json.loads(body)
        threading.Thread(target=self.work, daemon=True).start()
        return self.describe()

    def describe(self):
        return {"id": "job-1", "name": self.job["name"], "projectId": "p", "location": "r", "currentState": self.state}

    def work(self):
        try:
            if self.run:
                self.log = self.run_staged()
            self.state = "JOB_STATE_DONE"
        except subprocess.CalledProcessError as error:
            self.log, self.state = error.stdout + error.stderr, "JOB_STATE_FAILED"

    def packages(self):
        return {
            package["name"]: package["location"] for package in self.job["environment"]["workerPools"][0]["packages"]
        }

    def pipeline_file(self):
        options = self.job["environment"]["sdkPipelineOptions"]
        return download(self.environment, options["options"]["pipelineUrl"], self.folder / "pipeline.pb")

    def run_staged(self):
        package = download(self.environment, self.packages()["workflow.tar.gz"], self.folder / "workflow.tar.gz")
        site = self.folder / "site"
        install = [cluster.WORKER_PYTHON, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
        settings = {"check": True, "capture_output": True, "text": True, "cwd": "/"}
        subprocess.run([*install, "--target", site, package], **settings, env=cluster.worker_environment())
        worker = cluster.worker_environment(**self.environment, PYTHONPATH=str(site))
        run = [cluster.WORKER_PYTHON, cluster.HERE / "run_staged.py", self.pipeline_file()]
        return subprocess.run(run, **settings, env=worker).stdout


@contextlib.contextmanager
def dataflow(service):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.answer(service.create(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self):
            kinds = {"messages": {"jobMessages": []}, "metrics": {"metrics": []}}
            self.answer(kinds.get(self.path.partition("?")[0].rpartition("/")[2]) or service.describe())

        def answer(self, content):
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def submit(service, *arguments):
    with dataflow(service) as endpoint:
        return cluster.build(
            "gs://hpa", "gs://hpa/data", "--num-shards", "8", "--runner=DataflowRunner", "--project=some-project",
            "--region=us-central1", "--temp_location=gs://hpa/tmp", f"--dataflow_endpoint={endpoint}", "--no_auth",
            "--machine_type=n1-standard-4", "--number_of_worker_harness_threads=1",
            f"--setup_file={cluster.REPOSITORY / 'setup.py'}",
            f"--requirements_file={cluster.REPOSITORY / 'worker-requirements.txt'}", "--requirements_cache=skip", *arguments, **service.environment,
        )  # fmt: skip


@pytest.fixture
def store(real_sample, tmp_path):
    shutil.copytree(real_sample, tmp_path / "buckets/hpa")
    with fake_gcs_server(tmp_path / "buckets", tmp_path / "logs") as environment:
        yield environment


def test_the_submitted_job_is_small_and_its_workers_write_the_same_bytes(store, real_sample, tmp_path):
    from apache_beam.portability.api import beam_runner_api_pb2

    assert cluster.build(real_sample, tmp_path / "direct", "--num-shards", "8").returncode == 0
    expected = digests(tmp_path / "direct/hpa_stacked/256/1.1.0")
    service = Service(tmp_path, store)
    done = submit(service)
    assert done.returncode == 0, done.stdout + done.stderr + service.log

    # The request is far below the limit; it holds the package and nothing pickled from the main program.
    assert service.size < REQUEST_LIMIT / 100
    # (Beam adds the list of the driver's installed packages, if the driver has pip.)
    staged = service.packages()
    assert set(staged) - {"submission_environment_dependencies.txt"} == {"workflow.tar.gz", "requirements.txt"}
    # The environment in which the stub runs the graph has what is named here.
    named = download(store, staged["requirements.txt"], tmp_path / "requirements.txt").read_text()
    assert named == (cluster.REPOSITORY / "worker-requirements.txt").read_text()
    pool = service.job["environment"]["workerPools"][0]
    assert pool["machineType"] == "n1-standard-4"
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 6  # 24 shards on 4 cores each
    options = service.job["environment"]["sdkPipelineOptions"]["options"]
    assert options["number_of_worker_harness_threads"] == 1
    assert options["save_main_session"] is False
    graph = beam_runner_api_pb2.Pipeline.FromString(service.pipeline_file().read_bytes())
    names = {transform.unique_name for transform in graph.components.transforms.values()}
    assert {"Plans", "ReadTasks", "SpreadOverWorkers", "StackAndWrite"} <= names
    assert graph.ByteSize() < 100_000
    (image,) = {pool["sdkHarnessContainerImages"][0]["containerImage"]}
    assert "beam_python3.11_sdk" in image

    # The workers wrote the same bytes.
    assert f"DONE with {tmp_path / 'site'}/pipeline/write/transforms.py" in service.log
    sums = download(store, "gs://hpa/data/hpa_stacked/256/1.1.0/SHA256SUMS", tmp_path / "sums").read_text()
    del expected["SHA256SUMS"]
    assert dict(line.split("  ")[::-1] for line in sums.splitlines()) == expected
    print(
        f"\nDataflow: a request of {service.size:,} bytes, a graph of {graph.ByteSize():,} bytes, staged "
        f"{sorted(service.packages())}, image {image}; SHA-256 of all shards as on DirectRunner"
    )


def test_a_job_that_ends_without_its_shards_publishes_nothing(store, tmp_path):
    done = submit(Service(tmp_path, store, run=False))
    assert done.returncode == EXIT_FAILED
    assert "was never written" in done.stderr
    assert "nothing was published" in done.stderr


def test_a_local_disk_is_refused(real_sample, tmp_path):
    done = cluster.build(
        real_sample,
        tmp_path / "data",
        "--runner=DataflowRunner",
        "--project=p",
        "--region=r",
        "--temp_location=gs://b/t",
    )
    assert done.returncode == 1
    assert "the images must be at gs://, where DataflowRunner's workers can reach it" in done.stderr


def test_the_staged_package_imports_without_the_rest_of_the_project(tmp_path):
    """The worker's module imports from the sdist of `--setup_file` alone, and does not import TensorFlow."""
    build = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(tmp_path / "dist")]
    subprocess.run(build, check=True, capture_output=True, cwd=cluster.REPOSITORY)
    (package,) = (tmp_path / "dist").iterdir()
    subprocess.run(["tar", "-xzf", package, "-C", tmp_path, "--strip-components", "1"], check=True)
    code = "import sys, pipeline.write.transforms as t; print(t.__file__, 'tensorflow' in sys.modules)"
    environment = cluster.worker_environment(PYTHONPATH=str(tmp_path))
    done = subprocess.run(
        [cluster.WORKER_PYTHON, "-c", code], check=True, capture_output=True, text=True, cwd="/", env=environment
    )
    assert done.stdout.split() == [f"{tmp_path}/pipeline/write/transforms.py", "False"]
    assert not os.path.exists(tmp_path / "tests/conftest.py")
