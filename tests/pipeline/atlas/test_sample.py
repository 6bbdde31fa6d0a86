"""The synthetic sample: same bytes from a seed, Kaggle's layout, real frequencies, pictures like the real ones."""

import csv
import hashlib
import itertools
import os
import subprocess
import sys

import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.atlas import contact_sheet, drawing, label_sets, localisations, processes, sample
from pipeline.errors import InputError, JobError
from tests.support.hpa import CLASS_NAMES, FILTERS, NUM_CLASSES


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def table(folder):
    with open(folder / "train.csv", newline="") as file:
        return [(row["Id"], tuple(map(int, row["Target"].split()))) for row in csv.DictReader(file)]


def pixels_of(seed, labels):
    return drawing.draw_example(np.random.default_rng(seed), labels)


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    folder = tmp_path_factory.mktemp("six") / "sample"
    sample.write_sample(folder, num=6, seed=5, workers=1)
    return folder


def test_the_layout_is_kaggles(six):
    assert {path.name for path in six.iterdir()} == {"train.csv", "train", "SYNTHETIC.txt"}
    text = (six / "train.csv").read_bytes()
    assert text.startswith(b"Id,Target\nsynthetic-5-0000000,")
    assert b"\r" not in text
    ids = [example_id for example_id, _ in table(six)]
    assert ids == [f"synthetic-5-{index:07d}" for index in range(6)]
    assert {path.name for path in (six / "train").iterdir()} == {f"{i}_{name}.png" for i in ids for name in FILTERS}
    for path in (six / "train").iterdir():
        pixels = iio.imread(path, plugin="pillow")
        assert (pixels.shape, pixels.dtype) == ((512, 512), np.uint8)


