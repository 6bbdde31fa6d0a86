"""The model card states where a model's data, scores and thresholds come from, and what is not known."""

import json
from pathlib import Path

from model import runs
from model.scores.evaluation import sealed
from model.serving import card


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_a_card_has_the_data_and_its_digest(evaluated):
    run = runs.open_run(evaluated)
    data = section(card.text(run, "one", 32, ["model.keras"]), "Data")
    assert "| schema | hpa_kaggle_2018 |" in data
    assert "| dataset | hpa_stacked, version 1.1.0 |" in data
    assert "| images | synthetic: drawn by a program |" in data
    assert "| examples | train 192, dev 48, test 48 |" in data
    assert run.dataset["fingerprint"] in data


def test_the_digest_is_that_of_the_checksums(raw_run):
    from pipeline.dataset.publish import root_digest

    run = runs.open_run(raw_run)
    text = card.text(run, "one", 32, ["model.keras"])
    assert f"| digest of all files | `{root_digest(Path(run.dataset['path']))}` |" in text
    assert "Images: CC BY-SA 3.0." in section(text, "Licence and citation")
    assert "@article{ouyang2019analysis" in section(text, "Licence and citation")


def test_a_card_has_the_scores_and_thresholds_of_the_evaluation(evaluated):
    run = runs.open_run(evaluated)
    text, scored = card.text(run, "one", 32, ["model.keras"]), json.loads(
        (evaluated / "evaluation/evaluation.json").read_text()
    )  # fmt: skip
    interval = scored["splits"]["test"]["rules"]["fixed"]["interval"]
    row = f"| test | 0.5 | {interval['estimate']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}] |"
    assert row in section(text, "Scores")
    classes = section(text, "Classes and thresholds").splitlines()
    assert len([line for line in classes if line.startswith("| 2")]) == 9  # 2 and 20 to 27
    for rule, values in scored["thresholds"].items():
        column = [cell.strip() for cell in classes[1].split("|")].index(rule)
        assert classes[3].split("|")[column].strip() == f"{values[0]:.3g}"
    assert "fewer than 10 positives in test" in section(text, "Intended use and limits")
    assert "Rods & rings" in section(text, "Intended use and limits")
    assert text.startswith("# hpa_kaggle_2018: a classifier of 28 classes\n\n**SYNTHETIC")


def test_a_card_names_the_splits_that_were_scored_in_part(evaluated_copy):
    path = evaluated_copy / "evaluation/evaluation.json"
    scored = json.loads(path.read_text()) | {"limit_examples": 48}
    path.write_text(json.dumps(sealed(scored)))
    assert "Only the first" not in card.text(runs.open_run(evaluated_copy), "one", 32, ["model.keras"])
    scored["splits"]["train"]["num_examples"] = 48
    path.write_text(json.dumps(sealed(scored)))
    text = card.text(runs.open_run(evaluated_copy), "one", 32, ["model.keras"])
    assert " Only the first 48 examples of train were scored." in section(text, "Scores")


def test_a_run_that_was_not_evaluated_says_so(trained, evaluated_copy):
    text = card.text(runs.open_run(trained), "one", 32, ["model.keras"])
    assert "the run was not evaluated. `python -m model.evaluate" in section(text, "Scores")
    assert "- test: macro F1 0." in section(text, "Scores")
    other = card.text(runs.open_run(evaluated_copy), "d4", 32, ["model.keras"])
    assert "another checkpoint, or other views, were evaluated" in section(other, "Scores")


def test_a_dataset_that_has_moved_is_no_error(run_copy):
    config = json.loads((run_copy / "config.json").read_text())
    config["dataset"]["path"] = str(run_copy / "gone")
    (run_copy / "config.json").write_text(json.dumps(config))
    text = card.text(runs.open_run(run_copy), "one", 32, ["model.keras"])
    assert "| dataset | hpa_stacked, version unknown |" in text
    assert "| digest of all files | the dataset has moved |" in text
