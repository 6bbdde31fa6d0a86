"""The import rule of ARCHITECTURE.md, seen from fresh interpreters."""

import json
import subprocess
import sys

import pytest

CODE = """
import json, sys
{statement}
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}} & set({packages!r}))))
"""
HEAVY = ["apache_beam", "highspy", "hpa_tfds", "keras", "model", "pipeline", "tensorflow", "tensorflow_datasets"]


def imported(statement: str) -> set[str]:
    code = CODE.format(statement=statement, packages=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_job_imports_neither_the_builder_nor_the_model_nor_tensorflow():
    assert imported("import pipeline.job, pipeline.cli, pipeline.dataset.verify, pipeline.dataset.audit") == {
        "pipeline"
    }


def test_a_worker_imports_neither_tensorflow_nor_keras():
    assert imported("import pipeline.write.transforms") == {"apache_beam", "pipeline"}


def test_making_data_never_imports_tensorflow(source, tmp_path):
    statement = (
        "from pathlib import Path; from pipeline import job; from pipeline.config import BuildConfig; "
        f"job.build(BuildConfig(Path({str(source.table)!r}), Path({str(source.images)!r}), "
        f"Path({str(tmp_path / 'data')!r}), size=16))"
    )
    assert not imported(statement) & {"tensorflow", "keras", "hpa_tfds", "model"}


def test_registering_the_dataset_imports_neither_beam_nor_tensorflow():
    assert imported("import hpa_tfds") == {"hpa_tfds", "pipeline", "tensorflow_datasets"}


def test_the_command_line_answers_without_the_libraries_of_the_job():
    statement = "from click.testing import CliRunner; from pipeline.cli import main; CliRunner().invoke(main, ['-h'])"
    assert imported(statement) == {"pipeline"}
    code = f"{statement}; import sys; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("package", ["pipeline", "hpa_tfds", "model"])
def test_no_module_is_called_utils(package):
    import pathlib

    root = pathlib.Path(__file__).parents[1] / package
    assert not list(root.rglob("utils.py"))
