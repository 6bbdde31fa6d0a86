"""Runs cases of every kind, spread over processes, and counts the outcomes."""

import contextlib
import dataclasses
import itertools
import random
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.object_stores import running
from tests.torture import builds, cases, stores
from tests.torture.builds import Child, World
from tests.torture.cases import Case, Kind

ENOUGH = 4000
"""Cases of a kind to choose from."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One case: its kind, its row in the long table, what was wrong ("" if nothing), and how long it took."""

    kind: str
    name: str
    row: str
    problem: str
    seconds: float


def choose(world: World, kinds: Iterable[Kind], num: int, seed: int) -> list[tuple[Kind, Case]]:
    """Returns so many cases of these kinds in the proportion of their shares; equal seeds give equal cases."""
    kinds = list(kinds)
    total, chosen = sum(kind.share for kind in kinds), []
    for kind in kinds:
        rng = random.Random(f"{seed} {kind.name}")
        found = list(itertools.islice(kind.cases(world, rng), ENOUGH))
        count = min(len(found), max(1, round(num * kind.share / total)))
        chosen += [(kind, case) for case in rng.sample(found, count)]
    random.Random(seed).shuffle(chosen)
    return chosen


def run(
    root: Path, *, num: int, seed: int = 0, jobs: int = 1, only: str | None = None, stores_too: bool = True
) -> list[Result]:
    """Injects about `num` faults into builds below `root`, and returns one result each."""
    builds.import_everything()
    kinds = [kind for kind in (*cases.KINDS, *(stores.KINDS if stores_too else ())) if (only or "") in kind.name]
    # Each process has stores of its own: faults are set for a whole store.
    workers = [
        Child(lambda hit, job=job: _work(root / f"job-{job}", kinds, num, seed, job, jobs)) for job in range(jobs)
    ]
    outcomes = [worker.wait(seconds=float("inf")) for worker in workers]
    for outcome in outcomes:
        if outcome.error or outcome.signal:
            raise RuntimeError(f"the torture test itself failed: {outcome.traceback or outcome.signal}")
    return [result for outcome in outcomes for result in outcome.result]


def _work(root: Path, kinds: list[Kind], num: int, seed: int, job: int, jobs: int) -> list[Result]:
    """Runs every `jobs`-th case."""
    world = builds.make_world(root)
    results = []
    with _stores(world, kinds):
        for kind, case in choose(world, kinds, num, seed)[job::jobs]:
            start = time.monotonic()
            row, problem = case.run(world, case.name)
            results.append(Result(kind.name, case.name, row, problem, time.monotonic() - start))
            if not problem:
                cases.remove(world, case.name)
    return results


@contextlib.contextmanager
def _stores(world: World, kinds: list[Kind]) -> Iterator[None]:
    if not any(kind in stores.KINDS for kind in kinds):
        yield
        return
    with running("gs") as google, running("s3") as amazon:
        stores.use({"gs": google, "s3": amazon})
        stores.put_old(world)
        yield


def table(results: list[Result]) -> str:
    """Returns the outcomes by kind as a table in Markdown."""
    lines = ["| fault | injected | survived | lost | seconds each |", "|---|---|---|---|---|"]
    kinds = list(dict.fromkeys(kind.name for kind in (*cases.KINDS, *stores.KINDS)))
    for name in [*kinds, "all"]:
        mine = [r for r in results if name in (r.kind, "all") and (r.row != cases.NOT_REACHED or r.problem)]
        if mine:
            lost = sum(bool(result.problem) for result in mine)
            seconds = sum(result.seconds for result in mine) / len(mine)
            lines.append(f"| {name} | {len(mine):,} | {len(mine) - lost:,} | {lost} | {seconds:.1f} |")
    return "\n".join(lines)


def remove(root: Path) -> None:
    """Removes the folder of a run."""
    shutil.rmtree(root, ignore_errors=True)
