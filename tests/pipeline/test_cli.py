import ast
import csv
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.support import syntax
from tests.support.csv_files import read_rows


def run(*args):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("command", ["sample", "audit", "fingerprint", "groups", "split", "shards", "verify"])
def test_every_command_explains_itself(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert command in run("--help").output


def test_shards_then_verify(source, tmp_path):
    result = run("shards", "--source", source.root, "--data-dir", tmp_path / "data", "--size", 16)
    assert result.exit_code == 0, result.output
    assert "train 15, dev 2, test 3 examples in 3 shards" in result.output
    assert run("verify", tmp_path / "data/hpa_stacked/16/1.1.0").stdout.count("1.1.0: intact\nroot: sha256:") == 1
    again = run(
        "shards", "--images", source.images, "--labels", source.table, "--data-dir", tmp_path / "data", "--size", 16
    )
    assert again.output.startswith("nothing to do:")


def test_verify_exits_with_1(source, tmp_path):
    run("shards", "--source", source.root, "--data-dir", tmp_path / "data", "--size", 16)
    path = tmp_path / "data/hpa_stacked/16/1.1.0"
    (path / "features.json").write_text("{}")
    result = run("verify", path)
    assert result.exit_code == 1
    assert "features.json: changed since it was published (its SHA-256 differs)" in result.output


def test_errors_are_one_line_and_exit_code_1(source, tmp_path):
    source.table.write_text("Id,Target\nex-0000,99\n")
    result = run("shards", "--source", source.root, "--data-dir", tmp_path / "data")
    assert result.exit_code == 1
    assert result.output == f"Error: {source.table}: row 2: id 'ex-0000' has label 99, expected 0..27 (Rods & rings)\n"


def test_options_that_neither_we_nor_beam_know_are_refused(source, tmp_path):
    for typed, advice in [
        (("--sourc", source.root), "did you mean --source?"),
        (("--data_dir=x", "--source", source.root), "did you mean --data-dir?"),
        (("--zzzz", "--source", source.root), "see --help"),
    ]:
        result = run("shards", *typed)
        name = typed[0].partition("=")[0]
        assert result.exit_code == 2
        assert f"Error: {name}: neither an option of this command nor of Beam; {advice}\n" in result.output
    assert "neither an option" in run("shards", "--source", source.root, "a-word-too-many").output


def test_options_of_beam_reach_beam(source, tmp_path):
    arguments = ("shards", "--source", source.root, "--data-dir", tmp_path / "data", "--size", 16)
    assert run(*arguments, "--runner=NoSuchRunner").exit_code == 1
    assert run(*arguments, "--runner=DirectRunner", "--job_name", "mine").exit_code == 0


def test_without_a_source_the_command_says_what_to_do():
    result = run("shards")
    assert result.exit_code == 2
    assert "name the input: --source DIR" in result.output


@pytest.mark.parametrize("bad", ["2", "-1%", "many"])
def test_max_bad_is_a_share(source, bad):
    result = run("shards", "--source", source.root, "--max-bad", bad)
    assert result.exit_code == 2
    assert "expected a share like 1% or 0.01" in result.output


def test_audit_reports_every_problem_and_exits_with_1(source):
    assert run("audit", "--source", source.root).exit_code == 0
    source.image("ex-0001", "red").unlink()
    source.image("ex-0002", "blue").write_bytes(b"")
    source.image("ex-0003", "blue").write_bytes(b"no image")
    quick = run("audit", "--source", source.root)
    assert quick.exit_code == 1
    assert "image 'ex-0001': channel 'red': missing_filter: no file ex-0001_red.png" in quick.output
    assert "examples with problems: 2 of 20" in quick.output
    deep = run("audit", "--source", source.root, "--deep", "--size", 16)
    assert "image 'ex-0003': channel 'blue': unreadable: not a PNG image" in deep.output
    assert "examples with problems: 3 of 20" in deep.output


def test_a_deep_audit_without_a_size_checks_for_one_that_the_first_image_has(source):
    deep = run("audit", "--source", source.root, "--deep")
    assert deep.exit_code == 0, deep.output
    assert "no problems\nchecked for a dataset of 32 pixels a side; --size checks for another\n" in deep.output
    assert "checked for" not in run("audit", "--source", source.root, "--deep", "--size", 16).output


def test_the_next_command_builds_in_a_size_that_the_images_have(source, tmp_path):
    assert f"shards --source {source.root} --size 32\n" in run("audit", "--source", source.root).output
    out = tmp_path / "split.csv"
    done = run("split", "--labels", source.table, "--out", out)
    assert f"shards --source {source.root} --size 32 --keep {out}\n" in done.output
    apart = tmp_path / "apart.csv"  # without images beside it
    apart.write_bytes(source.table.read_bytes())
    done = run("split", "--labels", apart, "--out", out)
    assert f"shards --source {tmp_path} --keep {out}\n" in done.output


def test_a_dataset_with_an_empty_split_is_warned_about(source, tmp_path):
    rows = [f"{example_id},{k % 2}" for k, example_id in enumerate(source.labels)]
    (tmp_path / "groups.csv").write_text("\n".join(["Id,Group", *rows]) + "\n")
    named = ("--source", source.root, "--data-dir", tmp_path / "data", "--size", 16)
    done = run("shards", *named, "--groups", tmp_path / "groups.csv")
    assert done.exit_code == 0, done.output
    assert " is empty: 2 groups for 3 splits\n" in done.output.partition("WARNING: ")[2]


def test_groups_name_the_next_command_with_a_size(source, tmp_path):
    fingerprints, out = tmp_path / "fingerprints.csv", tmp_path / "groups.csv"
    assert run("fingerprint", "--source", source.root, "--out", fingerprints).exit_code == 0
    done = run("groups", "--fingerprints", fingerprints, "--out", out, "--source", source.root)
    assert f"shards --source {source.root} --size 32 --groups {out}\n" in done.output


def test_split_writes_the_plan_and_its_report(source, tmp_path):
    out = tmp_path / "split.csv"
    result = run("split", "--labels", source.table, "--out", out, "--sizes", "10,5,5")
    assert result.exit_code == 0
    assert "largest deviation from the exact share" in result.output
    rows = read_rows(out)
    assert {row["Id"] for row in rows} == source.labels.keys()
    assert [sum(row["Split"] == split for row in rows) for split in ("train", "dev", "test")] == [10, 5, 5]
    assert (
        "expected three whole numbers like"
        in run("split", "--labels", source.table, "--out", out, "--sizes", "a").output
    )


def test_a_file_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "out").write_text("a file where a folder should be")
    result = run("split", "--labels", source.table, "--out", tmp_path / "out" / "split.csv")
    assert (result.exit_code, result.output) == (
        1, f"Error: {tmp_path}/out/split.csv: cannot be written (File exists)\n"
    )  # fmt: skip


