"""Examples that crash the process that decodes them.

Input is checked before it is decoded, but decoders are third-party C code and can crash. Examples that an earlier run
was decoding when its process died (`write.in_work`) are therefore decoded once more, each in a separate process. Those
that crash that process too, or take longer than any image of their size can, are bad examples with the code
`decoder_crash`.
"""

import json
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.config import BuildConfig
from pipeline.images.limits import MAX_SIDE
from pipeline.plan.manifest import Manifest
from pipeline.plan.shards import ShardPlan
from pipeline.plan.table import Example
from pipeline.schema import SPLITS
from pipeline.store import files
from pipeline.store.workspace import Workspace, open_workspace
from pipeline.threads import num_cores
from pipeline.write import in_work
from pipeline.write.reports import BadImageRow
from pipeline.write.tasks import Task

Rows = Mapping[str, tuple[BadImageRow, ...]]
"""Id -> why it cannot be decoded."""

_SUSPECTS = "suspects.json"
"""Ids to check in every run until the dataset is published: their files may be replaced at any time."""

START_SECONDS = 30.0
"""Time for the process to start on a busy machine."""

_SLOWEST = 1e6
"""Bytes of a file, or pixels, that the slowest decoder gets through in a second on a busy machine."""


def find(config: BuildConfig, source: Manifest, workspace: Workspace) -> Rows:
    """Returns the examples that crashed an earlier run and still crash a process, each with its row."""
    folder = workspace.work_folder
    if folder is None or not folder.is_dir():
        return {}
    suspects = in_work.left(folder).union(_read_suspects(folder))
    examples = [example for example in source.examples if example.id in suspects]
    problems: list[str | None] = [None] * len(examples)
    # Usually the build was just killed: then one process decodes all of them without a crash.
    if examples and _problem(config, source, examples):
        with ThreadPoolExecutor(num_cores()) as pool:
            problems = list(pool.map(lambda example: _problem(config, source, [example]), examples))
    rows = {e.id: (_row(source, e, problem),) for e, problem in zip(examples, problems, strict=True) if problem}
    _write_suspects(folder, rows)
    in_work.clear(folder)
    return rows


def _row(source: Manifest, example: Example, problem: str) -> BadImageRow:
    return BadImageRow(example.id, "+".join(source.schema.channel_names), "decoder_crash", problem)


def _read_suspects(folder: Path) -> list[str]:
    try:
        suspects = json.loads((folder / _SUSPECTS).read_text())
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    return [suspect for suspect in suspects if isinstance(suspect, str)] if isinstance(suspects, list) else []


def _write_suspects(folder: Path, ids: Iterable[str]) -> None:
    with files.replacing(folder / _SUSPECTS) as file:
        file.write(json.dumps(sorted(ids)).encode())


def seconds_for(source: Manifest, examples: Sequence[Example]) -> float:
    """Returns how long it may take to decode examples: by the sizes of their files, and of the largest images."""
    num_planes = len(examples) * sum(source.schema.num_planes(file) for file in source.schema.default_sources)
    num_bytes = sum(max(size, 0) for example in examples for size in source.file_bytes[example.id])
    return START_SECONDS + (num_bytes + num_planes * MAX_SIDE * MAX_SIDE) / _SLOWEST


def _problem(config: BuildConfig, source: Manifest, examples: Sequence[Example]) -> str | None:
    """Returns why a process that writes a shard of these examples does not exit by itself; `None` if it does."""
    task = Task(ShardPlan(SPLITS[0], 0, 1, tuple(examples)), "")
    call = pickle.dumps((config.write, task, source.images, config.schema, config.size))
    code = f"import sys; sys.path[:] = {sys.path!r}; from pipeline.dataset import crashes; crashes.write_one()"
    seconds = seconds_for(source, examples)
    try:
        done = subprocess.run([sys.executable, "-c", code], input=call, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"decoding it takes longer than {seconds:.0f} seconds"
    if done.returncode < 0:
        return f"decoding it ends the process ({signal.Signals(-done.returncode).name})"
    return None


def write_one() -> None:
    """Writes the shard whose task is on standard input into a temporary folder."""
    # From the pipe of the process that started this one, never from a file.
    call: tuple[Callable[..., Any], Task, Any, Any, int] = pickle.load(sys.stdin.buffer)
    write, task, images, schema, size = call
    with tempfile.TemporaryDirectory(prefix="hpa_stacked-") as folder, ThreadPoolExecutor(1) as pool:
        workspace = open_workspace(Path(folder) / "dataset")
        write(task, workspace=workspace, images=images, schema=schema, size=size, pool=pool, look_ahead=1)
