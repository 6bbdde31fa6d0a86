"""Schemas: what TOML files declare, and every way in which they can be wrong."""

import dataclasses
from pathlib import Path

import pytest

from pipeline import schema
from pipeline.errors import InputError, MissingError
from pipeline.schema import HPA_KAGGLE_2018, Channel, Schema, parse, write
from pipeline.store import layout

ROOT = Path(__file__).parents[3]

SMALL = """
name = "small"
classes = ["a", "b"]
images.pattern = "{id}_{channel}.tif"
table = { file = "t.csv", id = "Id", labels = "Class" }
channels = [{ name = "dna" }, { name = "actin", colour = "magenta" }]
"""


def changed(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


def test_a_small_schema_has_the_declared_values():
    small = parse.parse(SMALL, "small.toml")
    assert small.channel_names == ("dna", "actin")
    assert [channel.colour for channel in small.channels] == ["#ffffff", "#ff00ff"]
    assert small.files("x") == ("x_dna.tif", "x_actin.tif")
    assert (small.dtype, small.max_value, small.single_label, small.needs_table) == ("uint8", 255, False, False)


def test_the_default_is_kaggles_set_of_2018():
    assert HPA_KAGGLE_2018.channel_names == ("red", "green", "blue", "yellow")
    assert HPA_KAGGLE_2018.num_classes == 28
    assert HPA_KAGGLE_2018.files("x") == ("x_red.png", "x_green.png", "x_blue.png", "x_yellow.png")
    assert HPA_KAGGLE_2018.columns == ("Id", "Target")


@pytest.mark.parametrize("name", schema.BUILT_IN)
def test_a_schema_survives_json_and_toml(name):
    declared = schema.load(name)
    assert Schema.from_dict(declared.to_dict()) == declared
    assert parse.parse(write.to_toml(declared, "a comment\nof two lines"), name) == declared


def test_the_example_is_a_schema_of_at_most_25_lines():
    path = ROOT / "examples/mitocheck.toml"
    assert len(path.read_text().splitlines()) <= 25
    assert schema.load(path).num_classes == 16


def test_only_the_default_schema_has_a_configuration_named_by_size_alone():
    small = parse.parse(SMALL, "small.toml")
    assert layout.config_name(HPA_KAGGLE_2018, 256) == "256"
    assert layout.config_name(small, 64) == "small-64"
    renamed = dataclasses.replace(HPA_KAGGLE_2018, classes=HPA_KAGGLE_2018.classes[:5])
    assert layout.config_name(renamed, 256) == "hpa_kaggle_2018-256"


def test_texts_and_colours_do_not_change_the_digest_of_pixels():
    small = parse.parse(SMALL, "small.toml")
    assert dataclasses.replace(small, description="other", classes=("c", "d")).digest() == small.digest()
    assert dataclasses.replace(small, depth="12").digest() != small.digest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed('name = "small"', 'name = "small"\nclases = []'), "unknown key 'clases': did you mean 'classes'?"),
        (
            changed('id = "Id"', 'id = "Id", q = 1'),
            "unknown key 'table.q': expected some of file, id, labels, separator",
        ),
        (changed('name = "small"', ""), "no name"),
        (changed('id = "Id", ', ""), "no table.id"),
        (changed('{ name = "dna" }', "{ }"), "channel 1: no name"),
        (changed('["a", "b"]', "3"), "classes is 3, expected a list of strings"),
        (changed('{ name = "dna" }', "{ name = 1 }"), "channels.name is 1, expected text"),
        (SMALL + '\nlabels = "one"', "labels is 'one', expected 'single' or 'multi'"),
        (SMALL + "\nimages.planes = true", "images.planes is True, expected a whole number"),
        ("channels = [1]", "channels is [1], expected a list of tables"),
        ("= 3", "not TOML ("),
        ("a = " + "[" * 3000, "not TOML ("),
    ],
)
def test_files_that_are_no_schema_are_refused(text, message):
    with pytest.raises(InputError) as caught:
        parse.parse(text, "some.toml")
    assert str(caught.value).startswith("some.toml: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "small"', 'name = "../x"', "name: expected letters, digits and '_', starting with a letter"),
        ('["a", "b"]', '["a"]', "1 classes, expected at least 2"),
        ('["a", "b"]', '["a", "a"]', "class 'a' is listed twice"),
        ('["a", "b"]', '["a", "b\\n"]', "class 'b\\n': expected a printable name"),
        ('["a", "b"]', '["a", "b c"]', "class 'b c' contains the separator ' ': set another table.separator"),
        ('[{ name = "dna" }, { name = "actin", colour = "magenta" }]', "[]", "no channels, expected at least one"),
        ('"actin"', '"dna"', "two channels are called 'dna'"),
        ('"dna"', '"d/na"', "channel 'd/na': expected letters, digits, '_', '.', '+' or '-' in its name"),
        ('"magenta"', '"pink"', "channel 'actin': colour is 'pink', expected #rrggbb or one of red, green"),
        ('"dna"', '"dna", plane = [1, 1]', "channel 'dna': planes [1, 1], expected different numbers from 0"),
        ('"dna"', '"dna", plane = -1', "channel 'dna': planes [-1], expected different numbers from 0"),
        ('"dna"', '"dna", range = [0, 9]', "channel 'dna': has a range, which only depth 'percentile' uses"),
        ("{id}_{channel}.tif", "{channel}.tif", "expected {id} or a column of the label table, by which examples differ"),
        ("{id}_{channel}.tif", "{id_{channel}.tif", "pattern '{id_{channel}.tif': "),
        ("{id}_{channel}.tif", "../{id}_{channel}", "expected a name inside the folder of the images"),
        ("{id}_{channel}.tif", "/x/{id}_{channel}", "expected a name inside the folder of the images"),
        ("{id}_{channel}.tif", "{id}.tif", "channels dna, actin share the file '{id}.tif': give each its plane"),
        ('images.pattern = "{id}_{channel}.tif"', "", "no pattern for the names of the files"),
        ('labels = "Class"', 'labels = "Id"', "table: the id and the labels are both column 'Id'"),
        ('labels = "Class"', 'labels = "Class", separator = ""', "table: the separator is empty"),
        ('labels = "Class"', 'labels = "Class", id_pattern = "{a"', "table: id_pattern '{a': "),
        ('labels = "Class"', 'labels = "Class", id_pattern = "{0}"', "expected names like {plate} in braces"),
        ('name = "small"', 'name = "small"\ndepth = "9"', "depth is '9', expected one of file, 8, 12, 16, percentile"),
    ],
)  # fmt: skip
def test_schemas_that_contradict_themselves_are_refused(old, new, message):
    with pytest.raises(InputError) as caught:
        parse.parse(changed(old, new), "some.toml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"percentiles": (9.0, 3.0)},
            r"percentiles \[9.0, 3.0\], expected \[lower, upper\] with 0 <= lower < upper <= 100",
        ),
        ({"file_planes": 100}, "files of 100 planes, expected 1 to 64"),
        ({"patterns": ("{id!r}_{channel}.tif",)}, "expected only a name in braces, without"),
        ({"channels": (Channel("dna", file=""), Channel("actin"))}, "channel 'dna': its file has an empty name"),
    ],
)
def test_values_out_of_range_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(parse.parse(SMALL, "small.toml"), **change)


