"""Injects faults into small builds: `python -m tests.torture --num 1000 --seed 0 --jobs 2`.

Prints a table by kind: faults injected, survived, lost, and seconds. Exits with 1 if anything was lost; the folders of
those cases are kept and named.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.torture import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=1000, help="faults to inject [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="which ones [%(default)s]")
    parser.add_argument("--jobs", type=int, default=2, help="processes [%(default)s]")
    parser.add_argument("--kind", help="only kinds whose names contain this")
    parser.add_argument("--no-stores", action="store_true", help="leave out the object stores")
    parser.add_argument("--folder", type=Path, help="folder for the builds [in memory where there is /dev/shm]")
    parser.add_argument("--details", type=Path, help="JSON file for every case: name, row, problem, seconds")
    arguments = parser.parse_args()
    memory = Path("/dev/shm")
    where = arguments.folder or (memory if os.access(memory, os.W_OK) else None)
    root = Path(tempfile.mkdtemp(prefix="torture-", dir=where))
    start = time.monotonic()
    results = run.run(
        root, num=arguments.num, seed=arguments.seed, jobs=arguments.jobs, only=arguments.kind,
        stores_too=not arguments.no_stores,
    )  # fmt: skip
    print(run.table(results))
    print(f"\n{len(results)} faults in {time.monotonic() - start:.0f} s with {arguments.jobs} processes")
    if arguments.details:
        arguments.details.write_text(json.dumps([vars(result) for result in results], indent=1))
    lost = [result for result in results if result.problem]
    for result in lost:
        print(f"LOST {result.kind}: {result.name}: {result.row}: {result.problem} (in {root})", file=sys.stderr)
    if not lost:
        run.remove(root)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
