"""The cases of the torture test on a disk: one fault each, and what must be true after it."""

import dataclasses
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.dataset.verify import verify
from tests.torture.builds import BUILT, TARGET, Child, Outcome, World, leftovers, start_build, state
from tests.torture.faults import CHANGES, ERRORS, KILLS, NONE, READS, Fault, phase

NOT_REACHED = "not reached"
"""The row of a case in which the build ended before its fault was due."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One fault. `run(world, name)` returns (what it was, what was wrong after it or "")."""

    name: str
    run: Callable[[World, str], tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """Cases of one kind, and how many of 1,000 they are."""

    name: str
    share: int
    cases: Callable[[World, random.Random], Iterator[Case]]


def check(world: World, data_dir: Path, outcome: Outcome, *, old: bool, beam: bool = False) -> str:
    """Returns what is wrong after a fault, and after the next run; "" if nothing is."""
    if outcome.hung:
        return "hangs"
    if not outcome.is_clean:
        return f"no expected error: {outcome.traceback.strip()[-600:]}"
    found = state(world, data_dir)
    allowed = BUILT[old] | (set() if outcome.result else {"old"} if old else {"nothing"})
    if found not in allowed:
        return f"after {outcome.result or outcome.error or outcome.signal!r}: {found}, expected {sorted(allowed)}"
    return next_run(world, data_dir, old=old, beam=beam)


def next_run(world: World, data_dir: Path, *, old: bool, beam: bool = False, resplit: bool = False) -> str:
    """Returns what is wrong after a run without faults; "" if it ends with the new dataset alone.

    Where the old dataset was, examples keep their split.
    """
    published = (data_dir / TARGET).exists()
    outcome = start_build(world.config(data_dir, overwrite=published, resplit=resplit), beam=beam).wait()
    if "cannot be kept" in str(outcome.error) and not resplit:  # the message says how to go on
        return next_run(world, data_dir, old=False, beam=beam, resplit=True)
    if outcome.error:
        return f"the next run fails: {outcome.traceback.strip()[-600:]}"
    if (found := state(world, data_dir)) not in BUILT[old]:
        return f"after the next run: {found}, expected {sorted(BUILT[old])}"
    if extra := leftovers(data_dir):
        return f"the next run leaves {extra}"
    return ""


def _build_with(world: World, name: str, fault: Fault, *, old: bool) -> tuple[Outcome, Path]:
    data_dir = world.folder(name, old=old)
    return start_build(world.config(data_dir, overwrite=old), fault).wait(), data_dir


def _fault_case(kind: str, fault: Fault, row: Callable[[Outcome], str], *, old: bool) -> Case:
    name = f"{kind}-{fault.action}-{'lasting-' if fault.lasting else ''}{fault.at}-{'old' if old else 'fresh'}"

    def run(world: World, name: str) -> tuple[str, str]:
        outcome, data_dir = _build_with(world, name, fault, old=old)
        return row(outcome) if outcome.hit else NOT_REACHED, check(world, data_dir, outcome, old=old)

    return Case(name, run)


def kills(world: World, rng: random.Random) -> Iterator[Case]:
    """SIGKILL before, half-way through and after every file operation that changes something."""
    for old in (False, True):
        for at in range(world.num_operations[f"{'replacing' if old else 'fresh'} changes"]):
            for action, words in KILLS.items():

                def row(outcome: Outcome, words: str = words, old: bool = old) -> str:
                    return f"{words}: {phase(outcome.hit)}{', replacing' if old else ''}"

                yield _fault_case("kill", Fault(action, at), row, old=old)


def errors(world: World, rng: random.Random) -> Iterator[Case]:
    """Every file operation that changes something fails, once or from then on."""
    for old in (False, True):
        for at in range(world.num_operations[f"{'replacing' if old else 'fresh'} changes"]):
            for action in ERRORS:
                for lasting in (False, True):

                    def row(outcome: Outcome, action: str = action, lasting: bool = lasting, old: bool = old) -> str:
                        return f"{action} {'from then on' if lasting else 'once'}{', replacing' if old else ''}"

                    yield _fault_case("error", Fault(action, at, lasting), row, old=old)


def read_errors(world: World, rng: random.Random) -> Iterator[Case]:
    """Every reading operation fails, once or from then on: source files, listings, what was written."""
    for old in (False, True):
        for at in range(world.num_operations[f"{'replacing' if old else 'fresh'} reads"]):
            for lasting in (False, True):
                fault = Fault("EIO", at, lasting, READS)
                when = "from then on" if lasting else "once"
                yield _fault_case("read", fault, lambda outcome, when=when: f"EIO on reading, {when}", old=old)


def random_kills(world: World, rng: random.Random) -> Iterator[Case]:
    """SIGKILL at random times, on Beam's runner, with two threads."""
    for k in range(10_000):
        seconds, old = rng.random() * 0.6, k % 2 == 1

        def run(world: World, name: str, seconds: float = seconds, old: bool = old) -> tuple[str, str]:
            data_dir = world.folder(name, old=old)
            child = start_build(world.config(data_dir, overwrite=old, threads=2), beam=True)
            time.sleep(seconds)
            child.kill()
            outcome = child.wait()
            row = NOT_REACHED if outcome.result else f"SIGKILL at a random time{', replacing' if old else ''}"
            return row, check(world, data_dir, outcome, old=old, beam=True)

        yield Case(f"random-{k}", run)


def slow_disks(world: World, rng: random.Random) -> Iterator[Case]:
    """Operations that take up to 20 ms, and a kill; writes that take half of the bytes."""
    for k in range(10_000):
        old = k % 2 == 1
        if k % 3 == 2:
            fault = Fault("short", rng.randrange(100))
            yield _fault_case(f"short-{k}", fault, lambda outcome: "short writes", old=old)
            continue
        seconds, fault = rng.random() * 2, Fault("slow", operations=CHANGES + READS, seed=k)

        def run(
            world: World, name: str, seconds: float = seconds, fault: Fault = fault, old: bool = old
        ) -> tuple[str, str]:
            data_dir = world.folder(name, old=old)
            child = start_build(world.config(data_dir, overwrite=old), fault)
            time.sleep(seconds)
            child.kill()
            outcome = child.wait()
            return "slow disk and SIGKILL", check(world, data_dir, outcome, old=old)

        yield Case(f"slow-{k}", run)


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))] if data else data


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    if changed:
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


