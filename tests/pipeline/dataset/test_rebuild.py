"""`verify --source`: examples built again are those of the dataset, and whatever differs is named."""

import hashlib
import json
import re

import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.dataset import rebuild
from pipeline.errors import InputError
from pipeline.job import build, summary
from pipeline.schema import HPA_KAGGLE_2018
from pipeline.write import records
from tests.support.sources import config_for


@pytest.fixture
def dataset(source, tmp_path):
    return build(config_for(source, tmp_path / "data")).path


def compare(dataset, source, **settings):
    return rebuild.rebuild(dataset, source.table, source.images, HPA_KAGGLE_2018, **settings)


def verify_command(*arguments):
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


def test_examples_built_again_are_identical(dataset, source):
    seen = []
    assert compare(dataset, source, on_progress=lambda *done: seen.append(done)) == rebuild.Rebuilt(20, ())
    assert seen[-1] == (20, 20)
    assert compare(dataset, source, sample=5) == rebuild.Rebuilt(5, ())


def test_a_dataset_in_array_record_is_compared_too(source, tmp_path):
    path = build(config_for(source, tmp_path / "array", file_format="array_record")).path
    assert compare(path, source) == rebuild.Rebuilt(20, ())
    source.labels["ex-0003"] = (27,)
    source.write_table()
    assert any("but the label table says [27]" in problem for problem in compare(path, source).problems)


def test_the_sample_depends_on_the_ids_alone():
    ids = [f"ex-{k}" for k in range(100)]
    assert rebuild.choose(ids, 7) == rebuild.choose(ids[::-1], 7)
    assert set(rebuild.choose(ids, 7)) < set(rebuild.choose(ids, 8))
    assert sorted(rebuild.choose(ids, None)) == sorted(ids)


def test_a_changed_pixel_of_a_source_image_is_named(dataset, source):
    pixels = iio.imread(source.image("ex-0003", "blue"))
    pixels[0, 0] ^= 0x80
    iio.imwrite(source.image("ex-0003", "blue"), pixels, plugin="pillow")
    (problem,) = compare(dataset, source).problems
    assert re.fullmatch(
        r"id 'ex-0003': 1 of 1024 values of the image are not those that its files give \(by up to 32\)", problem
    )


def rewrite(dataset, change):
    """Writes the first shard of train again, with a changed first record."""
    path = next(dataset.glob("*train*-00000-*"))
    with open(path, "rb") as file:
        first, *rest = map(records.decode, records.read(file))
    changed = [change(first), *rest]
    path.write_bytes(b"".join(piece for record in changed for piece in records.frame(records.encode(*record))))
    return first.id


def test_other_labels_than_in_the_table_are_named(dataset, source):
    vector = records.label_vector((0, 5, 9, 11), 28)
    example_id = rewrite(dataset, lambda record: record._replace(labels=(0, 5, 9, 11), label_vector=vector))
    assert compare(dataset, source).problems == (
        f"id '{example_id}': labels [0, 5, 9, 11], but the label table says {list(source.labels[example_id])}",
        f"id '{example_id}': its label vector does not match the labels in the label table",
    )


def test_another_image_size_is_named(dataset, source):
    example_id = rewrite(dataset, lambda record: record._replace(image=bytes(64)))
    assert compare(dataset, source).problems == (f"id '{example_id}': image of 64 bytes, but its files give 1024",)


def test_an_image_that_is_gone_is_named(dataset, source):
    source.image("ex-0004", "red").unlink()
    assert compare(dataset, source).problems == ("id 'ex-0004': cannot be rebuilt: red: no file ex-0004_red.png",)


def test_ids_on_one_side_only_are_named(dataset, source):
    example_id = rewrite(dataset, lambda record: record._replace(id="ex-other"))
    lost, foreign = compare(dataset, source).problems
    assert lost.startswith(f"1 ids of the label table are not in {dataset}, expected 0 that were left out")
    assert f"id '{example_id}'" in lost
    assert foreign == "id 'ex-other': not in the label table"
    assert len(compare(dataset, source, sample=20).problems) == 1  # a sample says nothing about the ids


def test_examples_left_out_on_purpose_are_no_problem(source, tmp_path):
    source.image("ex-0003", "blue").write_bytes(b"")
    left_out = build(config_for(source, tmp_path / "a", on_error="quarantine", max_bad=0.1)).path
    assert compare(left_out, source) == rebuild.Rebuilt(19, ())
    source.image("ex-0003", "blue").write_bytes(source.image("ex-0003", "red").read_bytes())
    few = build(config_for(source, tmp_path / "b", max_examples=2)).path
    assert compare(few, source) == rebuild.Rebuilt(6, ())


def test_the_schema_is_the_one_recorded(dataset):
    assert rebuild.published_schema(dataset) == HPA_KAGGLE_2018
    metadata = json.loads((dataset / "metadata.json").read_text())
    del metadata["schema"]
    (dataset / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=r"holds no schema \(KeyError\), so the examples cannot be rebuilt; name the"):
        rebuild.published_schema(dataset)
    (dataset / "metadata.json").write_text(json.dumps(metadata | {"dataset_version": "1.0.0"}))
    assert rebuild.published_schema(dataset) == HPA_KAGGLE_2018


def test_the_command_compares_and_prints_the_root_digest(dataset, source, tmp_path):
    root = "root: sha256:" + hashlib.sha256((dataset / "SHA256SUMS").read_bytes()).hexdigest()
    done = verify_command(dataset, "--source", source.root)
    assert (done.exit_code, done.stdout) == (
        0, f"{dataset}: intact, 20 examples built again: identical\n{root}\n"
    )  # fmt: skip
    assert verify_command(dataset).stdout == f"{dataset}: intact\n{root}\n"
    assert "intact, 3 examples" in verify_command(dataset, "--source", source.root, "--sample", 3).stdout
    config = config_for(source, tmp_path / "data")
    assert f"  {root}\n" in summary(config, build(config))


def test_the_command_names_differences_and_exits_with_1(dataset, source):
    pixels = np.zeros((32, 32), np.uint8)
    iio.imwrite(source.image("ex-0003", "blue"), pixels, plugin="pillow")
    done = verify_command(dataset, "--source", source.root, "--schema", "hpa_kaggle_2018")
    assert done.exit_code == 1
    assert "id 'ex-0003': " in done.stdout
    assert f"{dataset}: 1 problem\n" in done.stderr
    assert "root:" not in done.stdout


def test_a_source_that_is_missing_is_refused_before_anything_is_read(dataset, source):
    missing = verify_command(dataset, "--source", source.root / "none")
    assert (missing.exit_code, missing.stderr) == (1, f"Error: {source.root / 'none'}: no such folder or zip file\n")


def test_a_sample_of_nothing_is_refused(dataset):
    done = verify_command(dataset, "--sample", 3)
    assert done.exit_code == 2
    assert "--sample and --schema need --source, the images to compare with" in done.stderr
