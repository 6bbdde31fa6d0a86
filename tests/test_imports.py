"""Which room may import which, and how large its modules, folders and functions are."""

import subprocess
import sys

import pytest

from tests.support import syntax

PACKAGES = ("pipeline", "hpa_cli", "hpa_tfds", "model", "bench")

HEAVY = [
    "apache_beam",
    "highspy",
    "hpa_tfds",
    "keras",
    "model",
    "numpy",
    "pipeline",
    "tensorflow",
    "tensorflow_datasets",
]

BEAM = {
    "pipeline/write/transforms.py": "at the top",
    "pipeline/write/runners.py": "lazily",
    "pipeline/job.py": "lazily",
}
"""The modules of `pipeline` that may import Beam, and where."""

FOR_MODEL = (
    *("errors", "progress", "threads", "console", "options", "data_dirs"),
    *("schema", "store.files", "images", "plan.grouping"),
)
"""What `model` may import from `pipeline`."""


def imported_after(*statements: str) -> list[set[str]]:
    """Returns which heavy packages a fresh interpreter has imported after each statement."""
    report = f"print('heavy', *sorted({{name.partition('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
    code = "\n".join(["import sys", *(f"{statement}\n{report}" for statement in statements)])
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return [set(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("heavy")]


def of_package(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_making_data_imports_only_what_each_step_needs(source, tmp_path):
    build = (
        "from pathlib import Path; from pipeline import job; "
        f"job.build(job.BuildConfig(Path({str(source.table)!r}), Path({str(source.images)!r}), "
        f"Path({str(tmp_path / 'data')!r}), size=16))"
    )
    help_text, job, worker, built = imported_after(
        "from click.testing import CliRunner; from pipeline.cli import main; CliRunner().invoke(main, ['-h'])",
        "import pipeline.job, pipeline.cli, pipeline.dataset.verify, pipeline.dataset.audit",
        "import pipeline.write.transforms",
        build,
    )
    assert help_text == {"pipeline"}
    assert job == {"numpy", "pipeline"}
    assert worker == {"apache_beam", "numpy", "pipeline"}
    assert not built & {"hpa_tfds", "keras", "model", "tensorflow"}
    assert (tmp_path / "data/hpa_stacked/16/1.1.0/dataset_info.json").exists()


def test_registering_the_dataset_imports_neither_beam_nor_tensorflow():
    (found,) = imported_after("import hpa_tfds")
    assert found == {"hpa_tfds", "numpy", "pipeline", "tensorflow_datasets"}


def test_pipeline_imports_no_other_room_and_neither_tensorflow_nor_keras():
    forbidden = ("hpa_tfds", "model", "bench", "tests", "tensorflow", "keras")
    assert [found for found in syntax.imports("pipeline") if of_package(found.name, *forbidden)] == []


def test_only_the_steps_that_run_on_beam_import_it():
    found = [found for found in syntax.imports("pipeline") if of_package(found.name, "apache_beam")]
    assert found
    assert {found.by for found in found} <= BEAM.keys()
    assert [found for found in found if BEAM[found.by] == "lazily" and not found.lazy] == []


@pytest.mark.parametrize("package", ["hpa_tfds", "model"])
def test_readers_import_neither_beam_nor_each_other(package):
    forbidden = ("apache_beam", "bench", "tests", "model" if package == "hpa_tfds" else "hpa_tfds")
    assert [found for found in syntax.imports(package) if of_package(found.name, *forbidden)] == []


def test_model_takes_from_pipeline_only_what_is_light():
    allowed = [f"pipeline.{name}" for name in FOR_MODEL]
    found = [found for found in syntax.imports("model") if of_package(found.name, "pipeline")]
    assert found
    assert [found for found in found if not of_package(found.name, *allowed)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_only_the_store_asks_which_kind_of_place_it_has(package):
    found = syntax.isinstance_checks(package, "Path", "ObjectPath")
    assert [line for line in found if not line.startswith("pipeline/store/")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_have_at_most_15_modules_and_none_is_called_utils(package):
    paths = syntax.trees(package)
    folders = [path.rpartition("/")[0] for path in paths]
    assert {folder: folders.count(folder) for folder in folders if folders.count(folder) > 15} == {}
    assert [path for path in paths if path.endswith("/utils.py")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_have_at_most_45_lines(package):
    assert {name: lines for name, lines in syntax.functions(package) if lines > 45} == {}