DAMAGES = {
    "truncated": _truncate,
    "flipped bit": _flip,
    "emptied": lambda data, rng: b"",
    "garbage": lambda data, rng: rng.randbytes(len(data) or 7),
    "zeroed block": lambda data, rng: bytes(min(512, len(data))) + data[512:],
    "bytes appended": lambda data, rng: data + rng.randbytes(9),
}

PARTS = ("shards", "reports", "tasks", "work", ".")


def damaged_builds(world: World, rng: random.Random) -> Iterator[Case]:
    """Files of a killed build are damaged, deleted or exchanged before it is resumed."""
    for k in range(10_000):
        part, damage = PARTS[k % len(PARTS)], [*DAMAGES, "deleted", "exchanged"][rng.randrange(len(DAMAGES) + 2)]
        old = part == "." or rng.random() < 0.3  # only a dataset that is replaced has a split to keep
        num, seed = world.num_operations[f"{'replacing' if old else 'fresh'} changes"], rng.randrange(1 << 30)
        at = rng.randrange(num // 4, num)

        def run(
            world: World, name: str, part: str = part, damage: str = damage, at: int = at, seed: int = seed,
            old: bool = old,
        ) -> tuple[str, str]:  # fmt: skip
            outcome, data_dir = _build_with(world, name, Fault("before", at), old=old)
            folder = (data_dir / TARGET).with_name(".1.1.0.building") / part
            damaged = _damage(folder, damage, random.Random(seed)) if folder.is_dir() else None
            row = f"{'split' if part == '.' else part} of a killed build {damage}" if damaged else NOT_REACHED
            return row, check(world, data_dir, outcome, old=old)

        yield Case(f"damaged-build-{k}", run)


def _damage(folder: Path, damage: str, rng: random.Random) -> Path | None:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if not paths:
        return None
    path = rng.choice(paths)
    if damage == "deleted":
        path.unlink()
    elif damage == "exchanged":
        other = rng.choice(paths)
        mine, others = path.read_bytes(), other.read_bytes()
        path.write_bytes(others)
        other.write_bytes(mine)
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes(), rng))
    return path


def damaged_datasets(world: World, rng: random.Random) -> Iterator[Case]:
    """A file of a published dataset is damaged: `verify` finds it, readers do not take it, --overwrite restores it."""
    for k in range(10_000):
        damage, seed = [*DAMAGES, "deleted", "exchanged"][k % (len(DAMAGES) + 2)], rng.randrange(1 << 30)

        def run(world: World, name: str, damage: str = damage, seed: int = seed) -> tuple[str, str]:
            row, data_dir = f"published file {damage}", world.folder(name, old=True)
            target = data_dir / TARGET
            _damage(target, damage, random.Random(seed))
            # Two files of equal content may have been exchanged, and a block of zeros zeroed.
            if state(world, data_dir) != "old" and not _is_found(target):
                return row, "verify finds nothing"
            return row, next_run(world, data_dir, old=True)

        yield Case(f"damaged-dataset-{k}", run)