def test_published_values_that_are_no_schema_are_refused():
    with pytest.raises(InputError, match="not a schema: "):
        Schema.from_dict({"name": "x", "channels": 3, "table": {}})


def test_a_plane_beyond_those_of_the_file_is_refused():
    text = changed('name = "dna"', 'name = "dna", plane = 3') + "\nimages.planes = 3"
    with pytest.raises(InputError, match=r"channel 'dna': planes \[3\], but files have 3, counted from 0"):
        parse.parse(text, "some.toml")


def test_patterns_must_put_the_same_channels_into_a_file():
    text = changed('"{id}_{channel}.tif"', '["{id}_{channel}.tif", "{id}.tif"]')
    text = text.replace('name = "dna"', 'name = "dna", plane = 0').replace('"actin"', '"actin", plane = 1')
    with pytest.raises(InputError, match="expected the same channels in a file by each of them"):
        parse.parse(text, "some.toml")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ((1, 9), None, r"channel 'actin': no range = \[low, high\], but other channels have one"),
        ((1, 9), (9, 9), r"channel 'actin': range \[9, 9\], expected \[low, high\] with 0 <= low < high <= 65535"),
    ],
)
def test_ranges_of_percentiles_are_checked(first, second, message):
    small = parse.parse(SMALL, "small.toml")
    with pytest.raises(InputError, match=message):
        dataclasses.replace(
            small, depth="percentile", channels=(Channel("dna", range=first), Channel("actin", range=second))
        )


def test_every_problem_is_named_at_once():
    text = changed('["a", "b"]', '["a", "a"]').replace('"magenta"', '"pink"')
    with pytest.raises(
        InputError, match=r"2 problems\n  class 'a' is listed twice\n  channel 'actin': colour is 'pink'"
    ):
        parse.parse(text, "some.toml")
    with pytest.raises(InputError, match=r"some.toml: 2 problems\n  unknown key 'x'.*\n  unknown key 'y'"):
        parse.parse("x = 1\ny = 2\n" + SMALL, "some.toml")


def test_a_schema_that_does_not_exist_is_named_with_those_that_do(tmp_path):
    with pytest.raises(
        MissingError, match="nowhere.toml: no such schema, expected a TOML file or one of hpa_kaggle_2018"
    ):
        schema.load("nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(InputError, match="latin.toml: not UTF-8 at byte 8; save the schema as UTF-8"):
        schema.load(tmp_path / "latin.toml")
