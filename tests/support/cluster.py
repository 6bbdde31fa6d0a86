"""Engines on loopback: Prism, and what Flink and Spark need: workers in an environment without the repository.

`make test-cluster` puts what they need under `.cluster`.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ROOT = REPOSITORY / ".cluster"
WORKER_PYTHON = ROOT / "worker/bin/python"

# Since version 16, Java opens these packages to Flink 1.19 and Spark 3.5 only on request (Flink's own config.yaml; Spark's
# JavaModuleOptions).
OPENS = [
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang", "java.lang.invoke", "java.lang.reflect", "java.net", "java.io", "java.nio", "java.text",
            "java.time", "java.util", "java.util.concurrent", "java.util.concurrent.atomic",
            "java.util.concurrent.locks", "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar",
        )
    ),
]  # fmt: skip

POOL = "worker-pool.localhost"
"""The name of the worker pool, which each machine resolves to its own."""


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


@contextlib.contextmanager
def job_server(logs: Path, main: str, jars: Path, *arguments: str, java: Sequence[str] = ()) -> Iterator[int]:
    """Runs the job server of a Java runner; yields its port."""
    port = free_port()
    command = (
        "java", *OPENS, "-Xmx500m", *java, "-cp", jars / "*", main, "--job-host=127.0.0.1", f"--job-port={port}",
        "--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={logs / 'artifacts'}", *arguments,
    )  # fmt: skip
    with process(logs / "job-server.log", *command):
        wait_for("the job server", lambda: listens(port))
        yield port


class Pools:
    """Worker pools, one for each machine of a cluster, all with one name and port; `address` is where workers are asked for.

    A pool must not be shared: Flink's task managers and Spark's executors each number their workers from `1-1`, and a pool
    stops a worker by that name. On real machines `localhost:50000` is another pool on each; here the Java programs of each
    machine have a table of hosts.
    """

    def __init__(self, logs: Path, stack: contextlib.ExitStack, **environment: str):
        self._logs, self._stack, self._environment = logs, stack, environment
        self._num, self._port = 0, free_port()
        self.address = f"{POOL}:{self._port}"

    def add(self) -> str:
        """Starts the pool of one more machine, and returns the option of Java by which that machine finds it."""
        number, self._num = self._num, self._num + 1
        address, hosts = f"127.0.0.{number + 2}", self._logs / f"hosts-{number}"
        hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{address} {POOL}\n")
        pool = worker_pool(self._logs / f"pool-{number}", f"{address}:{self._port}", **self._environment)
        self._stack.enter_context(pool)
        return f"-Djdk.net.hosts.file={hosts}"


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
