"""Tasks: the shards to write, as lines of a file that workers read.

A job carries only byte ranges of this file, so it stays small whatever the number of examples (Dataflow refuses a job
of more than 10 MB).
"""

import dataclasses
import itertools
import json
import uuid
import zlib
from collections.abc import Iterable, Iterator

from pipeline.errors import JobError
from pipeline.plan.shards import ShardPlan
from pipeline.plan.table import Example
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.store.workspace import Workspace

MAX_RANGES = 256
"""Largest number of ranges in a job: enough to spread their reading over many workers."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One shard to write.

    `fingerprint` is that of its plan: a finished shard is reused only if it matches. `listed` is that of the listing of
    its source files (`Manifest.listed`): if it differs, a finished shard is reused only if their content is the same.
    """

    plan: ShardPlan
    fingerprint: str
    listed: str = ""

    @property
    def filename(self) -> str:
        return self.plan.filename


def write(workspace: Workspace, tasks: Iterable[Task]) -> tuple[Place, list[tuple[int, int]]]:
    """Writes the tasks of a run; returns their file and its ranges (start, end), in bytes.

    Each run has a file of its own: a worker that outlived an earlier run finds its file missing, and never reads lines
    of another run.
    """
    files.remove(workspace.tasks / name for name in files.listing(workspace.tasks))
    path = workspace.tasks / f"{uuid.uuid4().hex}.jsonl"
    offsets = [0]
    with files.replacing(path) as file:
        for task in tasks:
            offsets.append(offsets[-1] + file.write(_to_json(task).encode()))
    num = len(offsets) - 1
    count = min(num, MAX_RANGES)
    cuts = [k * num // count for k in range(count + 1)] if count else []
    return path, [(offsets[start], offsets[end]) for start, end in itertools.pairwise(cuts)]


def read(path: Place, start: int, end: int) -> Iterator[Task]:
    """Yields the tasks in one range of a file of tasks.

    Raises:
      JobError: the file is damaged.
    """
    for line in files.read_range(path, start, end).splitlines():
        yield _from_json(path, line)


def _to_json(task: Task) -> str:
    """Returns a line: the checksum of the rest, then split, index, shards, fingerprints and examples."""
    plan = task.plan
    examples = [[example.id, example.labels, *example.files] for example in plan.examples]
    head = [plan.split, plan.index, plan.num_shards, plan.file_format]
    text = json.dumps([head, task.fingerprint, task.listed, examples])
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _from_json(path: Place, line: bytes) -> Task:
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        raise JobError(f"{path}: a task does not match its checksum; run the same command again to continue")
    try:
        (split, index, num_shards, file_format), fingerprint, listed, rows = json.loads(text)
        examples = tuple(Example(example_id, tuple(labels), tuple(names)) for example_id, labels, *names in rows)
    except (RecursionError, TypeError, ValueError) as error:
        raise JobError(f"{path}: no file of tasks ({error!s:.100}); run the same command again to continue") from None
    return Task(ShardPlan(split, index, num_shards, examples, file_format), fingerprint, listed)
