"""The results of the ladder as a table in Markdown; `python -m model.ladder_table RESULTS --write README.md`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from model import markdown
from pipeline.console.commands import Command
from pipeline.errors import echo, one_line_errors
from pipeline.options import PATH, HomePath

PART = "ladder"
"""Name of the part of a document that the table is."""


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results", type=HomePath(path_type=Path, exists=True, dir_okay=False))
@click.option("--write", type=PATH, help=f"Markdown file in which it replaces the part {markdown.begin(PART)}.")
def main(results: Path, write: Path | None) -> None:
    """Print the results of `python -m model.ladder` as a table."""
    with one_line_errors():
        text = document(json.loads(results.read_text()))
        if write:
            markdown.insert(text, write, PART)
    echo(f"written to {write}" if write else text)


def document(results: Mapping[str, Any]) -> str:
    """Returns the table and how it was made, as Markdown."""
    rows, counts = results["models"], results["num_examples"]
    drawn = "synthetic" if results["synthetic"] else "real"
    widths = sorted({row["width"] for row in rows})
    return (
        f"{table(rows)}\n\n"
        f"{counts['train']:,} {drawn} examples in train, {counts['dev']:,} in dev, {counts['test']:,} in test; "
        f"networks of width {', '.join(map(str, widths))} (the paper's have 64). Without a model: macro F1 "
        f"{rows[0]['without_model']['macro_f1']:.3f} (every class for every image), mAP "
        f"{rows[0]['without_model']['mean_average_precision']:.3f}. {results['hardware']}; {results['date']}, "
        f"commit {results['git_commit'][:7]}: `{results['command']}`."
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line for each model: scores on test, and the change from another with its 95% interval."""
    lines = [
        "| model | what changes | pixels | images seen | mAP | macro F1 at 0.5 | at matched thresholds | its change |",
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
    change = step["macro_f1"]
    return f"{change['estimate']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"


if __name__ == "__main__":
    main()
