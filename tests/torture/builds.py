"""Builds in forked processes, and what they leave behind.

Interpreters would spend seconds on importing Beam; a process that has imported everything, and has started no thread,
is forked instead.
"""

import dataclasses
import importlib
import os
import pickle
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline import job
from pipeline.config import BuildConfig
from pipeline.dataset import crashes
from pipeline.dataset.verify import verify
from pipeline.errors import InputError, JobError
from pipeline.images import reading
from pipeline.write import runners, tasks
from tests.support.sources import Source, config_for, digests, draw_source
from tests.torture.faults import CHANGES, NONE, READS, Fault, Injector

SIZE = 16
NUM = 24
NUM_MORE = 3
HANG_SECONDS = 120.0
TARGET = Path("hpa_stacked") / str(SIZE) / "1.1.0"

OPERATIONS = {"changes": CHANGES, "reads": READS}

MODULES = (
    "apache_beam.runners.portability.fn_api_runner",
    "cv2",
    "highspy",
    "pipeline.write.transforms",
    "simplejpeg",
    "tensorflow_datasets.core.dataset_info",
    "tensorflow_datasets.core.naming",
    "tensorflow_datasets.core.splits",
    "tifffile",
)
"""What a build imports when it needs it."""

EXPECTED = (InputError, JobError, OSError)
"""Errors that a command shows as one line."""


def import_everything(names: Sequence[str] = MODULES) -> None:
    """Imports what a build imports on the way."""
    for name in names:
        importlib.import_module(name)


