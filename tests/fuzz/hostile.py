"""The table of hostile inputs with the line that each one gets: `python -m tests.fuzz.hostile --write docs/hostile_inputs.md`."""

import re
import tempfile
import time
from pathlib import Path

import click
from click.testing import CliRunner

from pipeline.errors import one_line_errors, shown
from tests.fuzz.hostile_files import Hostile, everything

HEAD = """# Hostile inputs

The line that the program prints for each damaged or malicious input. `python -m tests.fuzz.hostile --write
docs/hostile_inputs.md` makes the inputs and this table. It fails if an input ends in a traceback or takes more than ten
seconds, or if the process takes more than 1.5 GB. A test checks that the table is current. `DIR` stands for a folder;
"no problems" means that the hostile part does not affect the pixels and is skipped.

| input | command | line |
|---|---|---|
"""
MOST_SECONDS = 10.0
MOST_MIB = 1500
"""Of the whole process, with the libraries, and with what it takes to make the inputs."""

_NOISE = re.compile(r"^(\d+ examples, |labels per example|  +\d+ |images of ids |next: |examples with problems: )")
_BAR = re.compile(r"^.*ex/s\] *")


def line_of(hostile: Hostile, folder: Path) -> str:
    """Returns the first line about the input; raises what would reach a person as a traceback."""
    arguments = hostile.make(folder)
    runner = CliRunner()
    if hostile.call:
        result = runner.invoke(_command(hostile, folder), [])
    elif hostile.command.startswith("model."):
        from model.report import main as report

        result = runner.invoke(report, arguments)
    else:
        from pipeline.cli import main

        result = runner.invoke(main, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    shown_lines = (_BAR.sub("", line) for line in result.output.splitlines())
    lines = [line for line in shown_lines if line.strip() and not _NOISE.match(line)]
    found = lines[0] + (f" {lines[1].strip()}" if lines[0].endswith("problems") and len(lines) > 1 else "")
    return found.replace(str(folder), "DIR").replace(str(Path(__file__).parents[2]), "")


def _command(hostile: Hostile, folder: Path) -> click.Command:
    @click.command()
    def command() -> None:
        with one_line_errors():
            assert hostile.call
            hostile.call(folder)

    return command


def rows() -> list[tuple[str, str, str]]:
    """Returns (input, command, line) of every hostile input."""
    found = []
    for hostile in everything():
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            start = time.process_time()
            found.append((hostile.title, hostile.command, line_of(hostile, Path(folder))))
        if (seconds := time.process_time() - start) > MOST_SECONDS:
            raise RuntimeError(f"{hostile.title}: {seconds:.1f} s")
    if (mib := _peak_mib()) > MOST_MIB:
        raise RuntimeError(f"{mib:.0f} MiB")
    return found


def _peak_mib() -> float:
    """Returns the most memory that this process had. `ru_maxrss` would count the process that it was forked from."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def to_markdown(found: list[tuple[str, str, str]]) -> str:
    """Returns the document."""
    table = (f"| {title} | `{command}` | {_cell(line)} |\n" for title, command, line in found)
    return f"{HEAD}{''.join(table)}\n{len(found)} inputs.\n"


def ours(document: str) -> str:
    """Returns the document without the words of libraries, which change with their versions."""
    return re.sub(r"damaged: (Corrupt|Premature|lib)[^`]*|\([^`]*\)|not JSON: [^`]*", "", document)


def _cell(line: str) -> str:
    text = shown(line).replace("|", "\\|").replace("`", "'")
    return f"`{text if len(text) <= 300 else text[:300] + ' ...'}`"


@click.command()
@click.option("--write", type=click.Path(path_type=Path), help="Markdown file to write.  [default: show it]")
def main(write: Path | None) -> None:
    """Make every hostile input, and collect the line that each one gets."""
    text = to_markdown(rows())
    if write:
        write.write_text(text)
    else:
        click.echo(text)


if __name__ == "__main__":
    main()
