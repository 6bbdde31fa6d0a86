"""Looking at a source: the draft of a schema, the check against one, the ranges of its values."""

import csv
import zipfile

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from pipeline import schema
from pipeline.cli import main
from pipeline.errors import InputError, MissingError
from pipeline.images import sources
from pipeline.plan import manifest, table
from pipeline.schema import write
from pipeline.source import ranges
from pipeline.source.draft import draft
from pipeline.source.fitting import fitting_size
from tests.support.atlases import draw_painting
from tests.support.sources import draw_source


def run(*arguments):
    return CliRunner().invoke(main, ["schema", *map(str, arguments)])


def write_table(path, *rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_kaggles_layout_is_drafted(source):
    drafted = draft(source.root)
    assert drafted.patterns == ("{id}_{channel}.png",)
    assert set(drafted.channel_names) == {"red", "green", "blue", "yellow"}
    assert (drafted.folder, drafted.table.file, drafted.table.id, drafted.table.labels) == (
        "train", "train.csv", "Id", "Target"
    )  # fmt: skip
    assert (drafted.table.numbers, drafted.single_label, drafted.depth) == (True, False, "file")


def test_files_named_by_plate_and_well_are_drafted(tmp_path):
    atlas = draw_painting(tmp_path / "source")
    drafted = draft(atlas.root)
    assert drafted.patterns == ("{plate}/{well}_{channel}.tif",)
    assert set(drafted.channel_names) == set(atlas.schema.channel_names)
    assert (drafted.table.id, drafted.table.labels, drafted.table.separator) == ("Well id", "Found", ";")
    assert set(drafted.classes) == set(atlas.schema.classes)
    assert (drafted.depth, drafted.table.groups, drafted.folder) == ("12", ("plate",), "tiffs")


def test_files_of_several_planes_and_single_labels_are_drafted(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for k in range(5):
        tifffile.imwrite(
            tmp_path / f"c{k}.tif", rng.integers(0, 60_000, (3, 8, 8), dtype=np.uint16), photometric="minisblack"
        )
        rows.append([f"c{k}.tif", ["alive", "dead cell"][k % 2]])
    write_table(tmp_path / "cells.csv", ["file", "state"], *rows)
    drafted = draft(tmp_path)
    assert drafted.patterns == ("{id}",)
    assert [channel.planes for channel in drafted.channels] == [(0,), (1,), (2,)]
    assert (drafted.single_label, drafted.classes, drafted.depth) == (True, ("alive", "dead cell"), "16")
    assert "# The id, column 'file', is the name of the file: pattern = \"{id}\".\n" in run("init", tmp_path).output


def test_a_draft_is_written_once_and_fits_its_source(tmp_path):
    atlas = draw_painting(tmp_path / "source")
    out = tmp_path / "drafted.toml"
    done = run("init", atlas.root, "--out", out)
    assert done.exit_code == 0, done.output
    assert f"next: python -m pipeline schema check --schema {out} --source {atlas.root}" in done.output
    assert schema.load(out) == draft(atlas.root, name="drafted")
    assert "is the name of the file" not in out.read_text()
    assert f"{out}: exists already; remove it or name another file" in run("init", atlas.root, "--out", out).output
    checked = run("check", "--schema", out, "--source", atlas.root)
    assert checked.stdout.endswith("matches\n"), checked.output
    assert "\nopened 5 of 24 examples; 'python -m pipeline audit --deep' opens all\n" in checked.output
    assert '\nchannels that still have shows = "?": 5\n' in checked.output
    assert "DNA                           24 of 24 files found" in checked.output
    assert "24 examples in 6 groups (plate)" in checked.output


def test_what_cannot_be_drafted_is_said(tmp_path):
    with pytest.raises(MissingError, match="no label table, expected a CSV beside the images"):
        draft(tmp_path)
    write_table(tmp_path / "a.csv", ["Id", "Class"], ["x1", "a"], ["x2", "b"], ["x3", "b"])
    with pytest.raises(InputError, match="no images, expected files that end in .png, .jpg"):
        draft(tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "other.png")
    with pytest.raises(
        InputError, match=r"no column of the table occurs in the names of the images \(the first is other"
    ):
        draft(tmp_path)
    for k in (1, 2, 3):
        (tmp_path / f"x{k}.png").write_bytes(b"")
    (tmp_path / "other.png").unlink()
    with pytest.raises(InputError, match="none of its first 3 images could be decoded"):
        draft(tmp_path)
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(InputError, match=r"2 tables \(a.csv, b.csv\); name the label table with --table"):
        draft(tmp_path)
    with pytest.raises(InputError, match="expected a CSV with a header, a column of ids, one of labels, and rows"):
        draft(tmp_path, "b.csv")
    (tmp_path / "b.csv").write_bytes(b"Id,\xe9\n")
    with pytest.raises(InputError, match="b.csv: not UTF-8 at byte 3; save the table as UTF-8 CSV"):
        draft(tmp_path, "b.csv")


def test_tables_without_ids_or_labels_cannot_be_drafted(tmp_path):
    for name in ("x1", "x2"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"{name}.png")
    write_table(tmp_path / "a.csv", ["well", "kind"], ["x1", "a"], ["x1", "a"], ["x2", "b"], ["x2", "b"])
    with pytest.raises(
        InputError, match="every column of the table repeats values, expected one with an id for each row"
    ):
        draft(tmp_path)
    write_table(tmp_path / "a.csv", ["Id", "note"], ["x1", "p"], ["x2", "q"])
    with pytest.raises(InputError, match="no column could hold labels; name it in a schema written by hand"):
        draft(tmp_path)


def test_what_does_not_match_is_named(source):
    source.image("ex-0001", "red").unlink()
    source.image("ex-0002", "blue").write_bytes(b"")
    (source.images / "stray_red.png").write_bytes(b"")
    done = run("check", "--source", source.root)
    assert done.exit_code == 1
    assert "red                           19 of 20 files found" in done.output
    assert "image files of ids that are not in the label table: 1" in done.output
    assert "image 'ex-0001': no file ex-0001_red.png" in done.output
    assert "image 'ex-0002': blue: empty: the file has 0 bytes" in done.output
    assert done.output.endswith("2 problems\n")
    source.image("ex-0001", "red").write_bytes(source.image("ex-0003", "red").read_bytes())
    assert run("check", "--source", source.root).output.endswith("\n1 problem\n")


def test_the_range_is_between_the_percentiles_of_all_pixels(tmp_path):
    atlas = draw_painting(tmp_path / "source", num=8, largest=3000)
    (tmp_path / "painting.toml").write_text(write.to_toml(atlas.schema))
    out = tmp_path / "measured.toml"
    done = run(
        "range", "--schema", tmp_path / "painting.toml", "--source", atlas.root, "--percentiles", 1, 99, "--out", out
    )
    assert done.exit_code == 0, done.output
    assert f"next: python -m pipeline shards --source {atlas.root} --schema {out} --size 32\n" in done.output
    measured = schema.load(out)
    assert (measured.depth, measured.percentiles) == ("percentile", (1.0, 99.0))
    for index, channel in enumerate(measured.channels):
        every = np.stack([pixels[index] for pixels in atlas.pixels.values()])
        assert channel.range == tuple(np.percentile(every, (1, 99), method="inverted_cdf"))


@pytest.mark.parametrize(("side", "size"), [(20, 20), (40, 32), (200, 192), (256, 256), (300, 256)])
def test_a_fitting_size_is_the_default_or_what_the_first_image_has(tmp_path, side, size):
    source = draw_source(tmp_path, 3, side=side)
    source.image("ex-0000", "red").unlink()
    read = manifest.read(source.table, sources.open_images(source.images, schema.HPA_KAGGLE_2018))
    assert fitting_size(read) == size


def test_a_source_without_a_good_image_has_the_default_size(tmp_path):
    source = draw_source(tmp_path, 3, side=16)
    for k in range(3):
        source.image(f"ex-000{k}", "red").write_bytes(b"")
    read = manifest.read(source.table, sources.open_images(source.images, schema.HPA_KAGGLE_2018))
    assert fitting_size(read) == schema.DEFAULT_SIZE


def test_a_range_needs_images_with_more_than_one_value(tmp_path):
    atlas = draw_painting(tmp_path / "source", num=6, largest=0)
    images = sources.open_images(atlas.root / "tiffs", atlas.schema)
    source = manifest.read(atlas.root / "wells.csv", images, atlas.schema)
    with pytest.raises(InputError, match=r"channel 'DNA': percentiles \(1, 99\) of its pixels are both 0"):
        ranges.measure(source, (1, 99))
    for path in (atlas.root / "tiffs").rglob("*.tif"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no example could be decoded: 'python -m pipeline audit --deep' shows why"):
        ranges.measure(source, (1, 99))


def test_an_audit_names_empty_files_by_their_channels(source):
    source.image("ex-0002", "blue").write_bytes(b"")
    done = CliRunner().invoke(main, ["audit", "--source", str(source.root)])
    assert "image 'ex-0002': channel 'blue': empty: the file has 0 bytes and holds no image" in done.output


def test_a_table_in_a_zip_without_it_is_refused(source, tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as file:
        file.writestr("train/a_red.png", b"")
    with pytest.raises(InputError, match=r"images.zip: no member 'train.csv' in the zip"):
        table.read_labels(tmp_path / "images.zip")


def test_a_damaged_table_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as file:
        file.writestr("train.csv", "Id,Target\na,1\n")
    data = bytearray((tmp_path / "source.zip").read_bytes())
    data[data.index(b"a,1")] ^= 1
    (tmp_path / "source.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"member 'train.csv' cannot be read: damaged zip: the file does not match"):
        table.read_labels(tmp_path / "source.zip")


def test_a_built_in_schema_is_shown_to_begin_with():
    shown = run("show", "--schema", "hpa_v18").output
    assert schema.parse.parse(shown, "shown") == schema.load("hpa_v18")
