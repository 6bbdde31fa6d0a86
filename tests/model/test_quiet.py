"""Commands that compute print nothing of TensorFlow's own messages."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--resume", "--out", "RUN", "--data-dir", "DATA", "--epochs", "3"],
        ["evaluate", "RUN", "--splits", "dev"],
        ["report", "EVALUATED"],
        ["predict", "RUN", "--split", "dev", "--classes", "CLASSES"],
    ],
    ids=lambda command: command[0],
)
def test_standard_error_is_free_of_library_messages(command, run_copy, evaluated_copy, tiny_data_dir, tmp_path):
    paths = {
        "RUN": str(run_copy),
        "EVALUATED": str(evaluated_copy),
        "DATA": str(tiny_data_dir),
        "CLASSES": str(tmp_path / "classes.csv"),
    }
    arguments = [sys.executable, "-m", "hpa_cli", *(paths.get(word, word) for word in command)]
    # As a user has it: the tests set a level of their own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PYTHONWARN"))}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.replace("\r", "\n").split("\n") if line.strip()]
    assert [line for line in lines if "ex/s" not in line and not line.startswith(("next: ", "epoch "))] == []
