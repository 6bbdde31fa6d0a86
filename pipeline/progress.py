"""How does a person see that long work moves?"""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(description: str, unit: str = "ex") -> Iterator[Callable[[int, int], None]]:
    """Yields `update(done, total)`, which draws a bar with rate and time left on standard error.

    The rate counts from the first update, so that what an earlier run had finished does not flatter it.
    """
    from tqdm import tqdm  # not needed for `--help`

    shown: tqdm | None = None

    def update(done: int, total: int) -> None:
        nonlocal shown
        if shown is None:
            shown = tqdm(
                total=total,
                initial=done,
                desc=description,
                unit=unit,
                file=sys.stderr,
                # Not a terminal: a line now and then instead of a bar redrawn ten times a second.
                mininterval=0.1 if sys.stderr.isatty() else 10,
            )
        shown.update(done - shown.n)

    try:
        yield update
    finally:
        if shown is not None:
            shown.close()
