"""Runs several `tfds` commands: a program whose argument is a JSON list of [folder to run in, arguments].

Importing TFDS's command line, and TensorFlow with it, takes seconds; a command takes one. So it is imported once, and
each command runs in a fork, which starts with nothing registered. Prints the exit codes as a JSON list.
"""

import json
import os
import sys
import traceback

from tensorflow_datasets.scripts.cli.main import launch_cli


def run(folder: str, arguments: list[str]) -> int:
    """Returns the exit code of `tfds *arguments` run in `folder`."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        os.chdir(folder)
        sys.argv = ["tfds", *arguments]
        launch_cli()
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    # The command has no folder of this repository on its path, like the installed `tfds`.
    sys.path[0] = os.path.dirname(sys.executable)
    commands = json.loads(sys.argv[1])
    print(json.dumps([run(folder, arguments) for folder, arguments in commands]))
