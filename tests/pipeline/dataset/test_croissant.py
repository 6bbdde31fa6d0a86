import json

import pytest

from pipeline.job import build
from tests.support.atlases import draw_painting
from tests.support.sources import config_for


@pytest.fixture
def painted(tmp_path):
    from pipeline.config import BuildConfig

    atlas = draw_painting(tmp_path / "source")
    return build(
        BuildConfig(
            labels=atlas.root / "wells.csv", images=atlas.root / "tiffs", data_dir=tmp_path / "data",
            schema=atlas.schema, size=20,
        )
    ).path  # fmt: skip


def test_mlcroissant_accepts_the_description_of_every_schema(source, painted, tmp_path):
    import mlcroissant

    for path in (build(config_for(source, tmp_path / "default")).path, painted):
        dataset = mlcroissant.Dataset(jsonld=path / "croissant.json")
        assert dataset.metadata.issues.errors == set()
        listed = {line.split("  ")[1]: line.split("  ")[0] for line in (path / "SHA256SUMS").read_text().splitlines()}
        described = {file.id: file.sha256 for file in dataset.metadata.distribution}
        assert described == {name: digest for name, digest in listed.items() if name != "croissant.json"}


def test_tables_of_the_description_can_be_read(painted):
    import mlcroissant

    dataset = mlcroissant.Dataset(jsonld=painted / "croissant.json")
    rows = [{key.split("/")[1]: value for key, value in row.items()} for row in dataset.records("columns")]
    assert rows[3] == {"Id": b"w-003", "plate": b"P3", "dose": b"3 uM"}
    labels = [row["labels/Labels"].decode() for row in dataset.records("labels")]
    assert labels == [row.split(",")[2] for row in (painted / "labels.csv").read_text().splitlines()[1:]]
    classes = [row["classes/name"] for row in dataset.records("classes")]
    assert classes == ["control", "toxic, slowly", "binucleate"]


def test_texts_of_the_schema_are_in_the_description(source, tmp_path):
    described = json.loads((build(config_for(source, tmp_path / "data")).path / "croissant.json").read_text())
    assert described["license"] == "CC BY-SA 3.0"
    assert described["citeAs"].startswith("@")
    assert "image (uint8 [16, 16, 4], row by row)" in described["description"]
