"""A Flink cluster on loopback."""

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support import cluster

CONFIG = """\
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


class Flink:
    """A job manager and task managers, each a process with a worker pool of its own; `options` send a job there."""

    def __init__(self, logs: Path, stack: contextlib.ExitStack, **environment: str):
        self._logs, self._stack = logs, stack
        self._pools, self.task_managers = cluster.Pools(logs, stack, **environment), []
        self._rest = cluster.free_port()
        (logs / "conf").mkdir(parents=True)
        (logs / "tmp").mkdir()
        text = CONFIG.format(rpc=cluster.free_port(), rest=self._rest, tmp=logs / "tmp")
        (logs / "conf/config.yaml").write_text(text)
        self._java("jobmanager", "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint")
        for _ in range(2):
            self.add_task_manager()
        port = stack.enter_context(
            cluster.job_server(
                logs, "org.apache.beam.runners.flink.FlinkJobServerDriver", cluster.ROOT / "flink-job-server",
                f"--flink-master=127.0.0.1:{self._rest}",
            )
        )  # fmt: skip
        self.options = [*cluster.options(port, self._pools.address), "--parallelism=2"]

    def add_task_manager(self) -> None:
        name, main = f"taskmanager-{len(self.task_managers)}", "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        self.task_managers.append(self._java(name, main, self._pools.add()))
        cluster.wait_for(
            "the task manager", lambda: self.num_alive() == sum(t.poll() is None for t in self.task_managers)
        )

    def num_alive(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._rest}/taskmanagers", timeout=2) as answer:
            return len(json.load(answer)["taskmanagers"])

    def job_states(self) -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._rest}/jobs", timeout=2) as answer:
            return [job["status"] for job in json.load(answer)["jobs"]]

    def _java(self, name: str, main: str, *settings: str) -> subprocess.Popen:
        command = ("java", *cluster.OPENS, "-Xmx512m", *settings, "-cp", cluster.ROOT / "flink/lib/*", main)
        started = cluster.process(self._logs / f"{name}.log", *command, "--configDir", self._logs / "conf")
        return self._stack.enter_context(started)


@contextlib.contextmanager
def flink(logs: Path, **environment: str) -> Iterator[Flink]:
    with contextlib.ExitStack() as stack:
        yield Flink(logs, stack, **environment)
