"""The model card of an exported model: what it is, its data and scores, its limits, licence and citation.

Its sections follow Mitchell et al. (2019), "Model Cards for Model Reporting".
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model import runs
from model.scores import evaluation
from pipeline.errors import InputError
from pipeline.schema import SPLITS

LOADING = {
    "model.keras": 'model = keras.models.load_model("model.keras")\nprobabilities = model.predict(images)',
    "saved_model": 'model = tf.saved_model.load("saved_model")\nprobabilities = model.serve(images)',
    "model.onnx": 'session = onnxruntime.InferenceSession("model.onnx")\n'
    'probabilities = session.run(None, {"image": images})[0]',
}
"""Name of an exported file -> how it is loaded."""

RULES = {
    "fixed": "0.5",
    "flat": "one for all classes",
    "matched": "each class as often as it occurs",
    "shrunk": "per class, towards the flat one",
    "highest": "the most probable class",
}


def text(run: runs.Run, views: str, side: int, files: Sequence[str]) -> str:
    """Returns the card of the run's model as Markdown, for images of `side` pixels and the exported `files`."""
    scored, problem = _evaluation(run, views)
    sections = {
        f"{run.schema.name}: a classifier of {run.schema.num_classes} classes": _overview(run),
        "Use": _use(run, views, side, files),
        "Data": _data(run, _published(run)),
        "Scores": _scores(scored) if scored else [problem, *_unevaluated(run)],
        "Classes and thresholds": _classes(run, scored),
        "Intended use and limits": _limits(run, scored),
        "Licence and citation": _licence(run, _published(run)),
    }
    return "\n\n".join(
        f"{'#' if index == 0 else '##'} {title}\n\n" + "\n".join(lines)
        for index, (title, lines) in enumerate(sections.items())
    ) + "\n"  # fmt: skip


def _evaluation(run: runs.Run, views: str) -> tuple[dict[str, Any] | None, str]:
    """Returns the evaluation of the exported checkpoint with these views, or `None` and how to make one."""
    again = f"`python -m model.evaluate {run.path} --views {views}` and the export again add them."
    try:
        found = evaluation.load(run.path)
    except InputError:
        return None, f"No scores with intervals: the run was not evaluated. {again}"
    if found["checkpoint_sha256"] != evaluation.checkpoint_digest(run) or found["views"] != views:
        return None, f"No scores with intervals: another checkpoint, or other views, were evaluated. {again}"
    return found, ""


def _published(run: runs.Run) -> dict[str, Any]:
    """Returns the dataset's metadata and, as `root`, the digest of all its bytes; empty if it is no longer there."""
    path = Path(run.dataset["path"])
    try:
        info = json.loads((path / "dataset_info.json").read_text())
        sums = (path / "SHA256SUMS").read_bytes() if (path / "SHA256SUMS").exists() else b""
    except (OSError, ValueError, RecursionError):
        return {}
    root = f"sha256:{hashlib.sha256(sums).hexdigest()}" if sums else ""
    return {**info, "root": root} if isinstance(info, dict) else {}


def _overview(run: runs.Run) -> list[str]:
    settings, versions = run.settings, run.config.get("versions", {})
    blocks, pixels = "-".join(map(str, settings.blocks)), settings.size // settings.downsample
    lines = [
        f"A residual network of {blocks} blocks, width {settings.width}, on {pixels} x {pixels} pixels of the channels "
        f"{', '.join(settings.channels)}; preset `{settings.preset}`, seed {settings.seed}.",
        f"Weights at the start: {settings.weights or 'random'}.",
        f"Commit {run.config.get('git_commit') or 'unknown'}; "
        + ", ".join(f"{name} {versions[name]}" for name in ("keras", "tensorflow", "jax", "torch") if name in versions),
    ]
    if run.dataset.get("synthetic"):
        lines.insert(0, "**SYNTHETIC: trained on images that a program drew. It says nothing about real cells.**\n")
    return lines


def _use(run: runs.Run, views: str, side: int, files: Sequence[str]) -> list[str]:
    schema = run.schema
    sum_is_1 = ", which add up to 1" if schema.single_label else ""
    lines = [
        f"In: {schema.dtype} `[B, {side}, {side}, {schema.num_channels}]`, channels "
        f"{', '.join(schema.channel_names)}, 0..{schema.max_value} as in the dataset.\n",
        f"Out: float32 `[B, {schema.num_classes}]`, the probability of each class{sum_is_1}; mean over views: {views}.",
    ]
    return lines + [f"\n```python\n{LOADING[name]}\n```" for name in files]


