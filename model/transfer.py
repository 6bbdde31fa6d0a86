"""The command `python -m model.transfer`: scores runs on a whole dataset that they were not trained on.

For example, models trained on drawings are scored on real cells. The scores need no threshold, because probabilities
are seldom calibrated on another dataset.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pipeline.console.commands import Command
from pipeline.errors import InputError, echo, one_line_errors
from pipeline.options import PATH
from pipeline.progress import Bar
from pipeline.schema import SPLITS

# The rest is imported where it is needed, so that `--help` is fast.


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", metavar="RUN...", type=PATH, nargs=-1, required=True)
@click.option("--data-dir", type=PATH, required=True, help="TFDS data directory of the other dataset.")
@click.option(
    "--min-positives",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Positives that a class needs to be scored.",
)
@click.option("--results", type=PATH, help="JSON file for the results.")
@click.option("--table", "table_path", type=PATH, help="Markdown file in which to replace the table.")
def main(
    folders: tuple[Path, ...], data_dir: Path, min_positives: int, results: Path | None, table_path: Path | None
) -> None:
    """Score the runs in the folders RUN... on all examples of a dataset that they were not trained on.

    Prints the mean average precision (mAP) and the mean area under the ROC curve (AUC) over the classes with enough
    positives. Beside them are the scores of the same probabilities on shuffled labels: the mean of 1,000 shuffles, and
    the value that 2.5% of them exceed.
    """
    from model import markdown

    with one_line_errors():
        rows = [score(folder, data_dir, min_positives) for folder in folders]
        if table_path:
            markdown.insert(table(rows), table_path, "transfer")
    echo(table(rows))
    if results:
        results.write_text(json.dumps(rows, indent=1) + "\n")
        echo(f"results: {results}")


def score(folder: Path, data_dir: Path, min_positives: int) -> dict[str, Any]:
    """Returns the scores of a run on train, dev and test together.

    Raises:
        MissingError: no run, no checkpoint or no dataset.
        InputError: the dataset is the run's own, has other channels or classes, or too few positives.
    """
    import numpy as np

    from model import backend, runs

    run = runs.open_run(folder)
    backend.start(run.settings.deterministic)
    from model.scores import shuffled
    from model.serving import scoring
    from model.serving.predictions import Predictions

    dataset = scoring.open_dataset(run, [], data_dir, other=True)
    if dataset.fingerprint == run.dataset["fingerprint"]:
        raise InputError(f"run {run.path} was trained on {dataset.path}: expected a dataset that it has not seen")
    model, parts = scoring.load_model(run, run.settings.test_time), []
    for split in SPLITS:
        if dataset.num_examples[split]:
            with Bar(f"{folder.name} {split}", leave=False) as update:
                parts.append(scoring.predict_split(model, run, dataset, split, on_progress=update))
    found = Predictions.concatenate(parts)
    scored = found.label_vectors.sum(axis=0) >= min_positives
    if not scored.any():
        raise InputError(f"{dataset.path}: no class has {min_positives} positives; choose a smaller --min-positives")
    chosen = np.flatnonzero(scored)
    return {
        "run": folder.name,
        "dataset": str(dataset.path),
        "synthetic": dataset.synthetic,
        "num_examples": len(found.label_vectors),
        "classes": [dataset.class_names[index] for index in chosen],
        **shuffled.compare(found.label_vectors[:, chosen], found.probabilities[:, chosen]),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the results as Markdown, one line for each run."""
    lines = [
        f"{rows[0]['num_examples']:,} examples, {len(rows[0]['classes'])} classes",
        "",
        "| run | mAP | shuffled labels | AUC | shuffled labels |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [
            cell
            for name in ("mean_average_precision", "auc")
            for cell in (f"{row[name]['score']:.3f}", f"{row[name]['mean']:.3f} (97.5%: {row[name]['high']:.3f})")
        ]
        lines.append(f"| {row['run']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
