"""Where the figures come from: the datasets, and the commands that reproduce the runs."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.page.evaluated import EvaluatedRun
from pipeline.console.called import INSTALLED


def datasets(loaded: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """Returns the card of each dataset that the runs were scored on, once each."""
    cards = {run.evaluation["dataset"]["fingerprint"]: run.evaluation["dataset"] for run in reversed(loaded)}
    return list(reversed(cards.values()))


def reproduction(loaded: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """Returns commands, code, versions and settings of each run."""
    return [_reproduction(run) for run in loaded]


def _reproduction(run: EvaluatedRun) -> dict[str, Any]:
    commit = run.run.config["git_commit"] or "unknown"
    return {
        "run": run.name,
        "commands": commands(run),
        "commit": commit.removesuffix("+"),
        "uncommitted_changes": commit.endswith("+"),
        "versions": run.run.config["versions"],
        "checkpoint_sha256": run.evaluation["checkpoint_sha256"],
        "settings": json.dumps(run.run.config["settings"], indent=2),
    }


def commands(run: EvaluatedRun) -> list[str]:
    """Returns the command that trained the run, and the one that scored it."""
    train, module, arguments = _programs(run.run.config["command"])
    score = [f"{module}evaluate", shlex.quote(str(run.run.path)), "--views", run.evaluation["views"]]
    score += ["--splits", ",".join(run.splits)]
    limit = run.evaluation["limit_examples"]
    if limit != run.run.settings.limit_examples:
        score += ["--limit", str(limit)]
    return [" ".join([train, *map(shlex.quote, arguments)]), " ".join(score)]


def _programs(command: Sequence[str]) -> tuple[str, str, list[str]]:
    """Returns how `train` was called, the prefix that calls other commands the same way, and the arguments."""
    program, *arguments = command
    path = Path(program)
    if path.name == INSTALLED:
        return f"{INSTALLED} train", f"{INSTALLED} ", arguments[1:]
    module = "python -m model."
    if path.parent.name == "hpa_cli":
        return f"{module}train", module, arguments[1:]
    return f"{module}train" if path.name == "train.py" else shlex.quote(program), module, arguments