def _data(run: runs.Run, published: Mapping[str, Any]) -> list[str]:
    dataset, counts = run.dataset, run.dataset.get("num_examples") or {}
    rows = {
        "schema": run.schema.name,
        "dataset": f"{published.get('name', 'hpa_stacked')}, version {published.get('version', 'unknown')}",
        "images": "synthetic: drawn by a program" if dataset.get("synthetic") else "photographed",
        "examples": ", ".join(f"{split} {counts[split]:,}" for split in SPLITS if split in counts) or "unknown",
        "fingerprint of the source": f"`{dataset['fingerprint']}`",
        "digest of all files": f"`{published['root']}`" if published.get("root") else "the dataset has moved",
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _scores(scored: Mapping[str, Any]) -> list[str]:
    lines = ["| split | prediction | macro F1 [95% interval] | mAP |", "|---|---|---|---:|"]
    for split, scores in scored["splits"].items():
        precision = scores["mean_average_precision"]
        for name, rule in scores["rules"].items():
            shown = f"{_interval(rule['interval'])} | {'-' if precision is None else f'{precision:.3f}'}"
            lines.append(f"| {split} | {RULES.get(name, name)} | {shown} |")
    for split, scores in scored["splits"].items():
        if "balanced_accuracy" in scores:
            lines.append(
                f"\n{split}: accuracy {_interval(scores['accuracy'])}, "
                f"balanced accuracy {_interval(scores['balanced_accuracy'])}."
            )
    baselines = scored["splits"][scored["shown_split"]]["baselines"]
    best = max(value for name, value in baselines.items() if not name.endswith(("precision", "accuracy")))
    cut = ", ".join(evaluation.cut_splits(scored))
    limit = f" Only the first {scored['limit_examples']:,} examples of {cut} were scored." if cut else ""
    return [*lines, f"\nThe best macro F1 without a model is {best:.3f} on {scored['shown_split']}.{limit}"]


def _unevaluated(run: runs.Run) -> list[str]:
    """Returns the scores that training wrote, without intervals."""
    if not run.metrics_json.exists():
        return []
    splits = json.loads(run.metrics_json.read_text()).get("splits", {})
    return ["", *(f"- {split}: macro F1 {scores['macro_f1']:.3f}" for split, scores in splits.items())]


def _interval(value: Mapping[str, float]) -> str:
    return f"{value['estimate']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _classes(run: runs.Run, scored: Mapping[str, Any] | None) -> list[str]:
    """Returns a list of the classes; for an evaluated run, a table with thresholds, positives and F1."""
    if scored is None:
        return [f"{index}. {name}" for index, name in enumerate(run.schema.classes)]
    split, rules, main = scored["shown_split"], list(scored["thresholds"]), evaluation.main_rule(scored)
    rows = scored["splits"][split]["rules"][main]["classes"]
    lines = [
        "| id | class | " + "".join(f"{rule} | " for rule in rules) + f"positives in {split} | F1 [95% interval] |",
        "|---:|---|" + "---:|" * len(rules) + "---:|---|",
    ]
    for index, (name, row) in enumerate(zip(run.schema.classes, rows, strict=True)):
        chosen = "".join(f"{scored['thresholds'][rule][index]:.3g} | " for rule in rules)
        f1 = f"{row['f1']:.3f} [{row['f1_low']:.3f}, {row['f1_high']:.3f}]"
        lines.append(f"| {index} | {name} | {chosen}{row['support']:,} | {f1} |")
    by_rule = f"\nThresholds are those that `model.evaluate` chose by each rule; F1 is for the rule {main}."
    return [*lines, *([by_rule] if rules else [])]


def _limits(run: runs.Run, scored: Mapping[str, Any] | None) -> list[str]:
    lines = [
        "- For research: to sort and search images of the kind it was trained on. Not for diagnosis.",
        "- Images must be prepared as the dataset's were: same channels in the same order, resized by area, values on the "
        "same scale. Other microscopes, stains, magnifications and cell lines were not measured.",
        "- Probabilities hold for images like those of train. If classes are more or less frequent, choose new thresholds.",
    ]
    if scored is None:
        return lines
    split = scored["splits"][scored["shown_split"]]
    rare = split["rules"][evaluation.main_rule(scored)]["classes"]
    names = [
        name for name, row in zip(run.schema.classes, rare, strict=True) if row["support"] < scored["min_positives"]
    ]
    if names:
        few = f"fewer than {scored['min_positives']} positives in {scored['shown_split']}"
        lines.append(f"- Unreliable scores, with {few}: {', '.join(names)}.")
    if not scored["dataset"]["num_grouped"]:
        lines.append("- The split was made without groups: images of one well or plate may be in both train and test.")
    return lines


def _licence(run: runs.Run, published: Mapping[str, Any]) -> list[str]:
    licence = run.schema.licence or "not stated by its schema"
    citation = str(published.get("citation") or run.schema.citation).strip()
    lines = [f"Images: {licence}. Code: Apache-2.0. The weights were learned from these images."]
    if run.schema.homepage:
        lines.append(f"Source: {run.schema.homepage}")
    return [*lines, *([f"\n```bibtex\n{citation}\n```"] if citation else ["\nThe dataset names no citation."])]
