"""`python -m pipeline`."""

import sys

try:
    from pipeline.cli import main

    main(prog_name="python -m pipeline")
except KeyboardInterrupt:  # before the command line is read, or after the command has ended
    sys.stderr.write("Error: stopped\n")
    sys.exit(130)
