"""How does a person see that a command moves, and what went wrong when it stops?"""

import contextlib
import sys
from collections.abc import Callable, Iterator

import click

from model import errors


@contextlib.contextmanager
def bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields `update(more)`, which counts examples in a bar with rate and time left on standard error."""
    from tqdm import tqdm  # not needed for `--help`

    shown = tqdm(
        desc=description,
        total=total,
        unit="ex",
        leave=False,
        file=sys.stderr,
        # Not a terminal: a line now and then instead of one redrawn ten times a second.
        mininterval=0.1 if sys.stderr.isatty() else 10,
    )
    with shown:
        yield shown.update


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Shows what is expected to go wrong as a message and exit code 1; defects keep their traceback."""
    try:
        yield
    except errors.EXPECTED as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise click.ClickException("stopped") from None
