"""Click commands with one-line errors, colour, an exit code for Ctrl-C, and help texts that name commands as called."""

import io
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pipeline.console import called, colour
from pipeline.console.stopping import stopping
from pipeline.errors import EXIT_STOPPED

T = TypeVar("T")


class Stopped(click.ClickException):
    """Ctrl-C, or another signal that ends a command."""

    exit_code = EXIT_STOPPED


class _OneLine:
    """What commands and groups of commands share."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        run: Callable[..., Any] = super().main  # type: ignore[misc]
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        try:
            result = run(*args, standalone_mode=False, **extra)
        except click.ClickException as error:
            show(error)
            sys.exit(error.exit_code)
        sys.exit(result if isinstance(result, int) else 0)

    def make_context(self, *args: Any, **extra: Any) -> Any:
        return _stoppable(super().make_context, *args, **extra)  # type: ignore[misc]

    def invoke(self, context: click.Context) -> Any:
        return _stoppable(super().invoke, context)  # type: ignore[misc]

    def get_help(self, context: click.Context) -> str:
        return called.as_called(super().get_help(context))  # type: ignore[misc]


def _stoppable(function: Callable[..., T], *args: Any, **extra: Any) -> T:
    try:
        with stopping():
            return function(*args, **extra)
    except KeyboardInterrupt:
        raise Stopped("stopped") from None


class Command(_OneLine, click.Command):
    """A command."""


class Group(_OneLine, click.Group):
    """A group of commands."""

    command_class = Command
    group_class = type


def show(error: click.ClickException) -> None:
    """Prints an error to standard error, with the usage if the call was wrong, and the next command if there is one."""
    text = io.StringIO()
    error.show(file=text)
    click.echo(colour.highlight(called.as_called(text.getvalue()), sys.stderr), err=True, nl=False)
    if next_command := getattr(error, "next_command", ()):
        called.echo_next(*next_command)
