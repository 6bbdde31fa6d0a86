"""`hpa-stacked`, or `python -m hpa_cli`: the commands of `pipeline` and `model` under one name.

An installed command does not look for modules in the current folder, so a user's `model.py` or `pipeline.py` cannot
hide this project's. Commands are imported when they are called.
"""

import os
import signal
import sys
from pathlib import Path

NAME = "hpa-stacked"
STOPPED = 130
"""Exit code after Ctrl-C."""


def main() -> None:
    """Runs the command line, and exits."""
    try:
        _use_own_packages()
        from hpa_cli.commands import commands

        commands.main(prog_name=NAME)
    except KeyboardInterrupt:  # while Python imports
        sys.stderr.write("Error: stopped\n")
        _exit_stopped()
    except SystemExit as done:
        if done.code == STOPPED:
            _exit_stopped()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command has ended, and its exit code stands
        raise


def _use_own_packages() -> None:
    """Puts the parent folder of this package first on `sys.path`, if another `pipeline` or `model` would be imported.

    Environments with PYTHONPATH=. are common.
    """
    from importlib.util import find_spec

    root = Path(__file__).resolve().parents[1]
    for name in ("pipeline", "model"):
        spec = find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).resolve().parents[1] != root:
            sys.path.insert(0, str(root))
            return


def _exit_stopped() -> None:
    """Ends the process without waiting for its threads, which may have long work left."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(STOPPED)


if __name__ == "__main__":
    main()
