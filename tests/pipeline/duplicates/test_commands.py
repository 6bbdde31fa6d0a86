import imageio.v3 as iio
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.pipeline.duplicates.test_build import copy, damaged
from tests.support.sources import draw_source


def run(*args):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def source(tmp_path):
    source = draw_source(tmp_path / "source", 12)
    copy(source, "ex-0001", "zz-same")
    copy(source, "ex-0002", "zz-other", labels=(3, 4))
    return source


@pytest.fixture
def prints(source, tmp_path):
    result = run("fingerprint", "--source", source.root, "--out", tmp_path / "prints.csv", "--runner=DirectRunner")
    assert result.exit_code == 0, result.output
    assert "prints.csv: fingerprints of 14 examples, made in 1 parts" in result.output
    return tmp_path / "prints.csv"


def test_groups_of_a_table_alone(prints, tmp_path):
    result = run("groups", "--fingerprints", prints, "--out", tmp_path / "groups.csv")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "groups.csv").read_text().splitlines() == [
        "Id,Group", "ex-0001,ex-0001", "ex-0002,ex-0002", "zz-other,ex-0002", "zz-same,ex-0001"
    ]  # fmt: skip
    assert "2  pixels: other files with the same pixels" in result.output
    assert "labels" not in result.output
    assert len((tmp_path / "groups-pairs.csv").read_text().splitlines()) == 3


def test_pairs_whose_labels_differ_are_listed(source, prints, tmp_path):
    result = run("groups", "--fingerprints", prints, "--labels", source.table, "--out", tmp_path / "groups.csv")
    assert "1 pairs have different labels:\n  ex-0002 (" in result.output
    assert "and zz-other (Nucleoli fibrillar center, Nuclear speckles): pixels" in result.output


def test_groups_name_only_examples_of_the_label_table(source, prints, tmp_path):
    del source.labels["zz-other"]
    source.labels["unseen"] = (1,)
    source.write_table()
    result = run("groups", "--fingerprints", prints, "--labels", source.table, "--out", tmp_path / "groups.csv")
    assert "zz-other" not in (tmp_path / "groups.csv").read_text()
    assert "no pair has different labels" in result.output
    assert "1 examples of the label table have no fingerprint and were not compared" in result.output


def test_groups_are_joined_with_the_group_columns_of_the_schema(prints, tmp_path, source):
    schema = (tmp_path / "mine.toml").resolve()
    schema.write_text(SCHEMA)
    rows = [
        f"{i},{'a' if k % 2 else 'b'},{'w' if i in ('zz-same', 'ex-0011') else i}" for k, i in enumerate(source.labels)
    ]
    (tmp_path / "mine.csv").write_text("\n".join(["Id,Target,Well", *rows]) + "\n")
    args = ("--labels", tmp_path / "mine.csv", "--schema", schema, "--out", tmp_path / "groups.csv")
    result = run("groups", "--fingerprints", prints, *args)
    assert result.exit_code == 0, result.output
    groups = dict(line.split(",") for line in (tmp_path / "groups.csv").read_text().splitlines())
    assert groups["ex-0001"] == groups["zz-same"] == groups["ex-0011"] == "ex-0001"
    assert len(groups) == 1 + 5


SCHEMA = """
name = "mine"
classes = ["a", "b"]
[images]
folder = "train"
pattern = "{id}_{channel}.png"
[table]
file = "mine.csv"
id = "Id"
labels = "Target"
groups = ["Well"]
[[channels]]
name = "red"
[[channels]]
name = "green"
[[channels]]
name = "blue"
[[channels]]
name = "yellow"
"""


def test_the_sheet_shows_the_groups(source, prints, tmp_path):
    args = ("--fingerprints", prints, "--out", tmp_path / "groups.csv", "--sheet", tmp_path / "sheet.png")
    result = run("groups", *args, "--source", source.root)
    assert result.exit_code == 0, result.output
    assert iio.imread(tmp_path / "sheet.png", plugin="pillow").shape == (384, 384, 3)
    result = run("groups", *args)
    assert result.exit_code == 2
    assert "--sheet shows images and labels: name them with --source, or --images and --labels" in result.output


def test_fingerprints_of_another_schema_are_refused(source, tmp_path):
    table = damaged(tmp_path, lambda rows: rows)
    result = run("groups", "--fingerprints", table, "--labels", source.table, "--out", tmp_path / "groups.csv")
    assert result.exit_code == 1
    assert (
        "its channels are a, but schema 'hpa_kaggle_2018' has red, green, blue, yellow; name the schema of these fingerprints"
        in result.output
    )


def test_a_build_finds_groups_and_counts_extra_ids(source, tmp_path):
    args = ("--source", source.root, "--data-dir", tmp_path / "data", "--size", 16)
    result = run("shards", *args, "--groups", "auto")
    assert result.exit_code == 0, result.output
    (published,) = (tmp_path / "data").glob("hpa_stacked/16/*/groups.csv")
    assert len(published.read_text().splitlines()) == 5


def test_a_split_counts_ids_without_labels(source, tmp_path):
    (tmp_path / "groups.csv").write_text("Id,Group\nex-0001,g\nelsewhere,g\n")
    args = ("--labels", source.table, "--out", tmp_path / "split.csv", "--groups", tmp_path / "groups.csv")
    assert "id 'elsewhere' is not in the label table" in run("split", *args).output
    result = run("split", *args, "--groups-extra", "ignore")
    assert result.exit_code == 0, result.output
    assert f"1 ids of {tmp_path}/groups.csv are not in the label table and were ignored" in result.output
