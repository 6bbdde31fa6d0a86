"""The results of the ladder as a table in Markdown; `python -m model.ladder_table RESULTS --write README.md`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pipeline.console.commands import Command
from pipeline.errors import InputError, echo, one_line_errors
from pipeline.options import PATH, HomePath
from pipeline.store import files

BEGIN, END = "<!-- ladder -->", "<!-- end of ladder -->"


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results", type=HomePath(path_type=Path, exists=True, dir_okay=False))
@click.option("--write", type=PATH, help=f"Markdown file whose lines between {BEGIN} and {END} it replaces.")
def main(results: Path, write: Path | None) -> None:
    """Show the table of the results that `python -m model.ladder` wrote."""
    with one_line_errors():
        text = document(json.loads(results.read_text()))
        if write:
            insert(text, write)
    echo(f"written to {write}" if write else text)


def document(results: Mapping[str, Any]) -> str:
    """Returns the table and how it was made, as Markdown."""
    rows, counts = results["models"], results["num_examples"]
    drawn = "synthetic" if results["synthetic"] else "real"
    widths = sorted({row["width"] for row in rows})
    return (
        f"{markdown(rows)}\n\n"
        f"{counts['train']:,} {drawn} examples in train, {counts['dev']:,} in dev, {counts['test']:,} in test; "
        f"networks of width {', '.join(map(str, widths))} (the paper's have 64). Without a model: macro F1 "
        f"{rows[0]['without_model']['macro_f1']:.3f} (every class for every image), mAP "
        f"{rows[0]['without_model']['mean_average_precision']:.3f}. {results['hardware']}; {results['date']}, "
        f"commit {results['git_commit'][:7]}: `{results['command']}`."
    )


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line for each model: scores on test, and the change from the model before it with its interval."""
    lines = [
        "| model | adds | pixels | images seen | mAP | macro F1 at 0.5 | at matched thresholds | change of it |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    several = len({row["seed"] for row in rows}) > 1
    for row in rows:
        name = f"{row['name']}, seed {row['seed']}" if several else row["name"]
        scores = row["mean_average_precision"]["test"], row["macro_f1"]["test"], row["macro_f1"]["test_matched"]
        shown = " | ".join(f"{value:.3f}" for value in scores)
        lines.append(
            f"| {name} | {row['adds']} | {row['pixels']} | {row['images_seen']:,} | {shown} | {_change(row['step'])} |"
        )
    return "\n".join(lines)


def _change(step: Mapping[str, Any] | None) -> str:
    if step is None:
        return ""
    change = step["macro_f1_matched"]
    return f"{change['estimate']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"


def insert(text: str, path: Path) -> None:
    """Replaces what stands between the lines `BEGIN` and `END` of a Markdown file.

    Raises:
        InputError: the file does not have these lines.
    """
    old = path.read_text()
    block = re.compile(f"({BEGIN}\n).*?({END})", re.DOTALL)
    if not block.search(old):
        raise InputError(f"{path}: expected the lines {BEGIN} and {END}; add them where the table belongs")
    with files.replacing(path) as file:
        file.write(block.sub(lambda marks: f"{marks[1]}\n{text}\n\n{marks[2]}", old).encode())


if __name__ == "__main__":
    main()
