"""Expected errors, whose message says what to do, and how commands show them.

Exit codes: 0 done, 1 input or data, 2 usage, 3 a store or a cluster failed (try again), 130 stopped.
"""

import contextlib
import re
import sys
from collections.abc import Iterator

EXIT_INPUT = 1
EXIT_FAILED = 3
EXIT_STOPPED = 130
"""What a shell reports for a program that Ctrl-C ended."""

MAX_SHOWN = 4096
"""Longest line that is shown, in characters: as long as the longest path."""

# Control characters except tab and line feed, invisible ones that reorder or hide text, and bytes that are not text.
_HIDDEN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ud800-\\udfff]"
)


class InputError(ValueError):
    """The user's input or request is wrong; the message says where, what was expected and what to do."""


class MissingError(InputError, FileNotFoundError):
    """Something that the user named does not exist."""


class JobError(RuntimeError):
    """A job did not finish; nothing was published, and finished work is kept."""


class EndedJobError(JobError):
    """A Beam job ran on a cluster, ended, and is reported as failed there; its workers have stopped."""


class StorageError(JobError):
    """A disk or an object store failed after every try; it says nothing about the data."""


class DivergedError(JobError):
    """A loss or weight is no longer a finite number."""


class StoppedError(JobError):
    """A signal stopped the run after it saved its position; `next_command` continues it."""

    next_command: tuple[object, ...] = ()


def shown(text: str) -> str:
    """Returns text as it is shown to a person, with escapes in place of what could act on a terminal or hide.

    File names and table cells are untrusted text, and messages quote them.
    """
    lines = (
        line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]}... ({len(line):,} characters)"
        for line in text.split("\n")
    )
    return _HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), "\n".join(lines))


def counted(num: int, noun: str) -> str:
    """Returns a count with its noun: `1 problem`, `2 problems`."""
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"


def echo(text: str, *, err: bool = False) -> None:
    """Prints text, escaped by `shown`, to standard output or standard error; commands in it are named as called."""
    import click

    from pipeline.console import called, colour

    click.echo(colour.highlight(called.as_called(shown(text)), sys.stderr if err else sys.stdout), err=err)


@contextlib.contextmanager
def one_line_errors(when_stopped: str = "stopped") -> Iterator[None]:
    """Turns expected errors into one line and an exit code; other errors keep their traceback.

    `when_stopped` is the message after Ctrl-C or SIGTERM, whatever error a library turned it into, unless the
    `KeyboardInterrupt` has a note that says more.
    """
    import click

    from pipeline.console.stopping import stopping

    signals: list[int] = []
    try:
        with stopping() as signals:
            yield
    except (InputError, JobError, OSError) as error:
        bare = error.strerror if isinstance(error, OSError) and error.filename is None else None
        failure = click.ClickException(shown(bare or str(error)))
        failure.exit_code = _exit_code(error)  # type: ignore[misc]
        failure.next_command = getattr(error, "next_command", ())  # type: ignore[attr-defined]
        if signals and not isinstance(error, JobError):
            raise _stopped(when_stopped) from None
        raise failure from error
    except KeyboardInterrupt as error:
        notes = getattr(error, "__notes__", None)
        raise _stopped(f"stopped; {'; '.join(notes)}" if notes else when_stopped) from None
    except ModuleNotFoundError as error:
        from pipeline.console import extras

        if error.name not in extras.FOR_TRAINING:
            raise
        name = extras.FOR_TRAINING[error.name]
        raise click.ClickException(
            f"{name} is not installed, which this command needs: {extras.install('train')}"
        ) from error
    except Exception:
        if signals:
            raise _stopped(when_stopped) from None
        raise


def _stopped(message: str) -> Exception:
    import click

    failure = click.ClickException(message)
    failure.exit_code = EXIT_STOPPED  # type: ignore[misc]
    return failure


def _exit_code(error: BaseException) -> int:
    if isinstance(error, StoppedError):
        return EXIT_STOPPED
    return EXIT_FAILED if isinstance(error, JobError) and not isinstance(error, DivergedError) else EXIT_INPUT