def test_two_runs_give_the_same_bytes_with_one_worker_and_with_two(six, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_CHUNK", 2)
    sample.write_sample(tmp_path / "again", num=6, seed=5, workers=2)
    assert digests(tmp_path / "again") == digests(six)


def test_two_halves_are_the_whole(six, tmp_path):
    whole = digests(six)
    sample.write_sample(tmp_path / "apart", num=2, seed=5, first=4, workers=1)
    apart = digests(tmp_path / "apart")
    assert [example_id for example_id, _ in table(tmp_path / "apart")] == ["synthetic-5-0000004", "synthetic-5-0000005"]
    assert {name: whole[name] for name in apart if name != "train.csv"} == {
        name: digest for name, digest in apart.items() if name != "train.csv"
    }
    sample.write_sample(tmp_path / "apart", num=4, seed=5, workers=1)
    assert digests(tmp_path / "apart") == whole


def test_a_killed_run_is_continued_and_what_is_complete_is_kept(six, tmp_path):
    folder = tmp_path / "killed"
    sample.write_sample(folder, num=2, seed=5, workers=1)
    (folder / "train.csv").unlink()
    (folder / "train" / "synthetic-5-0000001_blue.png").unlink()
    (folder / "train" / ".tmp-1-synthetic-5-0000001_blue.png").write_bytes(b"half a pic")
    kept = folder / "train" / "synthetic-5-0000000_red.png"
    before = kept.stat().st_mtime_ns
    sample.write_sample(folder, num=6, seed=5, workers=1)
    assert digests(folder) == digests(six)
    assert kept.stat().st_mtime_ns == before


def test_a_png_that_did_not_reach_the_disk_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(iio, "imwrite", lambda path, *_, **__: path.write_bytes(b"\x89PNG and no more"))
    with pytest.raises(
        OSError,
        match=r"_red.png: not written completely; free some disk space and run the same command again: finished",
    ):
        sample.write_sample(tmp_path, num=1, seed=5, workers=1)
    assert not list((tmp_path / "train").iterdir())
    assert not (tmp_path / "train.csv").exists()


def test_a_killed_worker_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_CHUNK", 1)
    monkeypatch.setattr(processes, "_start", os._exit)
    with pytest.raises(JobError, match="a drawing process was killed.*run the same command with fewer than 2 workers"):
        sample.write_sample(tmp_path, num=2, seed=5, workers=2)


def test_the_module_imports_nothing_heavy_and_drawing_no_tensorflow():
    code = "import sys, pipeline.atlas.{}; print(*sorted({{'numpy', 'cv2', 'tensorflow', 'apache_beam'}} & set(sys.modules)))"
    for module, heavy in (("sample", ""), ("drawing", "cv2 numpy")):
        done = subprocess.run([sys.executable, "-c", code.format(module)], check=True, capture_output=True, text=True)
        assert done.stdout.strip() == heavy


def test_another_seed_gives_other_pictures(six, tmp_path):
    sample.write_sample(tmp_path, num=1, seed=6, workers=1)
    assert not set(digests(tmp_path).values()) & set(digests(six).values())


def test_a_folder_with_another_sample_is_refused(six):
    with pytest.raises(InputError, match="found 'sample: seed 5, real frequencies.*expected 'sample: seed 6, real"):
        sample.write_sample(six, num=1, seed=6)
    with pytest.raises(InputError, match="found .*real frequencies.*expected .*balanced.*name another folder"):
        sample.write_sample(six, num=1, seed=5, balanced=True)


def test_a_folder_with_anything_else_is_refused(six, tmp_path):
    (tmp_path / "train.csv").write_text("Id,Target\n")
    with pytest.raises(InputError, match=r"found train.csv and no SYNTHETIC.txt, expected an empty folder"):
        sample.write_sample(tmp_path, num=1, seed=0)
    with pytest.raises(InputError, match="found a file, expected a folder"):
        sample.write_sample(tmp_path / "train.csv", num=1, seed=0)


def test_real_images_among_drawn_ones_are_refused(tmp_path):
    sample.write_sample(tmp_path, num=1, seed=0, workers=1)
    (tmp_path / "train" / "000a9596-bbc4_red.png").write_bytes(b"")
    with pytest.raises(InputError, match="found 000a9596-bbc4_red.png, expected only .*'synthetic-0-'"):
        sample.write_sample(tmp_path, num=2, seed=0)


@pytest.mark.parametrize("wrong", [{"num": 0}, {"seed": -1}, {"first": -1}, {"workers": 0}])
def test_numbers_that_make_no_sense_are_refused(tmp_path, wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=rf"{name} is -?\d, expected \d or more"):
        sample.write_sample(tmp_path, **{"num": 1, "seed": 0, **wrong})


def test_label_sets_have_the_real_frequencies():
    drawn = [label_sets.draw_labels(3, index, balanced=False) for index in range(8_000)]
    assert all(labels == tuple(sorted(set(labels))) for labels in drawn)
    sizes = np.bincount([len(labels) for labels in drawn], minlength=6)
    share = len(drawn) / 31072
    for size, rows in label_sets.ROWS_BY_NUM_LABELS.items():
        assert abs(sizes[size] - rows * share) <= 4 * np.sqrt(rows * share) + 1
    counts = np.bincount([label for labels in drawn for label in labels], minlength=NUM_CLASSES)
    rows = np.array(label_sets.ROWS_BY_CLASS) * share
    assert (np.abs(counts - rows) <= 4 * np.sqrt(rows) + 1).all()


def test_the_distribution_of_label_sets_meets_the_real_counts_within_one_percent():
    sets, cumulated = label_sets._distribution()
    expected = np.diff(cumulated, prepend=0)
    for one, rows in enumerate(label_sets.ROWS_BY_CLASS):
        assert sum(e for s, e in zip(sets, expected, strict=True) if one in s) == pytest.approx(rows, rel=0.01)
    for pair, rows in label_sets.ROWS_BY_PAIR.items():
        held = sum(e for s, e in zip(sets, expected, strict=True) if set(pair) <= set(s))
        assert held == pytest.approx(rows, rel=0.01)


def test_the_counts_that_label_sets_follow_are_those_of_the_real_table(real_labels):
    with open(real_labels, newline="") as file:
        rows = [frozenset(map(int, row["Target"].split())) for row in csv.DictReader(file)]
    assert [sum(one in row for row in rows) for one in range(NUM_CLASSES)] == list(label_sets.ROWS_BY_CLASS)
    assert [rows.count(frozenset([one])) for one in range(NUM_CLASSES)] == list(label_sets.ROWS_BY_ONLY_CLASS)
    assert {n: sum(len(row) == n for row in rows) for n in range(1, 6)} == label_sets.ROWS_BY_NUM_LABELS
    for pair, count in label_sets.ROWS_BY_PAIR.items():
        assert sum(row >= set(pair) for row in rows) == count


def test_balanced_label_sets_hold_every_class_equally_often():
    drawn = [label_sets.draw_labels(3, index, balanced=True) for index in range(28 * 120)]
    counts = np.bincount([label for labels in drawn for label in labels], minlength=NUM_CLASSES)
    assert (np.abs(counts - counts.mean()) <= 4 * np.sqrt(counts.mean())).all()
    assert {label for labels in drawn[:28] for label in labels} == set(range(NUM_CLASSES))


@pytest.mark.parametrize("label", range(NUM_CLASSES), ids=CLASS_NAMES)
def test_every_localisation_shows_in_green(label):
    for seed in range(2):
        scene = drawing.stage(np.random.default_rng([seed, label]), [label])
        layer = localisations.DRAW[label](np.random.default_rng(2), scene)
        assert (layer.shape, layer.dtype) == ((512, 512), np.float32)
        assert np.isfinite(layer).all()
        assert layer.min() >= 0
        assert 0.5 < layer.max() < 6
        assert (layer > 0.3).sum() >= 20
        assert layer[scene.field.cell == 0].sum() < 0.35 * layer.sum()


def test_localisations_are_in_the_order_of_the_classes():
    names = [name.lower().replace(" & ", "_and_").replace(" ", "_") for name in CLASS_NAMES]
    assert [function.__name__ for function in localisations.DRAW] == names


def test_the_contact_sheet_has_a_tile_and_a_title_for_every_class(tmp_path):
    result = CliRunner().invoke(contact_sheet.main, [str(tmp_path / "sheet.png"), "--side", "64", "--columns", "7"])
    assert result.exit_code == 0, result.output
    sheet = iio.imread(tmp_path / "sheet.png", plugin="pillow")
    height, width = 64 + contact_sheet.CAPTION + contact_sheet.GUTTER, 64 + contact_sheet.GUTTER
    assert sheet.shape == (4 * height, 7 * width, 3)
    tiles = sheet.reshape(4, height, 7, width, 3).swapaxes(1, 2).reshape(28, height, width, 3)
    half = contact_sheet.GUTTER // 2
    assert (tiles[:, :half] == 255).all()
    assert (tiles[:, :, -half:] == 255).all()
    titles, images = np.split(tiles[:, half:-half, half:-half], [contact_sheet.CAPTION], axis=1)
    assert (images.max(axis=(1, 2, 3)) > 100).all()
    assert (titles.min(axis=(1, 2, 3)) < 100).all()


def test_a_long_title_takes_two_lines():
    assert contact_sheet._wrapped("Microtubule organizing center", 150) == ["Microtubule organizing", "center"]
    assert contact_sheet._wrapped("Nucleoplasm", 10) == ["Nucleoplasm"]


def test_several_labels_combine():
    scene = drawing.stage(np.random.default_rng(4), [0, 21])
    both = drawing.protein(np.random.default_rng(0), scene, [0, 21])
    inner = scene.field.nuclei * (scene.nucleoli < 0.1) > 0
    edge = (scene.field.edge_distance > 0) & (scene.field.edge_distance < 2)
    between = (scene.field.cytoplasm > 0) & (scene.field.edge_distance > 6)
    assert both[inner].mean() > 2 * both[between].mean()
    assert both[edge].mean() > 2 * both[between].mean()


def measures(folder, example_id):
    """What a drawn example should share with real ones: bytes, means, shares of zeros, correlations of filters."""
    paths = {name: folder / "train" / f"{example_id}_{name}.png" for name in FILTERS}
    pixels = {name: iio.imread(path, plugin="pillow").ravel() for name, path in paths.items()}
    found = {f"{name} kB": paths[name].stat().st_size / 1e3 for name in FILTERS}
    found |= {f"{name} mean": pixels[name].mean() for name in FILTERS}
    found |= {f"{name} zeros": np.mean(pixels[name] == 0) for name in FILTERS}
    correlation = np.corrcoef(np.array([pixels[name] for name in FILTERS], np.float32))
    pairs = itertools.combinations(range(len(FILTERS)), 2)
    return found | {f"{FILTERS[a]} and {FILTERS[b]}": correlation[a, b] for a, b in pairs}


# Least, lower quartile, median, upper quartile, greatest of the 60 real examples (a draw from Kaggle's train set).
REAL = {
    "red kB": (17.99, 108.28, 133.95, 172.95, 224.34),
    "green kB": (34.54, 78.58, 113.81, 152.03, 231.15),
    "blue kB": (4.58, 39.39, 56.70, 76.11, 137.26),
    "yellow kB": (22.54, 108.50, 139.19, 171.38, 243.12),
    "red mean": (0.30, 14.97, 19.35, 27.44, 52.17),
    "green mean": (1.04, 4.17, 9.15, 19.46, 47.80),
    "blue mean": (0.30, 10.58, 14.48, 20.21, 44.70),
    "yellow mean": (0.41, 13.61, 19.91, 26.89, 66.96),
    "red zeros": (0.00, 0.27, 0.44, 0.57, 0.95),
    "green zeros": (0.04, 0.39, 0.58, 0.70, 0.91),
    "blue zeros": (0.51, 0.75, 0.80, 0.87, 0.99),
    "yellow zeros": (0.06, 0.30, 0.47, 0.59, 0.93),
    "red and green": (-0.20, 0.04, 0.18, 0.42, 0.71),
    "red and blue": (-0.36, -0.14, -0.07, 0.01, 0.21),
    "red and yellow": (-0.03, 0.50, 0.59, 0.66, 0.80),
    "green and blue": (-0.01, 0.22, 0.37, 0.53, 0.82),
    "green and yellow": (-0.23, 0.12, 0.26, 0.44, 0.71),
    "blue and yellow": (-0.39, -0.02, 0.07, 0.15, 0.88),
}


def test_the_ranges_are_those_of_the_real_examples(real_sample):
    found = [measures(real_sample, example_id) for example_id, _ in table(real_sample)]
    for name, expected in REAL.items():
        measured = np.percentile([one[name] for one in found], [0, 25, 50, 75, 100])
        np.testing.assert_allclose(measured, expected, rtol=0.01, atol=0.006, err_msg=name)


def test_drawn_examples_are_within_the_ranges_of_real_ones(tmp_path):
    sample.write_sample(tmp_path, num=30, seed=11, workers=1)
    found = [measures(tmp_path, example_id) for example_id, _ in table(tmp_path)]
    for name, (least, lower, _, upper, greatest) in REAL.items():
        drawn = np.array([one[name] for one in found])
        assert lower <= np.median(drawn) <= upper, f"{name}: median {np.median(drawn):.2f}"
        assert np.mean((drawn >= least) & (drawn <= greatest)) >= 0.85, f"{name}: {np.sort(drawn).round(2)}"


def test_a_folder_with_another_sample_or_with_other_images_is_refused(tmp_path):
    sample.write_sample(tmp_path, num=1, seed=0, workers=1)
    with pytest.raises(InputError, match=r"found 'sample: seed 0.*name another folder, or delete this one"):
        sample.write_sample(tmp_path, num=1, seed=1, workers=1)
    (tmp_path / "train/stranger_red.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"found stranger_red.png, expected only images whose names start with"):
        sample.write_sample(tmp_path, num=1, seed=0, workers=1)