def test_the_module_runs():
    done = subprocess.run([sys.executable, "-m", "pipeline", "--help"], check=True, capture_output=True, text=True)
    assert "python -m pipeline [OPTIONS] COMMAND" in done.stdout


def test_split_writes_a_page_beside_its_table(source, tmp_path):
    run("split", "--labels", source.table, "--out", tmp_path / "split.csv")
    assert "Split of" in (tmp_path / "split.html").read_text()
    run("split", "--labels", source.table, "--out", tmp_path / "split.csv", "--page", tmp_path / "other.html")
    assert (tmp_path / "other.html").read_text() == (tmp_path / "split.html").read_text()


def test_split_writes_one_table_for_each_fold(source, tmp_path):
    result = run("split", "--labels", source.table, "--folds", 4, "--out", tmp_path / "folds")
    assert result.exit_code == 0, result.output
    assert f"{tmp_path}/folds/fold-0.csv to fold-3.csv: one split for each fold" in result.output
    assert "Split of" in (tmp_path / "folds/folds.html").read_text()
    tables = [
        read_rows(tmp_path / f"folds/fold-{k}.csv") for k in range(4)
    ]  # fmt: skip
    assert all({row["Id"] for row in table} == source.labels.keys() for table in tables)
    assert sorted(row["Id"] for table in tables for row in table if row["Split"] == "test") == sorted(source.labels)


def test_shards_builds_the_very_split_of_a_fold(source, tmp_path):
    run("split", "--labels", source.table, "--folds", 2, "--out", tmp_path / "folds")
    fold, data = tmp_path / "folds/fold-1.csv", tmp_path / "data"
    built = run("shards", "--source", source.root, "--data-dir", data, "--size", 16, "--keep", fold)
    assert built.exit_code == 0, built.output
    assert next(data.glob("hpa_stacked/16/*/split.csv")).read_bytes() == fold.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", 1), "Invalid value for '--folds': 1 is not in the range x>=2"),
        (("--folds", 3, "--sizes", "10,5,5"), "--folds does not go with --sizes or --keep: all parts are new"),
        (("--folds", 3, "--keep", "old.csv"), "--folds does not go with --sizes or --keep: all parts are new"),
        (("--folds", 21), "21 folds of 20 examples: a fold needs at least one for test"),
    ],
)
def test_folds_that_cannot_be_are_refused(source, tmp_path, options, message):
    result = run("split", "--labels", source.table, "--out", tmp_path / "folds", *options)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "folds").exists()


def test_split_keeps_an_earlier_split(source, tmp_path):
    rows = dict(source.labels)
    source.write_table(list(rows.items())[:15])
    run("split", "--labels", source.table, "--out", tmp_path / "old.csv")
    source.write_table(rows.items())
    kept = run("split", "--labels", source.table, "--out", tmp_path / "new.csv", "--keep", tmp_path / "old.csv")
    assert "earlier split: 15 examples kept, 0 moved; 5 new ones placed" in kept.output
    old, new = [dict(csv.reader((tmp_path / name).read_text().splitlines())) for name in ("old.csv", "new.csv")]
    assert old.items() <= new.items()
    assert len(new) == 21


