import re
import zipfile

import pytest

from pipeline.errors import InputError
from pipeline.images import sources
from pipeline.plan import manifest
from pipeline.plan.table import Example, read_groups, read_labels


def read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "train.csv"
    path.write_bytes(text.encode(encoding))
    return read_labels(path)


def test_labels_are_sorted_and_examples_are_in_order_of_their_ids(tmp_path):
    assert read(tmp_path, "Id,Target\nb,16 0\na,5\n") == [Example("a", (5,)), Example("b", (0, 16))]


def test_byte_order_mark_and_crlf_are_accepted(tmp_path):
    assert read(tmp_path, "Id,Target\r\na,5\r\n", "utf-8-sig") == [Example("a", (5,))]


def test_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"train\.csv: no such file, expected a CSV with the header 'Id,Target'"):
        read_labels(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty, expected the header 'Id,Target'"),
        ("Id,Target\n", "no rows after the header, expected one example a row like 'some-id,16 0'"),
        ("id;target\na,1\n", "the header is 'id;target', expected 'Id,Target'"),
        ("Id,Target\na,1\na,2\n", "row 3: id 'a' is already in row 2; keep one of them"),
        ("Id,Target\na,1\n\nb,2\n", "row 3: blank row; remove it"),
        ("Id,Target\na,1,2\n", "row 2: 3 columns, expected 2 like the header: 'a,1,2'"),
        ("Id,Target\na,x\n", "row 2: id 'a' has label 'x', expected a whole number 0..27"),
        ("Id,Target\na,-1\n", "row 2: id 'a' has label '-1', expected a whole number 0..27"),
        ("Id,Target\na,28\n", "row 2: id 'a' has label 28, expected 0..27 (Rods & rings)"),
        ("Id,Target\na,3 5 3\n", "row 2: id 'a' has label 3 more than once"),
        ("Id,Target\na,\n", "row 2: id 'a' has no labels, expected class ids 0..27 separated by spaces"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path / 'train.csv'))}: {re.escape(message)}$"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "bad", ["a//b", "/a", "a/", "../a", "a/../b", "a..b", "a\0b", "-rf", ".hidden", "", "a b", "é", "x" * 201]
)
def test_ids_that_cannot_be_file_names_are_refused(tmp_path, bad):
    expected = re.escape(f"row 2: id {bad[:120]!r} cannot be part of a file name; expected letters, digits")
    with pytest.raises(InputError, match=expected):
        read(tmp_path, f"Id,Target\n{bad},1\n")


def test_a_table_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(InputError, match="not UTF-8 at byte 10; save the table as UTF-8 CSV"):
        read(tmp_path, "Id,Target\né,1\n", "latin-1")


def test_all_bad_rows_are_reported_at_once_capped_at_ten(tmp_path):
    rows = "".join(f"id{k},99\n" for k in range(13))
    with pytest.raises(InputError, match=r"13 bad rows(\n  row \d+: .*){10}\n  \.\.\. and 3 more$"):
        read(tmp_path, "Id,Target\n" + rows)


def test_drawn_and_real_examples_cannot_be_mixed(source):
    source.labels["synthetic-1"] = (0,)
    source.write_table()
    with pytest.raises(
        InputError,
        match="1 of 21 ids start with 'synthetic-'; drawn and real examples cannot be mixed: build them separately",
    ):
        manifest.read(source.table, sources.open_images(source.images))


def test_fingerprint_ignores_row_order_and_zip_but_not_labels_sizes_or_parameters(source, tmp_path):
    def fingerprint(images=source.images, **parameters):
        return manifest.read(source.table, sources.open_images(images)).fingerprint(**parameters)

    before = fingerprint(seed=0)
    archive = tmp_path / "train.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in source.images.iterdir():
            file.write(path, path.name)
    assert fingerprint(archive, seed=0) == before
    source.write_table(reversed(source.labels.items()))
    assert fingerprint(seed=0) == before
    assert fingerprint(seed=1) != before
    with open(source.image("ex-0003", "blue"), "ab") as file:
        file.write(b"x")
    changed = fingerprint(seed=0)
    assert changed != before
    source.labels["ex-0001"] = (27,)
    source.write_table()
    assert fingerprint(seed=0) not in (before, changed)


def test_missing_and_unlisted_images_are_counted(source):
    source.image("ex-0002", "yellow").rename(source.image("other", "yellow"))
    (source.images / "notes.txt").write_text("")
    found = manifest.read(source.table, sources.open_images(source.images))
    assert [str(missing) for missing in found.missing] == ["no file ex-0002_yellow.png"]
    assert found.num_unlisted == 1


def test_groups_name_known_ids_once(tmp_path):
    examples = [Example("a", (0,)), Example("b", (1,))]
    path = tmp_path / "groups.csv"
    path.write_text("Id,Group\na,g\n")
    assert read_groups(path, examples).of == {"a": "g"}
    path.write_text("Id,Group\na,g\na,h\nc,g\nb,\n")
    with pytest.raises(
        InputError, match="(?s)3 bad rows.*id 'a' already has a group.*id 'c' is not in the label.*'b,'"
    ):
        read_groups(path, examples)


def test_a_folder_in_place_of_the_table_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: is a folder, expected a CSV with the header 'Id,Target'"):
        read_labels(tmp_path)


def test_a_table_that_is_not_csv_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"train\.csv: not a CSV \(field larger than field limit"):
        read(tmp_path, f"Id,Target\n{'x' * 200_000},1\n")


def test_a_row_of_the_groups_without_a_group_is_refused(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("Id,Group\nb,\n")
    with pytest.raises(InputError, match=r"groups\.csv: row 2: expected 'id,group', found 'b,'$"):
        read_groups(path, [Example("b", (1,))])
