"""How this process was called, so that the commands in its output can be pasted.

Messages and help texts name commands as `python -m pipeline shards` and `python -m model.train`, which always exist.
If the installed command or another interpreter was called, they are shown in that form.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

INSTALLED = "hpa-stacked"
"""Name of the installed command."""

MAKE = "HPA_STACKED_MAKE"
"""Environment variable that the Makefile sets, so that the next commands shown are targets too."""

_COMMAND = re.compile(r"(?<![\w./])python -m (?:(pipeline)(?= [a-z])|model\.(?=[a-z]))")


def as_called(text: str) -> str:
    """Returns text with its commands in the form in which this process was called."""
    program = _program()
    if program is None:
        return text
    if program[1:]:
        return _COMMAND.sub(lambda match: match[0].replace("python", program[0], 1), text)
    return _COMMAND.sub(lambda match: program[0] + ("" if match[1] else " "), text)


def _program() -> tuple[str, ...] | None:
    """Returns the installed command, or an interpreter and "-m"; `None` if the process was started in another way."""
    name = getattr(sys.modules["__main__"].__spec__, "name", "")
    if name.startswith(("pipeline.", "model.")):
        return shlex.quote(sys.orig_argv[0]), "-m"
    script = Path(sys.argv[0])
    if name == "hpa_cli.__main__":
        return (INSTALLED,)
    if script.name != INSTALLED:
        return None
    on_path = shutil.which(INSTALLED)
    return (INSTALLED if on_path and Path(on_path).samefile(script) else shlex.quote(str(script)),)


def by_make() -> bool:
    """Returns whether a target of the Makefile called this process."""
    return bool(os.environ.get(MAKE))


def echo_next(command: str, *arguments: object, make: Sequence[object] | None = None) -> None:
    """Prints the next command to standard error, ready to be pasted.

    If packages that it needs are missing and a target installs them, the target is printed instead.

    Args:
      command: `pipeline shards` or `model.train`.
      arguments: what follows it.
      make: the words after `make` of a target that does the same, printed instead if the Makefile called this
        process; empty, to print nothing, if one target runs both commands.
    """
    from pipeline.console import extras
    from pipeline.errors import echo

    lacking = command.startswith("model.") and extras.missing_for_training() is not None
    if make is not None and (by_make() or (lacking and extras.made_by_make())):
        if not make:
            return
        line = shlex.join(["make", *map(str, make)])
    else:
        line = f"python -m {command} {shlex.join(map(str, arguments))}".rstrip()
    echo(f"next: {line}", err=True)
