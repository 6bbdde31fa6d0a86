import json

import pytest

from model.scores import evaluation
from pipeline.errors import InputError


def test_an_evaluation_that_was_changed_by_hand_is_refused(tmp_path):
    (tmp_path / "evaluation").mkdir()
    changed = {"format": evaluation.FORMAT, "sha256": "0" * 64, "splits": {}}
    (tmp_path / "evaluation/evaluation.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="changed since it was written; run 'python -m model.evaluate .*' again"):
        evaluation.load(tmp_path)


@pytest.mark.parametrize(
    ("num_groups", "expected"),
    [
        ((8, 2, 4), ""),
        ((8, 2, 1), "Test is a single group (plate): its interval does not include differences between groups."),
        (
            (8, 1, 1),
            "Dev and test are a single group each (plate): their intervals do not include differences between groups.",
        ),
    ],
)
def test_splits_of_a_single_group_have_a_notice(num_groups, expected):
    described = [{"num_examples": 40, "num_groups": num} for num in num_groups]
    splits = dict(zip(("train", "dev", "test"), described, strict=True))
    found = {"dataset": {"group_columns": ["plate"]}, "splits": splits}
    assert evaluation.single_group_notice(found) == expected


def test_a_single_example_or_an_unnamed_column_needs_no_words():
    splits = {"dev": {"num_examples": 1, "num_groups": 1}, "test": {"num_examples": 2, "num_groups": 1}}
    assert evaluation.single_group_notice({"dataset": {}, "splits": splits}).startswith("Test is a single group: its")
