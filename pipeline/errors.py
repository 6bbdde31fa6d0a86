"""Expected errors, whose message alone tells a person what to do, and how commands show them."""

import contextlib
from collections.abc import Iterator


class InputError(ValueError):
    """The user's input or request does not fit; the message says where, what was expected and what to do."""


class MissingError(InputError, FileNotFoundError):
    """Something that the user named does not exist."""


class JobError(RuntimeError):
    """A job did not finish; nothing was published, and finished work is kept."""


class StorageError(JobError):
    """An object store failed after every retry."""


class DivergedError(JobError):
    """A loss or weight is no longer a finite number."""


class StoppedError(JobError):
    """A signal stopped the run after it saved its position."""


@contextlib.contextmanager
def one_line_errors(when_stopped: str = "stopped") -> Iterator[None]:
    """Turns expected errors into one line and exit code 1; other errors keep their traceback.

    `when_stopped` is the message after Ctrl-C.
    """
    import click

    try:
        yield
    except (InputError, JobError, OSError) as error:
        message = error.strerror if isinstance(error, OSError) and error.filename is None else None
        raise click.ClickException(message or str(error)) from error
    except KeyboardInterrupt:
        raise click.ClickException(when_stopped) from None
