"""Engines on loopback: Prism, Flink, and workers in an environment without the repository.

`make test-cluster` puts what they need under `.cluster`.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ROOT = REPOSITORY / ".cluster"
WORKER_PYTHON = ROOT / "worker/bin/python"

# Since version 16, Java opens these packages to Flink 1.19 only on request (as in Flink's own config.yaml).
OPENS = [
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang", "java.lang.reflect", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.text", "java.time",
            "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks",
        )
    ),
]  # fmt: skip

POOL = "worker-pool.localhost"
"""The name of the worker pool, which each task manager resolves to its own."""

FLINK_CONFIG = """\
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: 127.0.0.1
jobmanager.memory.process.size: 1000m
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: 1
taskmanager.cpu.cores: 1
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.task.heap.size: 256m
taskmanager.memory.task.off-heap.size: 0m
taskmanager.memory.managed.size: 128m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
heartbeat.interval: 1000
heartbeat.timeout: 20000
io.tmp.dirs: {tmp}
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(what: str, ready: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            if ready():
                return
        time.sleep(0.3)
    pytest.fail(f"{what} was not ready after {seconds:.0f} s")


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


@contextlib.contextmanager
def process(log: Path, *command: object, **settings) -> Iterator[subprocess.Popen]:
    """Runs a program; kills it and its children when the block ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        started = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, **settings,
        )  # fmt: skip
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


def worker_environment(**more: str) -> dict[str, str]:
    """The worker's environment comes first on the path, and the repository is not on Python's."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "PATH": f"{WORKER_PYTHON.parent}:{os.environ['PATH']}", **more}


@contextlib.contextmanager
def worker_pool(logs: Path, address: str = "127.0.0.1:0", **environment: str) -> Iterator[int]:
    """Yields the port at which runners ask for Python workers."""
    log = logs / "workers.log"
    command = (WORKER_PYTHON, "-u", HERE / "worker_pool.py", address)
    with process(log, *command, cwd="/", env=worker_environment(**environment)):

        def port() -> int:
            return next((int(line) for line in log.read_text().splitlines() if line.isdigit()), 0)

        wait_for("the worker pool", port)
        yield port()


@contextlib.contextmanager
def prism(logs: Path, **environment: str) -> Iterator[list[str]]:
    """Yields the options that send a job to Prism."""
    port = free_port()
    with (
        worker_pool(logs, **environment) as workers,
        process(logs / "prism.log", ROOT / "bin/prism", "--job_port", port, "--serve_http=false"),
    ):
        wait_for("Prism", lambda: listens(port))
        yield options(port, f"127.0.0.1:{workers}")


def options(job_port: int, workers: str) -> list[str]:
    return [
        "--runner=PortableRunner",
        f"--job_endpoint=127.0.0.1:{job_port}",
        "--environment_type=EXTERNAL",
        f"--environment_config={workers}",
    ]


class Flink:
    """A job manager and task managers, each a process with a worker pool of its own; `options` send a job there.

    All pools have one name and port, as `localhost:50000` is another pool on each machine: every task manager has its
    own table of hosts. A shared pool would not do, because each task manager numbers its workers from `1-1`, and a pool
    stops a worker by that name.
    """

    def __init__(self, logs: Path, stack: contextlib.ExitStack, **environment: str):
        self._logs, self._stack, self._environment = logs, stack, environment
        self.task_managers, self._pool_port = [], free_port()
        self._rest, job_port = free_port(), free_port()
        (logs / "conf").mkdir(parents=True)
        (logs / "tmp").mkdir()
        text = FLINK_CONFIG.format(rpc=free_port(), rest=self._rest, tmp=logs / "tmp")
        (logs / "conf/config.yaml").write_text(text)
        self._java("jobmanager", "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint")
        for _ in range(2):
            self.add_task_manager()
        stack.enter_context(
            process(
                logs / "job-server.log", "java", "-Xmx400m", "-cp", ROOT / "job-server/*",
                "org.apache.beam.runners.flink.FlinkJobServerDriver", "--job-host=127.0.0.1",
                f"--job-port={job_port}", "--artifact-port=0", "--expansion-port=0",
                f"--flink-master=127.0.0.1:{self._rest}", f"--artifacts-dir={logs / 'artifacts'}",
            )
        )  # fmt: skip
        wait_for("Flink's job server", lambda: listens(job_port))
        self.options = [*options(job_port, f"{POOL}:{self._pool_port}"), "--parallelism=2"]

    def add_task_manager(self) -> None:
        number = len(self.task_managers)
        address, hosts = f"127.0.0.{number + 2}", self._logs / f"hosts-{number}"
        hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{address} {POOL}\n")
        pool = worker_pool(self._logs / f"pool-{number}", f"{address}:{self._pool_port}", **self._environment)
        self._stack.enter_context(pool)
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        started = self._java(f"taskmanager-{number}", main, f"-Djdk.net.hosts.file={hosts}")
        self.task_managers.append(started)
        wait_for("the task manager", lambda: self.num_alive() == sum(t.poll() is None for t in self.task_managers))

    def num_alive(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._rest}/taskmanagers", timeout=2) as answer:
            return len(json.load(answer)["taskmanagers"])

    def _java(self, name: str, main: str, *settings: str) -> subprocess.Popen:
        command = (
            "java", *OPENS, "-Xmx512m", *settings, "-cp", ROOT / "flink/lib/*", main, "--configDir", self._logs / "conf"
        )  # fmt: skip
        return self._stack.enter_context(process(self._logs / f"{name}.log", *command))


@contextlib.contextmanager
def flink(logs: Path, **environment: str) -> Iterator[Flink]:
    with contextlib.ExitStack() as stack:
        yield Flink(logs, stack, **environment)


def build(source: object, data_dir: object, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs `python -m pipeline shards` to its end."""
    return subprocess.run(
        command(source, data_dir, *arguments), capture_output=True, text=True, env=os.environ | environment
    )


def command(source: object, data_dir: object, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pipeline",
        "shards",
        "--source",
        str(source),
        "--data-dir",
        str(data_dir),
        *arguments,
    ]
