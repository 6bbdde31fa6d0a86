"""Replays the kept inputs of a target: `python -m tests.fuzz.replay tiff`.

They lie in `tests/corpus/<target>/`; the first word of a file's name says what must become of it: `refused` or
`accepted`. A process of its own, because a decoder may end it.
"""

import sys
import tempfile
from pathlib import Path

from tests.fuzz import registry
from tests.fuzz.target import corpus

FOLDER = Path(__file__).parents[1] / "corpus"


def main(name: str) -> int:
    """Returns how many inputs were judged wrong, after naming them."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        target = registry.find(name).open(Path(folder))
        for file, case in corpus(FOLDER, name):
            print(f"{name}/{file}", end=": ", flush=True)
            found = target.check(case)
            right = (found == "accepted") == file.startswith("accepted")
            failed += not right
            print(found if right else f"WRONG: {found}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