def _is_found(target: Path) -> bool:
    try:
        return bool(verify(target))
    except ValueError:  # no SHA256SUMS
        return True


def together(world: World, rng: random.Random) -> Iterator[Case]:
    """Two and five builds at one place at once; sometimes one of them is killed."""
    for k in range(10_000):
        num, kill, seconds, old, beam = (2, 5)[k % 2], k % 4 >= 2, rng.random() * 0.4, k % 3 == 2, k % 8 == 0

        def run(
            world: World,
            name: str,
            num: int = num,
            kill: bool = kill,
            seconds: float = seconds,
            old: bool = old,
            beam: bool = beam,
        ) -> tuple[str, str]:
            row = f"{num} builds at once{', one killed' if kill else ''}{', replacing' if old else ''}"
            data_dir = world.folder(name, old=old)
            children = [start_build(world.config(data_dir, overwrite=old, threads=2), beam=beam) for _ in range(num)]
            if kill:
                time.sleep(seconds)
                children[0].kill()
            outcomes = [child.wait() for child in children]
            return row, _check_together(world, data_dir, outcomes, old=old, killed=kill)

        yield Case(f"together-{k}", run)


def _check_together(world: World, data_dir: Path, outcomes: list[Outcome], *, old: bool, killed: bool) -> str:
    for outcome in outcomes:
        if not outcome.is_clean:
            return f"no expected error: {outcome.traceback.strip()[-600:]}"
        if outcome.error and "another build is running there" not in str(outcome.error):
            return f"unexpected error: {outcome.error}"
    if not killed and not any(outcome.result for outcome in outcomes):
        return "none of the builds ended well"
    best = next((outcome for outcome in outcomes if outcome.result), outcomes[0])
    return check(world, data_dir, best, old=old)


def clocks(world: World, rng: random.Random) -> Iterator[Case]:
    """The clock of the machine jumps during a build; files carry times of the future or of 1970."""
    for k in range(10_000):
        jump, after, old = rng.choice([-1, 1]) * 10 ** rng.uniform(0, 9), rng.randrange(30), k % 2 == 1
        kill = rng.random() * 0.3 if k % 4 == 0 else None

        def run(
            world: World, name: str, jump: float = jump, after: int = after, old: bool = old, kill: float | None = kill
        ) -> tuple[str, str]:
            data_dir = world.folder(name, old=old)
            child = start_build(world.config(data_dir, overwrite=old), prepare=lambda: _jump(jump, after))
            if kill is not None:
                time.sleep(kill)
                child.kill()
            outcome = child.wait()
            for path in data_dir.rglob("*"):
                os.utime(path, (0, 0) if jump < 0 else (4e9, 4e9))
            return "clock jumps", check(world, data_dir, outcome, old=old)

        yield Case(f"clock-{k}", run)


def _jump(seconds: float, after: int) -> None:
    """Lets all clocks of this process jump at their next call after so many calls."""
    calls = 0
    for name in ("time", "monotonic", "perf_counter", "clock_gettime"):
        real = getattr(time, name)

        def patched(*clock: int, real: Callable = real) -> float:
            nonlocal calls
            calls += 1
            return real(*clock) + (seconds if calls > after else 0)

        setattr(time, name, patched)


def source_changes(world: World, rng: random.Random) -> Iterator[Case]:
    """A build of the new source is killed, and continues from the old one, and the other way round."""
    num = world.num_operations["fresh changes"]
    for k in range(10_000):
        at = rng.randrange(num)

        def run(world: World, name: str, at: int = at) -> tuple[str, str]:
            data_dir = world.folder(name, old=False)
            outcome = start_build(world.config(data_dir, world.old), Fault("before", at)).wait()
            if (found := state(world, data_dir)) not in ("nothing", "old"):
                return "another source after SIGKILL", found
            if not outcome.is_clean:
                return "another source after SIGKILL", outcome.traceback[-600:]
            return "another source after SIGKILL", next_run(world, data_dir, old=found == "old")

        yield Case(f"source-{k}", run)


def remove(world: World, name: str) -> None:
    """Removes the folder of a case."""
    shutil.rmtree(world.root / "cases" / name, ignore_errors=True)


KINDS = (
    Kind("SIGKILL at an operation", 300, kills),
    Kind("disk errors", 300, errors),
    Kind("errors on reading", 80, read_errors),
    Kind("SIGKILL at a random time", 60, random_kills),
    Kind("slow disk, short writes", 30, slow_disks),
    Kind("damage before resuming", 80, damaged_builds),
    Kind("damage after publication", 60, damaged_datasets),
    Kind("builds at once", 30, together),
    Kind("clocks", 20, clocks),
    Kind("another source", 20, source_changes),
)

__all__ = ["KINDS", "NONE", "Case", "Child", "Kind"]
