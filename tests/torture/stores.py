"""The cases of the torture test in an object store: requests that fail or end the builder, wrong and late answers."""

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Iterator

from pipeline.dataset.verify import verify
from pipeline.store import files
from pipeline.store.layout import INFO
from tests.support.object_stores import ObjectStore
from tests.torture.builds import BUILT, EXPECTED, TARGET, Child, Outcome, World, import_everything, name_of, start_build
from tests.torture.cases import NOT_REACHED, Case, Kind

FAULTS = (429, 500, 503, "drop", "cut")

MOST_REQUESTS = {"gs": 130, "s3": 150}
"""About as many as a build sends."""

_STORES: dict[str, ObjectStore] = {}
"""The running stores; forked processes inherit it."""


def use(stores: dict[str, ObjectStore]) -> None:
    """Names the stores for all cases."""
    import_everything(("gcsfs.core", "s3fs"))
    _STORES.update(stores)


def put_old(world: World) -> None:
    """Puts the old dataset under `old/` of Google's stub."""

    def put(hit: Callable) -> None:
        place = _STORES["gs"].root / "old"
        for path in sorted((world.root / "old").rglob("*")):
            if path.is_file() and not path.name.endswith(".lock"):
                files_place = files.at(f"{place}/{path.relative_to(world.root / 'old')}")
                files_place.upload(path)

    outcome = Child(put).wait()
    assert outcome.error is None, outcome.traceback


def _quick_retries() -> None:
    """Lets the stores' libraries wait a hundredth of the time between their tries."""
    real = asyncio.sleep
    asyncio.sleep = lambda seconds, *rest: real(seconds / 100, *rest)


def _start(world: World, place: files.ObjectPath, **settings) -> Child:
    return start_build(world.config(place, threads=2, **settings), prepare=_quick_retries)


def _state(world: World, place: files.ObjectPath, scheme: str) -> str:
    """Returns which dataset is whole at a place: "nothing", "old" or "new"; anything else says what is wrong."""

    def look(hit: Callable) -> str:
        target = place
        for part in TARGET.parts:
            target = target / part
        found = {name: (target / name).read_bytes() for name in files.listing(target)}
        if INFO not in found:
            return "nothing"
        name = name_of(world, {name: hashlib.sha256(data).hexdigest() for name, data in found.items()})
        if name not in world.digests:
            return name
        problems = verify(target)
        return f"verify of {name}: {problems[0]}" if problems else name

    outcome = Child(look).wait()
    return outcome.result or f"cannot be read: {outcome.traceback[-500:]}"


def _leftovers(place: files.ObjectPath) -> list[str]:
    def look(hit: Callable) -> list[str]:
        found = files.entries_below(place)
        return [
            name
            for name, _ in found
            if "/1.1.0/" not in name and not name.endswith((".1.1.0.listing", "metadata.json"))
        ]

    outcome = Child(look).wait()
    return outcome.result if outcome.error is None else [outcome.traceback[-500:]]


def _check(world: World, place: files.ObjectPath, outcome: Outcome, scheme: str, *, old: bool) -> str:
    """Returns what is wrong after a fault, and after the next run; "" if nothing is."""
    store = _STORES[scheme]
    store.tell(**({"late_s": 0.0, "clock_s": 0.0} if scheme == "gs" else {}))
    if outcome.hung:
        return "hangs"
    if outcome.error is not None and not isinstance(outcome.error, EXPECTED):
        return f"no expected error: {outcome.traceback.strip()[-600:]}"
    found = _state(world, place, scheme)
    # In a store an older dataset disappears before the new one is written.
    allowed = BUILT[old] | (set() if outcome.result else {"old", "nothing"} if old else {"nothing"})
    if found not in allowed:
        return f"after {outcome.result or outcome.error or outcome.signal!r}: {found}, expected {sorted(allowed)}"
    again = _start(world, place, overwrite=found != "nothing").wait()
    if again.error or again.hung or not again.result:
        return f"the next run fails: {again.traceback.strip()[-600:]}"
    if (found := _state(world, place, scheme)) not in BUILT[old]:
        return f"after the next run: {found}, expected {sorted(BUILT[old])}"
    if extra := _leftovers(place):
        return f"the next run leaves {extra}"
    return ""


def _place(name: str, scheme: str, *, old: bool) -> files.ObjectPath:
    store = _STORES[scheme]
    if old:
        store.tell(copy=["bucket/old", f"bucket/{name}"])
    return store.root / name


