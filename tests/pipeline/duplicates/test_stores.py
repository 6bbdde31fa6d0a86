"""Fingerprints and groups of a source in an object store."""

import pytest

from pipeline.duplicates import build, find_groups
from pipeline.job import BuildConfig
from pipeline.job import build as build_dataset
from pipeline.schema import HPA_KAGGLE_2018
from tests.pipeline.duplicates.test_build import make, with_copies
from tests.support.object_stores import running
from tests.support.sources import draw_source


@pytest.fixture(scope="module")
def store():
    for library in ("s3fs", "moto"):
        pytest.importorskip(library)
    with running("s3") as store:
        yield store


def test_a_store_holds_the_same_table_and_nothing_else(store, tmp_path):
    source, place = with_copies(draw_source(tmp_path / "source", 20)), store.root / "fingerprints"
    expected = make(source, tmp_path / "prints.csv").path.read_bytes()
    store.put(source.images, place / "train")
    (place / "train.csv").upload(source.table)
    out = place / "prints.csv"
    build.fingerprint(place / "train.csv", place / "train", out, HPA_KAGGLE_2018, threads=4)
    assert out.read_bytes() == expected
    left = {info["name"].rpartition("/")[2] for info in place.children() if info["type"] == "file"}
    assert {name for name in left if not name.endswith(".lock")} == {"train.csv", "prints.csv"}
    report = find_groups.run(out, place / "groups.csv", place / "train.csv", None, HPA_KAGGLE_2018)
    assert "6 groups of 12 examples, the largest of 2" in report
    config = BuildConfig(place / "train.csv", place / "train", place / "data", size=16, find_groups=True, threads=4)
    result = build_dataset(config)
    assert (result.path / "groups.csv").read_bytes() == (place / "groups.csv").read_bytes()
