"""The results of a cross-validation as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.folds.plan import GROUPED, RANDOM


def markdown(results: Mapping[str, Any]) -> str:
    """Returns the scores of each fold, the means beside published ones, and how they were measured."""
    schemes = results["schemes"]
    parts = [_scheme(scheme) for scheme in schemes.values()]
    parts.append(_comparison(results))
    if "leakage" in results:
        parts.append(leakage(results))
    seen = sorted({fold["images_seen"] for scheme in schemes.values() for fold in scheme["folds"]})
    seconds = sum(fold["train_seconds"] for scheme in schemes.values() for fold in scheme["folds"])
    parts.append(
        f"*{results['num_examples']:,} examples, {len(results['class_names'])} classes; {seen[0]:,} to {seen[-1]:,} "
        f"images a run, {seconds / 60:.0f} minutes of training in all; {results['hardware']}; {results['date']}, "
        f"commit {(results['git_commit'] or 'unknown')[:7]}.*"
    )
    return "\n\n".join(parts)


def leakage(results: Mapping[str, Any]) -> str:
    """Returns the difference between the schemes, in words."""
    change, words = results["leakage"]["macro_f1"], results["schemes"][GROUPED]["words"]
    return (
        f"Over all test parts together, macro F1 at random is {change['estimate']:+.3f} "
        f"[{change['low']:.3f}, {change['high']:.3f}] against {words}. The network, its training and the examples are "
        f"the same: the difference is leakage. At random, cells of one {words.removeprefix('by ')} are in train and in "
        "test, and the network recognises where a cell comes from beside what it shows."
    )


def _scheme(scheme: Mapping[str, Any]) -> str:
    rows = [
        [
            str(fold["fold"]),
            *(f"{fold['num_examples'][split]:,}" for split in ("train", "dev", "test")),
            str(fold["num_groups"]),
            *(f"{fold['test'][name]:.3f}" for name in ("macro_f1", "balanced_accuracy", "accuracy")),
            f"{fold['test']['calibration_error']:.3f}",
        ]
        for fold in scheme["folds"]
    ]
    mean, together = scheme["mean"], scheme["together"]
    names = ("macro_f1", "balanced_accuracy", "accuracy", "calibration_error")
    rows.append(
        [
            "mean ± deviation",
            "",
            "",
            "",
            "",
            *(f"{mean[name]['mean']:.3f} ± {mean[name]['deviation']:.3f}" for name in names),
        ]
    )
    total = f"{together['num_examples']:,}"
    rows.append(["all together", "", "", total, "", *(f"{together[name]:.3f}" for name in names)])
    header = ["fold", "train", "dev", "test", "groups in test", "macro F1", "balanced accuracy", "accuracy", "ECE"]
    return f"**Folds {scheme['words']}**\n\n{table(header, rows)}"


def _comparison(results: Mapping[str, Any]) -> str:
    """Returns macro F1 by both schemes, of the network and of others."""
    schemes = results["schemes"]
    columns = [scheme for scheme in (GROUPED, RANDOM) if scheme in schemes]
    rows = [
        ["this network, mean of the folds", *(f"{schemes[name]['mean']['macro_f1']['mean']:.3f}" for name in columns)]
    ]
    if all("baseline" in schemes[name] for name in columns):
        row = [f"{schemes[name]['baseline']['mean']['macro_f1']['mean']:.3f}" for name in columns]
        rows.append(["hand-made features, logistic regression, same folds", *row])
    for other in results["published"]:
        rows.append([f"{other['what']}, reported", *(f"{other[name]}" if other[name] else "" for name in columns)])
    return "**Macro F1**\n\n" + table(["", *(schemes[name]["words"] for name in columns)], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table; all columns but the first are numbers."""
    lines = [" | ".join(header), " | ".join(["---", *["---:"] * (len(header) - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)
