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


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results", type=HomePath(path_type=Path, exists=True, dir_okay=False))
@click.option("--write", type=PATH, help="Markdown file in which to replace the table.")
@click.option("--part", default="ladder", show_default=True, help="The table stands after <!-- NAME --> in that file.")
def main(results: Path, write: Path | None, part: str) -> None:
    """Print the results of `python -m model.ladder` as a table."""
    with one_line_errors():
        text = document(json.loads(results.read_text()))
        if write:
            markdown.insert(text, write, part)
    echo(f"written to {write}" if write else text)


def document(results: Mapping[str, Any]) -> str:
    """Returns the table and how it was made, as Markdown."""
    rows, counts = results["models"], results["num_examples"]
    drawn = "synthetic" if results["synthetic"] else "real"
    widths = sorted({row["width"] for row in rows})
    limit = rows[0].get("limit_examples")
    part = f" (each model was trained on {limit:,} of them)" if limit else ""
    return (
        f"{table(rows)}\n\n"
        f"{counts['train']:,} {drawn} examples in train{part}, {counts['dev']:,} in dev, {counts['test']:,} in test; "
        f"networks of width {', '.join(map(str, widths))} (the paper's have 64). Without a model: macro F1 "
        f"{rows[0]['without_model']['macro_f1']:.3f} (every class for every image), mAP "
        f"{rows[0]['without_model']['mean_average_precision']:.3f}. {results['hardware']}; {results['date']}, "
        f"commit {results['git_commit'][:7]}: `{results['command']}`."
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line for each model: test scores, and changes from its comparison model with 95% intervals."""
    lines = [
        "| model | what changes | pixels | images seen | mAP | its change | macro F1 at 0.5 | at matched thresholds | "
        "its change |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    several = len({row["seed"] for row in rows}) > 1
    for row in rows:
        name = f"{row['name']}, seed {row['seed']}" if several else row["name"]
        step, of_f1, of_map = row["step"], row["macro_f1"], row["mean_average_precision"]["test"]
        lines.append(
            f"| {name} | {row['adds']} | {row['pixels']} | {row['images_seen']:,} "
            f"| {of_map:.3f} | {_change(step, 'mean_average_precision')} "
            f"| {of_f1['test']:.3f} | {of_f1['test_matched']:.3f} | {_change(step, 'macro_f1')} |"
        )
    return "\n".join(lines)


def _change(step: Mapping[str, Any] | None, score: str) -> str:
    if step is None:
        return ""
    change = step[score]
    return f"{change['estimate']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"


if __name__ == "__main__":
    main()
