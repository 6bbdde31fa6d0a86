"""A standalone Spark cluster on loopback."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.support import cluster

HOME = cluster.ROOT / "spark"
NUM_WORKERS = 2


@contextlib.contextmanager
def spark(logs: Path, **environment: str) -> Iterator[list[str]]:
    """Runs a master and two workers, each with one core and a worker pool of its own; yields the options of a job."""
    port = cluster.free_port()
    with contextlib.ExitStack() as stack:
        pools = cluster.Pools(logs, stack, **environment)
        master = ("--host", "127.0.0.1", "--port", port, "--webui-port", 0)
        stack.enter_context(_java(logs / "master.log", "master.Master", *master))
        cluster.wait_for("Spark's master", lambda: cluster.listens(port))
        for number in range(NUM_WORKERS):
            log, found = logs / f"worker-{number}.log", pools.add()
            worker = ("--host", "127.0.0.1", "--webui-port", 0, "--cores", 1, "--memory", "700m")
            command = ("worker.Worker", *worker, "--work-dir", logs / f"work-{number}", f"spark://127.0.0.1:{port}")
            # A worker's executors, which ask for Python workers, inherit its environment.
            stack.enter_context(_java(log, *command, JAVA_TOOL_OPTIONS=found))
            cluster.wait_for("a worker of Spark", lambda log=log: "Successfully registered" in log.read_text())
        job_port = stack.enter_context(
            cluster.job_server(
                logs, "org.apache.beam.runners.spark.SparkJobServerDriver", HOME / "jars",
                f"--spark-master-url=spark://127.0.0.1:{port}", java=("-Dspark.executor.memory=512m",),
            )
        )  # fmt: skip
        yield cluster.options(job_port, pools.address)


def _java(log: Path, main: str, *arguments: object, **environment: str):
    command = ("java", *cluster.OPENS, "-Xmx300m", "-cp", HOME / "jars/*", f"org.apache.spark.deploy.{main}")
    # Without a release of Spark, its launcher must be told the version of Scala.
    settings = {"SPARK_HOME": str(HOME), "SPARK_SCALA_VERSION": "2.12", "SPARK_LOCAL_IP": "127.0.0.1", **environment}
    return cluster.process(log, *command, *arguments, env=os.environ | settings)