def requests(world: World, rng: random.Random) -> Iterator[Case]:
    """The n-th request fails, once or with the 40 after it; or its sender is killed before or after it is served."""
    for k in range(10_000):
        scheme = "s3" if k % 5 == 4 else "gs"
        old, at = scheme == "gs" and k % 3 == 0, rng.randrange(MOST_REQUESTS[scheme])
        faults = FAULTS[:4] if scheme == "s3" else FAULTS
        fault = [*faults, "kill", "kill-after"][k % (len(faults) + 2)]
        num = 40 if rng.random() < 0.15 else 1

        def run(
            world: World, name: str, scheme: str = scheme, old: bool = old, at: int = at, fault=fault, num: int = num
        ) -> tuple[str, str]:
            store, place = _STORES[scheme], _place(name, scheme, old=old)
            child = _start(world, place, overwrite=old)
            text = f"{fault} {child.pid}" if str(fault).startswith("kill") else fault
            store.tell(faults=[None] * at + [text] * num)
            outcome = child.wait()
            if store.drop_faults():
                return NOT_REACHED, _check(world, place, outcome, scheme, old=old)
            words = {"drop": "connection dropped", "cut": "answer cut", "kill": "SIGKILL before a request",
                     "kill-after": "SIGKILL after a request"}.get(str(fault), f"status {fault}")  # fmt: skip
            row = f"{scheme}: {words}{', 40 in a row' if num > 1 and not str(fault).startswith('kill') else ''}"
            return row, _check(world, place, outcome, scheme, old=old)

        yield Case(f"request-{scheme}-{k}", run)


def wrong_answers(world: World, rng: random.Random) -> Iterator[Case]:
    """Wrong checksums, altered uploads, lists that lag behind, a store whose clock jumps."""
    for k in range(10_000):
        what, at, old = ("lie", "corrupt", "late", "clock")[k % 4], rng.randrange(MOST_REQUESTS["gs"]), k % 3 == 0
        seconds = rng.choice([0.3, 1.0, 3.0])

        def run(
            world: World, name: str, what: str = what, at: int = at, old: bool = old, seconds: float = seconds
        ) -> tuple[str, str]:
            store, place = _STORES["gs"], _place(name, "gs", old=old)
            if what == "late":
                store.tell(late_s=seconds)
            child = _start(world, place, overwrite=old)
            if what == "clock":
                time.sleep(seconds / 4)
                store.tell(clock_s=-3600.0 if at % 2 else 1e6)
            elif what != "late":
                # Of the requests of a kind: only uploads are answered with a checksum that counts.
                store.tell(faults=[None] * (at % 30) + [what], only="/upload/")
            outcome = child.wait()
            store.tell(only="")
            if store.drop_faults():
                return NOT_REACHED, _check(world, place, outcome, "gs", old=old)
            row = {"lie": "wrong checksum", "corrupt": "upload altered", "late": "late lists", "clock": "clock jumps"}
            return f"gs: {row[what]}", _check(world, place, outcome, "gs", old=old)

        yield Case(f"answer-{k}", run)


def together(world: World, rng: random.Random) -> Iterator[Case]:
    """Two and five builds at one place of a store at once; sometimes one of them is killed."""
    for k in range(10_000):
        scheme, num, kill, seconds = "s3" if k % 5 == 4 else "gs", (2, 5)[k % 2], k % 4 >= 2, rng.random()

        def run(
            world: World, name: str, scheme: str = scheme, num: int = num, kill: bool = kill, seconds: float = seconds
        ) -> tuple[str, str]:
            place = _place(name, scheme, old=False)
            children = [_start(world, place) for _ in range(num)]
            if kill:
                time.sleep(seconds)
                children[0].kill()
            outcomes = [child.wait() for child in children]
            row = f"{scheme}: {num} builds at once{', one killed' if kill else ''}"
            for outcome in outcomes:
                if outcome.error and "another build is running there" not in str(outcome.error):
                    return row, f"unexpected error: {outcome.traceback[-600:]}"
            if not kill and not any(outcome.result for outcome in outcomes):
                return row, "none of the builds ended well"
            best = next((outcome for outcome in outcomes if outcome.result), outcomes[0])
            return row, _check(world, place, best, scheme, old=False)

        yield Case(f"together-{scheme}-{k}", run)


KINDS = (
    Kind("store: requests", 70, requests),
    Kind("store: wrong answers", 30, wrong_answers),
    Kind("store: builds at once", 10, together),
)
