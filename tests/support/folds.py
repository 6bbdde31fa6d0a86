"""Results of a cross-validation that no run has made."""

from typing import Any

TEST = {"macro_f1": 0.7, "balanced_accuracy": 0.71, "accuracy": 0.75, "calibration_error": 0.05}


def scheme(words: str, macro_f1: float, *, baseline: bool = True) -> dict[str, Any]:
    """Returns the results of two folds of three classes."""
    test = {**TEST, "macro_f1": macro_f1}
    folds = [
        {
            "fold": number,
            "num_examples": {"train": 1400, "dev": 200, "test": 6 + number},
            "num_groups": 3,
            "epochs": 2,
            "images_seen": 60_000 + number,
            "train_seconds": 90.0,
            "git_commit": "a" * 40,
            "test": test,
            "test_interval": {"estimate": macro_f1, "low": 0.5, "high": 0.9},
            "absent": ["<hole>"] if number else [],
            "dev_macro_f1": 0.6,
            "curve": [
                {"images": 100 * (k + 1), "loss": 2.0 - k, "dev_loss": 1.0 - k / 2, "dev_macro_f1": 0.25 + number / 2}
                for k in range(2)
            ],
        }
        for number in range(2)
    ]
    mean = {name: {"mean": value, "deviation": 0.02} for name, value in test.items()}
    found = {
        "words": words,
        "folds": folds,
        "mean": mean,
        "together": {
            **test,
            "macro_f1": macro_f1 + 0.01,
            "num_examples": 13,
            "classes": [0.5, 0.25, 1.0],
            "confusion": [[4, 1, 0], [0, 5, 0], [1, 0, 2]],
            "bins": {"count": [0, 12], "mean": [0.0, 0.8], "share": [0.0, 0.7]},
        },
    }
    if baseline:
        found["baseline"] = {"folds": [{"fold": k, "test": TEST} for k in range(2)], "mean": mean}
    return found


def results(*, schemes: tuple[str, ...] = ("grouped", "random"), baseline: bool = True) -> dict[str, Any]:
    """Returns results as `model.cells` writes them."""
    all_schemes = {
        "grouped": scheme("by plate", 0.7, baseline=baseline),
        "random": scheme("at random", 0.85, baseline=baseline),
    }
    found = {
        "date": "2026-01-31",
        "git_commit": "0123456789abcdef",
        "command": "python -m model.cells --source nuclei",
        "hardware": "tensorflow on CPU; 2 cores, 2 runs at a time",
        "versions": {"keras": "3"},
        "schema": "nuclei",
        "num_folds": 2,
        "budget": 60_000,
        "class_names": ["interphase", "metaphase", "<hole>"],
        "num_examples": 13,
        "settings": {},
        "schemes": {name: all_schemes[name] for name in schemes},
        "published": [{"what": "others", "random": 0.75, "grouped": None}],
    }
    if len(schemes) == 2:
        found["leakage"] = {"macro_f1": {"estimate": 0.15, "low": 0.1, "high": 0.2}, "num_groups": 6}
    return found
