"""Replays the kept inputs of all targets, then a few drawn ones of each: `python -m tests.fuzz.replay --cases 40`.

Kept inputs lie in `tests/corpus/<target>/`; the first word of a file's name says what must become of it: `refused` or
`accepted`. One process for all, because importing TensorFlow takes longer than all cases; the name of an input is
printed before it is judged, so that one that ends the process is known.
"""

import sys
import tempfile
from pathlib import Path

import click

from tests.fuzz import registry
from tests.fuzz.target import corpus, draw
from tests.fuzz.worker import Runner

FOLDER = Path(__file__).parents[1] / "corpus"


@click.command()
@click.option("--cases", default=40, show_default=True, help="Drawn inputs of each target.")
@click.option("--seed", default=0, show_default=True)
def main(cases: int, seed: int) -> None:
    """Judge the kept inputs and some drawn ones; exits with 1 if any is judged wrong."""
    failed = 0
    for name in registry.TARGETS:
        with tempfile.TemporaryDirectory(prefix="replay-") as folder:
            entry = registry.find(name)
            runner = Runner(entry.open(Path(folder)), entry)
            failed += _replay(name, runner)
            print(f"{name}: ", end="", flush=True)
            for index in range(cases):
                runner.run(index, draw(runner.target, name, seed, index))
            print(f"{cases} drawn")
        failed += len(runner.failures)
        for failure in runner.failures:
            print(f"{name} {failure['case']}: {failure['kind']}: {failure['detail']}")
    sys.exit(bool(failed))


def _replay(name: str, runner: Runner) -> int:
    """Judges the kept inputs of a target; returns how many of them were judged wrong."""
    failed = 0
    for file, case in corpus(FOLDER, name):
        print(f"{name}/{file}", end=": ", flush=True)
        before = len(runner.failures)
        found = runner.run(-1, case)
        right = (found == "accepted") == file.startswith("accepted") and len(runner.failures) == before
        failed += not right
        print(found if right else f"WRONG: {found}")
    return failed


if __name__ == "__main__":
    main()