@dataclasses.dataclass
class Outcome:
    """How a process ended: `result` or `error`, neither if it was killed. `hit` is the operation with the fault."""

    result: Any = None
    error: BaseException | None = None
    traceback: str = ""
    hit: str = ""
    count: int = 0
    signal: int = 0
    hung: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether it ended as it should: well, killed on purpose, or with an error that is one line."""
        if self.hung:
            return False
        return self.error is None or isinstance(self.error, EXPECTED)


class Child:
    """A forked process that runs `function(hit)`; `hit(label)` tells the parent what is about to happen."""

    def __init__(self, function: Callable[[Callable[[str], None]], Any]) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            _run(function, write)
        os.close(write)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = HANG_SECONDS) -> Outcome:
        """Returns how the process ended; one that runs for longer is killed."""
        deadline, data = time.monotonic() + seconds, b""
        outcome = Outcome()
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], min(left, 1e6))[0]:
                outcome.hung = True
                self.kill()
                break
            block = os.read(self._read, 1 << 16)
            if not block:
                break
            data += block
        _, status = os.waitpid(self.pid, 0)
        os.close(self._read)
        outcome.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        for line in data.splitlines():
            name, _, value = line.partition(b" ")
            if len(value) % 2 == 0:  # a killed process may have written half a line
                setattr(outcome, name.decode(), pickle.loads(bytes.fromhex(value.decode())))
        return outcome


def _run(function: Callable, pipe: int) -> None:
    """Runs `function` in this forked process, and ends the process."""

    def tell(**values: Any) -> None:
        for name, value in values.items():
            os.write(pipe, f"{name} {pickle.dumps(value).hex()}\n".encode())

    null = os.open(os.devnull, os.O_RDWR)
    if not os.environ.get("TORTURE_SHOW"):
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
    try:
        tell(result=function(lambda label: tell(hit=label)))
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        try:
            tell(error=error, traceback=text)
        except Exception:
            tell(error=RuntimeError(repr(error)), traceback=text)
    finally:
        sys.stdout.flush()
        os._exit(0)


def start_build(
    config: BuildConfig, fault: Fault = NONE, *, beam: bool = False, prepare: Callable[[], None] = lambda: None
) -> Child:
    """Starts a build with a fault in it; without `beam`, its DoFns are called in a loop, which is three times faster."""

    def run(hit: Callable[[str], None]) -> str:
        reading.WAITS = (0.0, 0.0, 0.0)
        crashes._problem = lambda *args: None  # has tests of its own, and takes a second
        if not beam:
            job.write_shards = _write_shards
        prepare()
        roots = [Path(str(place)) for place in (config.data_dir, config.images, config.labels)]
        injector = Injector(fault, roots, hit)
        if fault is not NONE:
            injector.install()
        result = job.build(config)
        if fault.action == "none":
            hit(f"count {injector.count}")
        return "nothing to do" if result.up_to_date else "published"

    return Child(run)


def _write_shards(config, source, workspace, todo, options, crashing) -> list[str]:
    """Does what `job.write_shards` does, without a runner."""
    from pipeline.write.transforms import ReadTasks, StackAndWrite, WriteConfig

    with runners._plain_errors(object()):
        path, ranges = tasks.write(workspace, todo)
        write = WriteConfig(
            workspace, source.images, config.schema, config.size, config.threads, config.write, crashing
        )
        do = StackAndWrite(write)
        do.setup()
        for byte_range in ranges:
            for task in ReadTasks(path).process(byte_range):
                list(do.process(task))
        do.teardown()
    return []


@dataclasses.dataclass(frozen=True)
class World:
    """Two sources, of which the new one has more examples, the digests of their datasets, and a folder for cases.

    `digests` has those of "old"; of "new", built where nothing is; of "replaced", built where the old one is, whose
    split it keeps; and of "again", built once more where that one is.
    """

    root: Path
    old: Source
    new: Source
    digests: dict[str, dict[str, str]]
    num_operations: dict[str, int]

    def config(self, data_dir: Path, source: Source | None = None, **settings) -> BuildConfig:
        return config_for(source or self.new, data_dir, **{"shard_mib": 0.003, "threads": 1, **settings})

    def folder(self, name: str, *, old: bool) -> Path:
        """Returns a data directory, empty or with the old dataset."""
        path = self.root / "cases" / name
        shutil.rmtree(path, ignore_errors=True)
        if old:
            shutil.copytree(self.root / "old", path)
        else:
            path.mkdir(parents=True)
        return path


def make_world(root: Path) -> World:
    """Draws the sources and builds both datasets, undisturbed."""
    old = draw_source(root / "source-old", NUM, side=SIZE)
    new = draw_source(root / "source-new", NUM + NUM_MORE, side=SIZE, seed=1)
    world = World(root, old, new, {}, {})
    for name, source, copied in (
        ("old", old, None), ("new", new, None), ("replaced", new, "old"), ("again", new, "replaced")
    ):  # fmt: skip
        if copied:
            shutil.copytree(root / copied, root / name)
        outcome = start_build(world.config(root / name, source, overwrite=bool(copied)), beam=True).wait()
        assert outcome.result == "published", outcome.traceback
        world.digests[name] = digests(root / name / TARGET)
    for name in ("fresh", "replacing"):
        data_dir = world.folder("count", old=name == "replacing")
        for kind, operations in OPERATIONS.items():
            config = world.config(data_dir, overwrite=True)
            if name == "fresh":
                config = world.config(world.folder("count", old=False))
            outcome = start_build(config, Fault("none", at=-1, operations=operations)).wait()
            assert outcome.result == "published", outcome.traceback
            world.num_operations[f"{name} {kind}"] = int(outcome.hit.split()[1])
    shutil.rmtree(root / "cases")
    return world


BUILT = {False: {"new"}, True: {"replaced", "again"}}
"""What a build of the new source gives: where nothing was, and where the old dataset was."""


def name_of(world: World, found: dict[str, str]) -> str:
    """Returns which dataset has these digests, or what differs from all of them."""
    for name, expected in world.digests.items():
        if found == expected:
            return name
    known = {item for expected in world.digests.values() for item in expected.items()}
    altered = sorted(name for name, digest in found.items() if (name, digest) not in known)
    lacking = sorted(world.digests["new"].keys() - found.keys())
    return f"neither the old nor the new dataset: altered {altered[:4]}, missing {lacking[:4]}, or a mixture"


def state(world: World, data_dir: Path) -> str:
    """Returns which dataset is whole in `data_dir`, or "nothing"; anything else says what is wrong."""
    target = data_dir / TARGET
    if not target.exists():
        return "nothing"
    name = name_of(world, digests(target))
    if name not in world.digests:
        return name
    problems = verify(target)
    return f"verify of {name}: {problems[0]}" if problems else name


def leftovers(data_dir: Path) -> list[str]:
    """Returns what a finished build should not have left."""
    found = {path.name for path in (data_dir / TARGET).parent.iterdir()}
    extra = found - {"1.1.0", ".1.1.0.lock", ".1.1.0.listing"}
    config = data_dir / "hpa_stacked/.config/metadata.json"
    if not config.exists() or b'"16"' not in config.read_bytes():
        extra.add("no .config/metadata.json")
    return sorted(extra) + [str(path) for path in data_dir.rglob("16/**/.tmp-*")]
