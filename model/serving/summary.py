"""Summary of an evaluation as text for the terminal."""

from typing import Any

from model.scores.evaluation import cut_splits, main_rule, single_group_notice


def summary(evaluation: dict[str, Any]) -> str:
    """Returns scores, thresholds, baselines, absent classes and ablation of the content of `evaluation.json`."""
    parts = [
        _score_lines(evaluation),
        _limit_lines(evaluation),
        _group_lines(evaluation),
        _threshold_lines(evaluation),
        _baseline_lines(evaluation),
        _absent_lines(evaluation),
    ]
    if "ablation" in evaluation:
        parts.append(_ablation_lines(evaluation["ablation"]))
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _score_lines(evaluation: dict[str, Any]) -> list[str]:
    single_label, main = evaluation["dataset"]["single_label"], main_rule(evaluation)
    at_least = f">= {evaluation['min_positives']} positives"
    lines = _accuracy_lines(evaluation) if single_label else []
    lines += [f"{'' if single_label else 'at 0.5':<6}{'macro F1 [95% interval]':>28}{at_least:>34}{'mAP':>8}{'ECE':>8}"]
    for split, scores in evaluation["splits"].items():
        rule = scores["rules"][main]
        frequent = (
            f"{_interval(rule['macro_f1_frequent'])} ({scores['num_frequent']:2})" if scores["num_frequent"] else "-"
        )
        precision = scores["mean_average_precision"]
        lines.append(
            f"{split:<6}{_interval(rule['interval']):>28}{frequent:>34}"
            f"{'-' if precision is None else f'{precision:.4f}':>8}{scores['calibration']['expected_error']:>8.4f}"
        )
    return lines


def _limit_lines(evaluation: dict[str, Any]) -> list[str]:
    """Returns what limits the scores: parts of splits, and classes with few examples."""
    cut, num_classes = cut_splits(evaluation), len(evaluation["dataset"]["class_names"])
    lines = [f"scored: only the first {evaluation['limit_examples']:,} examples of {', '.join(cut)}"] if cut else []
    if any(scores["num_frequent"] < num_classes for scores in evaluation["splits"].values()):
        lines += [
            "A class that is never predicted counts as 0, while its interval includes every score that its few examples",
            "do not rule out: many such classes put the macro F1 near the lower end of its interval.",
        ]
    return lines


def _group_lines(evaluation: dict[str, Any]) -> list[str]:
    notice = single_group_notice(evaluation)
    return [f"{notice} 'python -m pipeline split --folds' tests every group."] if notice else []


def _accuracy_lines(evaluation: dict[str, Any]) -> list[str]:
    lines = [f"{'':<6}{'accuracy [95% interval]':>28}{'balanced accuracy':>34}"]
    for split, scores in evaluation["splits"].items():
        lines.append(f"{split:<6}{_interval(scores['accuracy']):>28}{_interval(scores['balanced_accuracy']):>34}")
    return [*lines, ""]


def _interval(interval: dict[str, float]) -> str:
    return f"{interval['estimate']:.4f} [{interval['low']:.4f}, {interval['high']:.4f}]"


def _threshold_lines(evaluation: dict[str, Any]) -> list[str]:
    splits = evaluation["splits"]
    if not evaluation["thresholds"] or "test" not in splits:
        return []
    lines = [f"{'thresholds':<28}{'dev':>8}{'test':>8}{'gap':>9}   macro F1"]
    for rule, scores in splits["test"]["rules"].items():
        dev, test = splits["dev"]["rules"][rule]["macro_f1"] if "dev" in splits else None, scores["macro_f1"]
        both = f"{test:>8.4f}" if dev is None else f"{test:>8.4f}{dev - test:>+9.4f}"
        lines.append(f"{rule:<28}{'-' if dev is None else f'{dev:.4f}':>8}{both}")
    return lines


def _baseline_lines(evaluation: dict[str, Any]) -> list[str]:
    names = {
        "all_positive": "every class for every image",
        "majority": "the most frequent class",
        "drawn_by_frequency": "drawn by class frequency",
        "constant_frequencies": "class frequencies at 0.5",
    }
    present = next(iter(evaluation["splits"].values()))["baselines"]
    lines = [f"{'without a model':<28}" + "".join(f"{split:>8}" for split in evaluation["splits"]) + "   macro F1"]
    for key, name in names.items():
        if key not in present:
            continue
        lines.append(
            f"{name:<28}" + "".join(f"{scores['baselines'][key]:>8.4f}" for scores in evaluation["splits"].values())
        )
    return lines


def _absent_lines(evaluation: dict[str, Any]) -> list[str]:
    return [
        f"{split}: none of the {scores['num_examples']:,} scored examples has {', '.join(scores['absent'])}: "
        "their F1 counts as 0, their average precision not at all"
        for split, scores in evaluation["splits"].items()
        if scores["absent"]
    ]


def _ablation_lines(ablation: dict[str, Any]) -> list[str]:
    lines = [f"{'blanked (' + ablation['split'] + ')':<28}{'macro F1':>9}   change [95% interval]"]
    for row in ablation["rows"]:
        change = _interval(row["change"]).replace("-0.0000", "0.0000") if row["change"] else ""
        lines.append(f"{', '.join(row['blanked']) or 'nothing':<28}{row['macro_f1']:>9.4f}   {change}")
    return lines
