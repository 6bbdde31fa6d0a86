"""Many readers at once on a dataset that is replaced again and again, and a build beside a build.

    python -m tests.torture.load --readers 100 --replacements 20

A reader looks at `metadata.json`, reads every record, and looks again: if that file is another one by then (inode and
times; the fingerprint would be the same again after two replacements), or a file is gone, it has met a replacement and
says so. What it accepts must be the whole old or the whole new dataset.
Every tenth reader runs `verify` instead.
"""

import argparse
import collections
import hashlib
import sys
import tempfile
import threading
import time
from pathlib import Path

from pipeline.dataset.verify import verify
from pipeline.errors import InputError
from pipeline.schema import HPA_KAGGLE_2018
from pipeline.store import layout
from pipeline.write import records
from tests.support.sources import digests
from tests.torture import builds
from tests.torture.builds import TARGET, Child, World

PROCESSES = 4

CHANGED = "replaced while it was read"


def content(target: Path) -> str:
    """Returns a digest of the ids, images and labels of all records, in no order."""
    rows = []
    for path in sorted(target.iterdir()):
        if layout.is_shard(path.name):
            with open(path, "rb") as file:
                rows += [hashlib.sha256(data).hexdigest() for data in records.read(file)]
    return hashlib.sha256("".join(sorted(rows)).encode()).hexdigest()


def identity(target: Path) -> tuple[int, ...]:
    """Returns what differs between two datasets that were published in one place, one after the other."""
    found = (target / layout.METADATA).stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def read_once(target: Path, known: dict[str, str]) -> str:
    """Returns which dataset was read, or what the reader says; anything else is a mixture that it accepted."""
    try:
        before, found, after = identity(target), content(target), identity(target)
    except FileNotFoundError:
        return "a file is gone"
    return known.get(found, "MIXTURE") if before == after else CHANGED


def verify_once(target: Path) -> str:
    """Returns "verified", or what `verify` says."""
    try:
        problems = verify(target)
    except InputError as error:
        return CHANGED if CHANGED in str(error) else f"MIXTURE: {error}"
    return "MIXTURE: " + problems[0] if problems else "verified"


def readers(target: Path, known: dict[str, str], num: int, stop: Path) -> dict[str, int]:
    """Reads with so many threads until the file `stop` appears; returns the number of reads by outcome."""
    counts: collections.Counter[str] = collections.Counter()

    def work(k: int) -> None:
        while not stop.exists():
            started = time.perf_counter()
            counts[verify_once(target) if k % 10 == 9 else read_once(target, known)] += 1
            longest[0] = max(longest[0], time.perf_counter() - started)

    longest = [0.0]
    threads = [threading.Thread(target=work, args=(k,)) for k in range(num)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {**counts, "longest ms": round(1000 * longest[0])}


def replace_under_load(world: World, num_readers: int, num_replacements: int) -> tuple[dict[str, int], float]:
    """Replaces a dataset so often while it is read; returns the number of reads by outcome, and seconds."""
    data_dir = world.folder("load", old=True)
    target, stop = data_dir / TARGET, data_dir / "stop"
    known = {content(world.root / name / TARGET): f"whole {name}" for name in ("old", "new")}
    share = [num_readers // PROCESSES + (k < num_readers % PROCESSES) for k in range(PROCESSES)]
    children = [Child(lambda hit, num=num: readers(target, known, num, stop)) for num in share]
    start = time.monotonic()
    for k in range(num_replacements):
        source = (world.new, world.old)[k % 2]
        outcome = builds.start_build(world.config(data_dir, source, overwrite=True)).wait()
        assert outcome.result == "published", outcome.traceback
    seconds = time.monotonic() - start
    stop.touch()
    counts: collections.Counter[str] = collections.Counter()
    longest = 0
    for child in children:
        outcome = child.wait()
        assert outcome.result, outcome.traceback
        longest = max(longest, outcome.result.pop("longest ms"))
        counts.update(outcome.result)
    return {**counts, "longest read, ms": longest}, seconds


def build_beside_build(world: World) -> tuple[bool, float, float]:
    """Builds two sizes in one data directory, alone and at once; returns (identical, seconds alone, seconds at once)."""

    def build(data_dir: Path, size: int) -> Child:
        return builds.start_build(world.config(data_dir, size=size), beam=True)

    def found(data_dir: Path) -> list[dict[str, str]]:
        return [digests(layout.dataset_dir(data_dir, HPA_KAGGLE_2018, size)) for size in (16, 8)]

    alone, beside = world.folder("alone", old=False), world.folder("beside", old=False)
    seconds = []
    for data_dir, at_once in ((alone, False), (beside, True)):
        start = time.monotonic()
        children = []
        for size in (16, 8):
            children.append(build(data_dir, size))
            if not at_once:
                children[-1].wait()
        if at_once:
            assert [child.wait().result for child in children] == ["published"] * 2
        seconds.append(time.monotonic() - start)
    return found(alone) == found(beside), seconds[0], seconds[1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.load", description=__doc__.splitlines()[0])
    parser.add_argument("--readers", type=int, default=100, help="[%(default)s]")
    parser.add_argument("--replacements", type=int, default=20, help="[%(default)s]")
    arguments = parser.parse_args()
    builds.import_everything()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        world = builds.make_world(Path(folder))
        counts, seconds = replace_under_load(world, arguments.readers, arguments.replacements)
        identical, alone, beside = build_beside_build(world)
    print(f"{arguments.readers} readers, {arguments.replacements} replacements in {seconds:.1f} s")
    for name in sorted(counts):
        print(f"  {name}: {counts[name]:,}")
    print(f"a build beside a build: {'identical' if identical else 'DIFFERENT'}; {alone:.1f} s one after the other, "
          f"{beside:.1f} s at once")  # fmt: skip
    return 1 if not identical or any(name.startswith("MIXTURE") for name in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
