"""The installed command, of the code in this repository."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
from hpa_cli.__main__ import main
if __name__ == "__main__":
    sys.exit(main())
"""
"""What pip writes for the entry point, but that the package need not be installed again after a change."""


def install(folder: Path) -> Path:
    """Writes the command `hpa-stacked` into a folder, and returns its path."""
    path = folder / "hpa-stacked"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(SCRIPT)
    path.chmod(0o755)
    return path


def run(command: Path, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end in a folder."""
    return subprocess.run(
        [str(command), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"HPA_STACKED_LAST": "build/last"} | environment,
        capture_output=True,
        text=True,
    )
