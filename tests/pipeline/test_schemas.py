"""Datasets of other schemas: built by the command, read by TFDS, every pixel compared with an independent computation."""

import csv
import dataclasses
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli import main
from pipeline.config import BuildConfig
from pipeline.errors import InputError
from pipeline.job import build
from pipeline.schema import write
from tests.support.atlases import draw_painting
from tests.support.sources import REAL_SAMPLE, SHARED, config_for, why_not_real

ROOT = Path(__file__).parents[2]


def shards(*arguments):
    return CliRunner().invoke(main, ["shards", *map(str, arguments)])


def read(path):
    """Returns what TFDS reads: `{id: example}` and the split of each id."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(path))
    examples, split_of = {}, {}
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            example_id = example["id"].decode()
            examples[example_id], split_of[example_id] = example, split
    return builder.info, examples, split_of


def area_mean(image, size):
    """Returns an image averaged over boxes, rounded to nearest, halves up."""
    factor = len(image) // size
    return np.floor(image.reshape(size, factor, size, factor).mean(axis=(1, 3)) + 0.5)


@pytest.fixture
def painting(tmp_path):
    atlas = draw_painting(tmp_path / "source")
    (tmp_path / "painting.toml").write_text(write.to_toml(atlas.schema))
    return atlas


@pytest.fixture
def painted(painting, tmp_path):
    done = shards(
        "--schema", tmp_path / "painting.toml", "--source", painting.root, "--data-dir", tmp_path / "data", "--size", 20
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "data/hpa_stacked/painting-20/1.1.0"


def test_five_channels_of_12_bits_are_read_back(painting, painted):
    info, examples, split_of = read(painted)
    assert examples.keys() == painting.pixels.keys()
    for example_id, example in examples.items():
        for channel, plane in enumerate(painting.pixels[example_id]):
            as_8bit = np.floor(plane * (255 / 4095) + 0.5)
            np.testing.assert_array_equal(example["image"][..., channel], area_mean(as_8bit, 20))
        names = [info.features["labels"].feature.int2str(int(label)) for label in example["labels"]]
        assert names == painting.labels[example_id]
        assert np.flatnonzero(example["label_vector"]).tolist() == example["labels"].tolist()
    splits_of_plates = {(painting.plates[i], split) for i, split in split_of.items()}
    assert len(splits_of_plates) == len(set(painting.plates.values()))


def test_a_dataset_publishes_what_it_is_made_of(painting, painted):
    metadata = json.loads((painted / "metadata.json").read_text())
    assert metadata["channels"] == ["DNA", "ER", "RNA", "AGP", "Mito"]
    assert metadata["class_names"] == ["control", "toxic, slowly", "binucleate"]
    assert metadata["schema"] == painting.schema.to_dict()
    with open(painted / "columns.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[3] == {"Id": "w-003", "plate": "P3", "dose": "3 uM"}
    done = CliRunner().invoke(main, ["verify", str(painted)])
    assert "intact\n" in done.stdout, done.output


def test_labels_can_be_batched_without_a_false_class(painting, painted):
    import tensorflow_datasets as tfds

    dataset = tfds.builder_from_directory(str(painted)).as_dataset(split="train", batch_size=8)
    for batch in tfds.as_numpy(dataset):
        for example_id, vector in zip(batch["id"], batch["label_vector"], strict=True):
            expected = [name in painting.labels[example_id.decode()] for name in painting.schema.classes]
            np.testing.assert_array_equal(vector, expected)


def test_uint16_is_kept_as_it_is(tmp_path):
    atlas = draw_painting(tmp_path / "source", depth="uint16", largest=65535)
    result = build(
        BuildConfig(
            labels=atlas.root / "wells.csv", images=atlas.root / "tiffs", data_dir=tmp_path / "data",
            schema=atlas.schema, size=20,
        )
    )  # fmt: skip
    info, examples, _ = read(result.path)
    assert info.features["image"].dtype == np.uint16
    for example_id, example in examples.items():
        expected = np.stack([area_mean(plane.astype(float), 20) for plane in atlas.pixels[example_id]], axis=-1)
        np.testing.assert_array_equal(example["image"], expected)
    assert 0.4 < result.metadata["mean"][0] < 0.6
    assert "intact\n" in CliRunner().invoke(main, ["verify", str(result.path)]).stdout


def test_12_bits_taken_for_16_are_warned_about(tmp_path):
    atlas = draw_painting(tmp_path / "source", depth="16")
    (tmp_path / "painting.toml").write_text(write.to_toml(atlas.schema))
    done = shards(
        "--schema", tmp_path / "painting.toml", "--source", atlas.root, "--data-dir", tmp_path / "data", "--size", 20
    )
    assert (
        "WARNING: 24 of 24 images of channel 'DNA' use less than an eighth of the range of their values\n"
        in done.output
    )
    assert done.output.count("WARNING") == 5
    assert done.output.count("if the camera has fewer bits than the files, set depth in the schema: ") == 1
    assert (
        "'python -m pipeline schema range --schema SCHEMA --source DIR --out MEASURED.toml' measures it\n"
        in done.output
    )


def test_images_are_compared_with_the_range_that_the_schema_declares(tmp_path):
    atlas = draw_painting(tmp_path / "source", depth="16")
    named = ["--source", atlas.root, "--data-dir", tmp_path / "data", "--size", 20]
    for largest, num_warnings in ((4095, 0), (65535, 5)):
        channels = [dataclasses.replace(channel, range=(0, largest)) for channel in atlas.schema.channels]
        schema = dataclasses.replace(atlas.schema, depth="percentile", channels=tuple(channels))
        (tmp_path / "ranged.toml").write_text(write.to_toml(schema))
        done = shards("--schema", tmp_path / "ranged.toml", *named, "--overwrite")
        assert done.exit_code == 0, done.output
        assert done.output.count("use less than an eighth of the range that the schema declares") == num_warnings
        assert done.output.count("if their channels are too dark, 'python -m pipeline schema range ") == bool(
            num_warnings
        )


def test_single_labels_are_one_class_id(tmp_path):
    atlas = draw_painting(tmp_path / "source", num=12)
    text = write.to_toml(atlas.schema).replace('labels = "multi"', 'labels = "single"')
    (tmp_path / "painting.toml").write_text(text)
    with open(atlas.root / "wells.csv") as file:
        rows = [line.rstrip("\n").split(",")[:4] for line in file]
    with open(atlas.root / "wells.csv", "w", newline="") as file:
        csv.writer(file).writerows([[*rows[0], "Found"], *([*row, "binucleate"] for row in rows[1:])])
    done = shards(
        "--schema", tmp_path / "painting.toml", "--source", atlas.root, "--data-dir", tmp_path / "data", "--size", 20
    )
    assert done.exit_code == 0, done.output
    path = tmp_path / "data/hpa_stacked/painting-20/1.1.0"
    _, examples, _ = read(path)
    assert {int(example["label"]) for example in examples.values()} == {2}
    assert "intact\n" in CliRunner().invoke(main, ["verify", str(path)]).stdout


@pytest.mark.parametrize("nested", [False, True])
def test_jpegs_of_version_18_give_the_signal_of_their_colour(tmp_path, nested):
    if reason := why_not_real():
        pytest.skip(reason)
    with open(REAL_SAMPLE / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:8]
    source = tmp_path / "v18"
    expected, table = {}, []
    for k, row in enumerate(rows):
        example_id = f"{4100 + k // 2}_{k}_A1_{k + 1}"
        table.append([example_id, row["Target"]])
        for name, planes in (("red", [0]), ("green", [1]), ("blue", [2]), ("yellow", [0, 1])):
            grey = np.array(Image.open(REAL_SAMPLE / "train" / f"{row['Id']}_{name}.png"))
            colour = np.zeros((512, 512, 3), np.uint8)
            colour[..., planes] = grey[..., None]
            data = io.BytesIO()
            Image.fromarray(colour).save(data, "jpeg", quality=95)
            antibody, rest = example_id.split("_", 1)
            path = source / "images" / (f"{antibody}/{rest}_{name}.jpg" if nested else f"{example_id}_{name}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.getvalue())
            stored = np.array(Image.open(path)).astype(int)[..., planes]
            signal = np.floor(stored.mean(axis=-1) + 0.5)
            expected[example_id, name] = area_mean(signal, 256)
    with open(source / "HPAv18RBGY_wodpl.csv", "w", newline="") as file:
        csv.writer(file).writerows([["Id", "Target"], *table])
    done = shards("--schema", "hpa_v18", "--source", source, "--data-dir", tmp_path / "data")
    assert done.exit_code == 0, done.output
    info, examples, split_of = read(tmp_path / "data/hpa_stacked/hpa_v18-256/1.1.0")
    for (example_id, name), image in expected.items():
        channel = info.metadata["channels"].index(name)
        np.testing.assert_array_equal(examples[example_id]["image"][..., channel], image)
    by_antibody = {(example_id.split("_")[0], split) for example_id, split in split_of.items()}
    assert len(by_antibody) == 4  # no antibody is in two splits


def test_one_png_of_four_channels_is_read_in_the_order_of_subcell(tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = {f"cell-{k}": rng.integers(0, 65536, (32, 32, 4), dtype=np.uint16) for k in range(6)}
    for example_id, rybg in pixels.items():
        cv2.imwrite(str(folder / f"{example_id}.png"), rybg[..., [2, 1, 0, 3]])
    (tmp_path / "labels.csv").write_text("Id,Target\n" + "".join(f"{i},0 7\n" for i in pixels))
    done = shards("--schema", "hpa_subcell", "--source", tmp_path, "--data-dir", tmp_path / "data", "--size", 32)
    assert done.exit_code == 0, done.output
    _, examples, _ = read(tmp_path / "data/hpa_stacked/hpa_subcell-32/1.1.0")
    for example_id, example in examples.items():
        rgby = pixels[example_id][..., [0, 3, 2, 1]]
        np.testing.assert_array_equal(example["image"], np.floor(rgby * (255 / 65535) + 0.5))


def test_a_source_of_nuclei_builds_by_the_example_and_no_plate_crosses_splits(tmp_path):
    source = SHARED / "data/mitocheck"
    if not source.exists():
        pytest.skip(f"the nuclei are not at {source}")
    with open(source / "cells.csv", newline="") as file:
        every = list(csv.DictReader(file))
    kept = [row for row in every if sum(map(ord, row["plate"])) % 4 == 0]
    small = tmp_path / "small"
    small.mkdir()
    (small / "images").symlink_to(source / "images")
    with open(small / "cells.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, every[0].keys())
        writer.writeheader()
        writer.writerows(kept)
    example = ROOT / "examples/mitocheck.toml"
    done = shards("--schema", example, "--source", small, "--data-dir", tmp_path / "data", "--size", 64)
    assert done.exit_code == 0, done.output
    info, examples, split_of = read(tmp_path / "data/hpa_stacked/mitocheck-64/1.1.0")
    assert len(examples) == len(kept)
    for row in kept:
        image = np.array(Image.open(source / "images" / row["file"]))
        np.testing.assert_array_equal(examples[row["file"]]["image"][..., 0], image)
        assert info.features["label"].int2str(int(examples[row["file"]]["label"])) == row["phenotype"]
    plates = {(row["plate"], split_of[row["file"]]) for row in kept}
    assert len(plates) == len({row["plate"] for row in kept})


def test_a_size_beyond_that_of_the_images_is_refused_before_decoding(source, tmp_path):
    with pytest.raises(
        InputError, match="size is 64, but the images are smaller: ex-0000_red.png has 32 pixels a side"
    ):
        build(config_for(source, tmp_path / "data", size=64))
    assert not list(tmp_path.glob("data/**/*.json"))


def test_files_of_another_ending_beside_missing_ones_are_named(source, tmp_path):
    for name in ("red", "green"):
        source.image("ex-0003", name).rename(source.images / f"ex-0003_{name}.jpg")
    done = shards("--source", source.root, "--data-dir", tmp_path / "data", "--size", 16)
    assert done.exit_code == 1
    assert "no file ex-0003_green.png, but there is ex-0003_green.jpg" in done.output
    assert "no file ex-0003_red.png, but there is ex-0003_red.jpg" in done.output


def test_ids_may_name_folders(source, tmp_path):
    (source.images / "plate1").mkdir()
    for path in list(source.images.glob("ex-0003_*")):
        path.rename(source.images / "plate1" / path.name)
    labels = {("plate1/ex-0003" if i == "ex-0003" else i): of for i, of in source.labels.items()}
    source.write_table(labels.items())
    result = build(config_for(source, tmp_path / "data"))
    _, examples, _ = read(result.path)
    assert examples.keys() == labels.keys()


def test_an_id_without_its_folder_is_told_where_the_file_is(source, tmp_path):
    source.write_table([("train/ex-0001", (1,)), ("ex-0002", (2,)), ("ex-0004", (2,))])
    done = shards("--source", source.root, "--data-dir", tmp_path / "data", "--size", 16)
    assert "no file train/ex-0001_red.png, but there is ex-0001_red.png" in done.output


def test_the_whole_download_may_stay_zipped(source, tmp_path):
    with zipfile.ZipFile(tmp_path / "kaggle.zip", "w") as file:
        file.write(source.table, "train.csv")
        file.writestr("sample_submission.csv", "Id,Predicted\n")
        for path in source.images.iterdir():
            file.write(path, f"train/{path.name}")
            file.writestr(f"test/{path.name}", b"other")
    for name, place in (("folder", source.root), ("zip", tmp_path / "kaggle.zip")):
        done = shards("--source", place, "--data-dir", tmp_path / name, "--size", 16)
        assert done.exit_code == 0, done.output
    paths = [tmp_path / name / "hpa_stacked/16/1.1.0/SHA256SUMS" for name in ("folder", "zip")]
    assert paths[0].read_text() == paths[1].read_text()


@pytest.mark.parametrize("folder", ["", "train/"])
def test_a_zip_that_is_stored_in_the_zip_is_read_in_place(tmp_path, source, folder):
    for name, ids in (("train", "ex-"), ("test", "ex-000")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for path in source.images.glob(f"{ids}*"):
                file.write(path, f"{folder}{path.name}")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("sample_submission.csv", "Id,Predicted\n")
        for path in (tmp_path / "test.zip", source.table, tmp_path / "train.zip"):
            file.write(path, path.name)
    for name, place in (("folder", source.root), ("zip", tmp_path / "all.zip")):
        done = shards("--source", place, "--data-dir", tmp_path / name, "--size", 16)
        assert done.exit_code == 0, done.output
    paths = [tmp_path / name / "hpa_stacked/16/1.1.0/SHA256SUMS" for name in ("folder", "zip")]
    assert paths[0].read_text() == paths[1].read_text()


@pytest.mark.parametrize(
    ("content", "method"), [(b"", zipfile.ZIP_STORED), (b"PK\3\4", 0), (None, zipfile.ZIP_DEFLATED)]
)
def test_a_zip_in_the_zip_that_cannot_be_read_in_place_is_refused(tmp_path, source, content, method):
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as inner:
        for path in source.images.iterdir():
            inner.write(path, path.name)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as file:
        file.write(source.table, "train.csv")
        data = (tmp_path / "train.zip").read_bytes() if content is None else content
        file.writestr("train.zip", data, method)
    expected = "train.zip in it is compressed once more, or damaged; unzip it (unzip "
    assert expected in shards("--source", tmp_path / "outer.zip").output


def test_zips_that_are_no_source_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert (
        "empty.zip: no train.csv in it; expected train.csv next to" in shards("--source", tmp_path / "empty.zip").output
    )
    assert "no.zip: no such zip, expected train.csv next to train/" in shards("--source", tmp_path / "no.zip").output


def test_other_tables_in_the_folder_are_named(source):
    for name in ("a.csv", "b.csv"):
        (source.root / name).write_text("")
    source.table.unlink()
    output = shards("--source", source.root).output
    assert (
        "train.csv (there is a.csv, b.csv: name the label table with --labels and the images with --images)" in output
    )


def test_two_examples_of_one_file_are_refused(painting, tmp_path):
    with open(painting.root / "wells.csv", "a") as file:
        file.write("w-copy,P0,A00,1 uM,control\n")
    done = shards("--schema", tmp_path / "painting.toml", "--source", painting.root, "--data-dir", tmp_path / "data")
    assert "5 problems\n  examples 'w-000' and 'w-copy' have the same file P0/A00_DNA.tif" in done.output


def test_columns_cannot_lead_out_of_the_folder(painting, tmp_path):
    with open(painting.root / "wells.csv", "a") as file:
        file.write("w-out,../..,A00,1 uM,control\n")
    done = shards("--schema", tmp_path / "painting.toml", "--source", painting.root, "--data-dir", tmp_path / "data")
    assert "id 'w-out': its file '../../A00_DNA.tif' is outside the folder of the images" in done.output


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("Well id,plate,well,dose\n", "the header is 'Well id,plate,well,dose', expected 'Well id,Found,plate,dose,well'"),
        ("Well id,plate,well,dose,Found,dose\n", "the header has column 'dose' 2 times, expected once"),
        ("Well id,plate,well,dose,Found\na,P,A,1,toxic\n", "has label 'toxic', which is not a class of schema 'painting'; the nearest is 'toxic, slowly'; correct it, or add"),
        ("Well id,plate,well,dose,Found\na,P,A,1,proteasome\n", "schema 'painting'; the classes are 'control', 'toxic, slowly', 'binucleate'; correct it, or add it to classes in the schema"),
        ("Well id,plate,well,dose,Found\na,P,A,1,\n", "id 'a' has no labels, expected class names separated by ';'"),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_the_schema_are_refused(painting, tmp_path, rows, message):
    (painting.root / "wells.csv").write_text(rows)
    done = shards("--schema", tmp_path / "painting.toml", "--source", painting.root, "--data-dir", tmp_path / "data")
    assert done.exit_code == 1
    assert message in done.output


def test_ids_that_do_not_follow_their_form_are_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "HPAv18RBGY_wodpl.csv").write_text("Id,Target\n4109-1,0\n")
    done = shards("--schema", "hpa_v18", "--source", tmp_path, "--data-dir", tmp_path / "data")
    assert "row 2: id '4109-1' does not have the form '{antibody}_{plate}_{well}_{field}'" in done.output


def test_percentiles_without_ranges_are_refused(painting, tmp_path):
    text = write.to_toml(painting.schema).replace('depth = "12"', 'depth = "percentile"')
    (tmp_path / "painting.toml").write_text(text)
    done = shards("--schema", tmp_path / "painting.toml", "--source", painting.root, "--data-dir", tmp_path / "data")
    assert (
        "depth 'percentile' needs the range of each channel; 'python -m pipeline schema range' measures them"
        in done.output
    )