def test_shards_keeps_the_split_of_a_dataset_that_it_replaces(source, tmp_path):
    rows, data = list(source.labels.items()), tmp_path / "data"
    arguments = ("shards", "--source", source.root, "--data-dir", data, "--size", 16)

    def split():
        return dict(csv.reader(next(data.glob("hpa_stacked/16/*/split.csv")).read_text().splitlines()))

    source.write_table(rows[:14])
    run(*arguments)
    first = split()
    assert len(first) == 15
    source.write_table(rows[1:])
    grown = run(*arguments, "--overwrite")
    assert "earlier split: 13 examples kept, 0 moved; 6 new ones placed" in grown.output
    assert "no longer in the label table: 1 examples: ex-0000" in grown.output
    kept = split()
    assert all(kept[i] == of for i, of in first.items() if i in kept)
    assert run(*arguments).output.startswith("nothing to do:")
    again = run(*arguments, "--overwrite", "--num-shards", 1, "--seed", 3)
    assert "earlier split: 19 examples kept, 0 moved; 0 new ones placed" in again.output
    assert split() == kept
    new = run(*arguments, "--overwrite", "--resplit", "--seed", 3)
    assert "earlier split" not in new.output
    assert split() != kept
    named = run(*arguments, "--overwrite", "--keep", next(data.glob("hpa_stacked/16/*")))
    assert "19 examples kept, 0 moved; 0 new ones placed" in named.output
    both = run(*arguments, "--resplit", "--keep", tmp_path)
    assert "keep and resplit exclude each other: keep an earlier split, or split anew" in both.output


def test_another_table_or_another_seed_keeps_nothing(source, tmp_path):
    data = tmp_path / "data"
    arguments = ("shards", "--source", source.root, "--data-dir", data, "--size", 16, "--overwrite")
    rows = list(source.labels.items())
    source.write_table(rows[:10])
    run(*arguments)
    assert "earlier split" not in run(*arguments, "--seed", 1).output
    source.write_table(rows[6:])
    assert "earlier split" not in run(*arguments).output


def test_tables_reach_the_screen_neither_as_commands_nor_in_full(source, tmp_path):
    out = tmp_path / "split.csv"
    for text, expected in [
        ("Id,Target\nex-1,\x1b[2J\x1b]0;gone\x07\n", r"has label '\x1b[2J\x1b]0;gone\x07', expected a whole number"),
        ("Id,Target\n\x1b[31m,1\n", r"id '\x1b[31m' cannot be part of a file name"),
        ("Id,Goal" + ",c" * 1_000_000, "c,c,...', expected 'Id,Target'"),
        ("Id,Target\n" + "1," * 1_000_000, "1000001 columns, expected 2 like the header: '1,1,"),
        ("Id,Target\nex-1," + "9" * 100_000, "9..., expected 0..27"),
        ("Id,Target\n" + "i" * 100_000 + ",1", "iii' cannot be part of a file name"),
        ("\x1b[2J,b\n", r"the header is '\x1b[2J,b', expected 'Id,Target'"),
    ]:
        source.table.write_text(text)
        result = run("split", "--labels", source.table, "--out", out)
        assert result.exit_code == 1
        assert expected in result.output
        assert len(result.output) < 1000
        assert "\x1b" not in result.output
    assert not out.exists()


def test_a_failing_source_exits_with_3(source, tmp_path, monkeypatch):
    from pipeline.images import reading, sources

    def fail(folder, name, max_bytes):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sources.Folder, "read", fail)
    monkeypatch.setattr(reading.time, "sleep", lambda seconds: None)
    for command in (["shards", "--data-dir", tmp_path / "data", "--size", 16], ["audit", "--deep"]):
        result = run(*command, "--source", source.root)
        assert result.exit_code == 3
        assert "cannot be read after 4 tries (Input/output error)" in result.output


def test_a_tilde_means_home_in_every_path(source, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    table = f"~/{source.table.relative_to(tmp_path)}"
    assert run("split", "--labels", table, "--out", "~/split.csv").exit_code == 0
    assert (tmp_path / "split.csv").exists()
    missing = run("split", "--labels", "~/none.csv", "--out", "~/split.csv")
    assert missing.output.startswith(f"Error: {tmp_path}/none.csv: no such file")


@pytest.mark.parametrize("package", ["pipeline", "model"])
def test_no_option_takes_a_path_that_knows_no_tilde(package):
    found = [path for path, tree in syntax.trees(package).items() if "click.Path(" in ast.unparse(tree)]
    assert found == []


def test_a_drawn_source_is_built_apart_from_real_images(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    source.table.with_name("SYNTHETIC.txt").write_text("drawn")
    done = run("shards", "--source", source.root, "--size", 16)
    assert done.stdout.startswith("published build/synthetic/hpa_stacked/16/1.1.0\n")
    assert "python -m model.train --size 16 --smoke --data-dir build/synthetic\n" in done.stderr
