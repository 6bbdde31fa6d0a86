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
