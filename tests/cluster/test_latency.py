"""How fast images are read from a slow object store: `make test-cluster`, which prints a table."""

import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.images import sources
from pipeline.plan import shards, table
from pipeline.schema import HPA_KAGGLE_2018
from pipeline.store.workspace import DiskWorkspace
from pipeline.write import writer
from pipeline.write.tasks import Task
from tests.support.hpa import FILTERS
from tests.support.object_stores import running
from tests.support.sources import SHARED

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

TREE = SHARED / "tools" / "fullscale_tree.py"
NUM = 480


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    if not TREE.exists():
        pytest.skip(f"the script that makes large sources is not at {TREE}")
    out = tmp_path_factory.mktemp("tree")
    subprocess.run([sys.executable, TREE, out, "--num", str(NUM)], check=True, capture_output=True)
    return out


@pytest.fixture
def own_cores():
    """Pins this process to one core; yields a function that pins the store, otherwise another machine, to the rest."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        pytest.skip("needs two cores: the store must not share the worker's")

    def pin(pid, cores):
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), cores)

    pin(os.getpid(), {first})
    yield lambda pid: pin(pid, others)
    pin(os.getpid(), {first, *others})


def rate(source, images, out, threads=None) -> tuple[float, float]:
    """Writes two shards as a worker does; returns (examples a second, CPU milliseconds of it an example)."""
    examples = table.read_labels(source / "train.csv")
    images = sources.open_images(images)
    threads = threads or images.threads
    plans = shards.plan(examples, dict.fromkeys((e.id for e in examples), "train"), size=256, num_shards=2)
    start, cpu = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        for plan in plans:
            writer.write_shard(
                Task(plan, ""), workspace=DiskWorkspace(out), images=images, schema=HPA_KAGGLE_2018, size=256, pool=pool,
                look_ahead=min(4 * threads, threads + 32),
            )  # fmt: skip
    return NUM / (time.monotonic() - start), 1000 * (time.process_time() - cpu) / NUM


def test_at_100_ms_a_read_the_rate_is_within_twice_the_local_one(tree, tmp_path, own_cores):
    found: dict[str, list[tuple[float, float]]] = {}
    with running("gs", "--folder", f"bucket/train={tree / 'train'}") as store:
        own_cores(store.pid)
        rate(tree, tree / "train", tmp_path)
        for _ in range(3):  # interleaved, so that other load on the machine affects all of them
            found.setdefault("local folder", []).append(rate(tree, tree / "train", tmp_path))
            for latency in (0, 30, 100):
                store.tell(latency_ms=latency)
                found.setdefault(f"gs://, {latency} ms a read", []).append(rate(tree, store.root / "train", tmp_path))
    medians = {name: [statistics.median(values) for values in zip(*runs, strict=True)] for name, runs in found.items()}
    local = medians["local folder"][0]
    print(f"\n{NUM} examples, one core for the worker, the store on another, load {os.getloadavg()[0]:.1f}")
    print("| source | examples/s | of local | CPU ms/example |\n|---|---|---|---|")
    for name, (per_second, cpu) in medians.items():
        print(f"| {name} | {per_second:.0f} | {per_second / local:.0%} | {cpu:.1f} |")
    assert medians["gs://, 100 ms a read"][0] > local / 2


def test_reads_overlap_within_an_example_and_between_threads(tree, tmp_path):
    """The baseline is measured in the same run: the images of ten examples, read one after another."""
    with running("gs", "--folder", f"bucket/train={tree / 'train'}", "--latency-ms", "100") as store:
        images = sources.open_images(store.root / "train")
        ids = [example.id for example in table.read_labels(tree / "train.csv")[:10]]
        start = time.monotonic()
        for example_id in ids:
            for name in FILTERS:
                images.read(f"{example_id}_{name}.png")
        serial = len(ids) / (time.monotonic() - start)
        two, _ = rate(tree, store.root / "train", tmp_path, threads=2)
        many, _ = rate(tree, store.root / "train", tmp_path)
    print(f"\nat 100 ms: serial {serial:.1f}, two threads {two:.1f}, {images.threads} threads {many:.1f} examples/s")
    # Two threads that read the filters one after another reach 2 * serial; all four at once, up to 8 * serial.
    assert two > 4 * serial
    assert many > 2 * two
