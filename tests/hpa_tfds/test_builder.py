"""The TFDS builder: the bytes of the job, the flags of TFDS, the texts of the dataset folder."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

import hpa_tfds
from pipeline.config import BuildConfig
from pipeline.dataset import texts
from pipeline.job import build
from pipeline.schema import HPA_KAGGLE_2018, write
from tests.support.atlases import draw_painting
from tests.support.sources import digests, draw_source

ROOT = Path(__file__).parents[2]
TFDS_COMMANDS = ROOT / "tests/support/tfds_commands.py"


@pytest.fixture(scope="module")
def big_source(tmp_path_factory):
    return draw_source(tmp_path_factory.mktemp("manual"), 12, side=256)


def prepare(source, data_dir, config="128", **settings):
    builder = tfds.builder(f"hpa_stacked/{config}", data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source.root, **settings))
    return builder


def test_the_builder_gives_the_same_bytes_as_the_job(big_source, tmp_path):
    builder = prepare(big_source, tmp_path / "tfds")
    result = build(BuildConfig(big_source.table, big_source.images, tmp_path / "job", size=128))
    assert digests(Path(builder.data_dir)) == digests(result.path)
    assert builder.info.metadata == result.metadata
    assert builder.info.splits["train"].num_examples == result.num_examples["train"]


def test_tfds_build_finds_the_dataset(big_source, tmp_path):
    """In the package, at the root of the repository, and by its import anywhere."""
    ways = {
        "package": (ROOT / "hpa_tfds", ["hpa_stacked"]),
        "root": (ROOT, ["hpa_tfds/hpa_stacked"]),
        "import": (tmp_path, ["hpa_stacked", "--imports", "hpa_tfds"]),
    }
    flags = ["--config", "128", "--manual_dir", str(big_source.root), "--data_dir"]
    commands = [
        (str(folder), ["build", *dataset, *flags, str(tmp_path / name)]) for name, (folder, dataset) in ways.items()
    ]
    done = subprocess.run(
        [sys.executable, TFDS_COMMANDS, json.dumps(commands)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 0, 0], done.stderr[-5000:]
    for name in ways:
        # Read without our code, as in another project.
        dataset = tfds.builder_from_directory(str(tmp_path / name / "hpa_stacked/128/1.1.0"))
        assert sum(split.num_examples for split in dataset.info.splits.values()) == 12


def test_texts_are_those_that_tfds_reads_from_the_dataset_folder(big_source, tmp_path):
    metadata = hpa_tfds.HpaStacked.get_metadata()
    assert texts.description(HPA_KAGGLE_2018, synthetic=False) == metadata.description.strip()
    assert texts.citation(HPA_KAGGLE_2018) == metadata.citation.strip()
    assert "content.subject.biology" in metadata.tags
    info = prepare(big_source, tmp_path).info
    assert (info.description, info.citation) == (metadata.description.strip(), metadata.citation.strip())
    assert info.homepage == "https://www.kaggle.com/c/human-protein-atlas-image-classification"
    assert info.config_description == "Images of 128 x 128 pixels."


def test_a_synthetic_dataset_is_described_as_synthetic(tmp_path):
    source = draw_source(tmp_path / "source", 3)
    source.labels = {f"synthetic-{example_id}": labels for example_id, labels in source.labels.items()}
    for path in source.images.iterdir():
        path.rename(path.with_name(f"synthetic-{path.name}"))
    source.write_table()
    config = hpa_tfds.hpa_stacked.hpa_stacked_dataset_builder.HpaStackedConfig(size=16)
    builder = hpa_tfds.HpaStacked(data_dir=tmp_path, config=config)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source.root))
    again = hpa_tfds.HpaStacked(data_dir=tmp_path, config=config)
    assert again.info.description == texts.description(HPA_KAGGLE_2018, synthetic=True)
    assert again.info.description.startswith("SYNTHETIC: drawn by a program")


def test_flags_do_what_tfds_documents(big_source, tmp_path):
    builder = prepare(big_source, tmp_path, num_shards=2, max_examples_per_split=4)
    assert {name: (s.num_shards, s.num_examples) for name, s in builder.info.splits.items()} == {
        "train": (2, 4), "dev": (1, 1), "test": (2, 2)
    }  # fmt: skip
    builder = prepare(
        big_source, tmp_path, max_shard_size=200_000, download_mode=tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS
    )
    assert builder.info.splits["train"].num_shards > 2
    assert all(path.stat().st_size <= 200_000 for path in Path(builder.data_dir).glob("*.tfrecord*"))


@pytest.mark.parametrize("name", ["hpa_v18-256", "hpa_subcell-128"])
def test_the_schemas_that_come_with_the_package_are_configs(tmp_path, name):
    builder = tfds.builder(f"hpa_stacked/{name}", data_dir=tmp_path)
    schema, size = name.split("-")
    assert builder.info.features["image"].shape == (int(size), int(size), 4)
    assert builder.builder_config.schema.name == schema


def test_any_other_size_is_a_config(big_source, tmp_path):
    config = hpa_tfds.hpa_stacked.hpa_stacked_dataset_builder.HpaStackedConfig(size=96)
    builder = hpa_tfds.HpaStacked(data_dir=tmp_path, config=config)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=big_source.root))
    (example,) = tfds.as_numpy(tfds.load("hpa_stacked/96", data_dir=tmp_path, split="dev"))
    assert example["image"].shape == (96, 96, 4)


def test_a_config_is_named_after_its_size():
    with pytest.raises(ValueError, match="config 'large' has size 512, expected the name '512'"):
        hpa_tfds.hpa_stacked.hpa_stacked_dataset_builder.HpaStackedConfig(name="large", size=512)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"max_examples_per_split": 0},
            "max_examples_per_split=0 is not supported by hpa_stacked: 'python -m pipeline audit' checks a source without building",
        ),
        ({"ignore_duplicates": True}, "ignore_duplicates is not supported by hpa_stacked: a repeated id is an error"),
        ({"min_shard_size": 5}, "min_shard_size is not supported by hpa_stacked: set max_shard_size or num_shards"),
        ({"beam_runner": "DirectRunner"}, "beam_runner is not supported by hpa_stacked: name the runner in"),
        ({"compute_stats": tfds.download.ComputeStatsMode.FORCE}, "compute_stats is not supported by hpa_stacked"),
        ({"download_mode": tfds.download.GenerateMode.UPDATE_DATASET_INFO}, "update_metadata_only is not supported"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(big_source, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        prepare(big_source, tmp_path, **settings)


def test_tfds_builds_array_records_and_other_schemas(big_source, tmp_path):
    """Both formats by `--file_format`, a built-in schema by `--config`, another by JSON that names its file."""
    atlas = draw_painting(tmp_path / "painting")
    (tmp_path / "painting.toml").write_text(write.to_toml(atlas.schema))
    json_config = json.dumps({"schema": str(tmp_path / "painting.toml"), "size": 20})
    ways = [
        ["--config", "128", "--file_format", "array_record", "--manual_dir", str(big_source.root)],
        ["--config", json_config, "--manual_dir", str(atlas.root)],
    ]
    data_dir = ["--data_dir", str(tmp_path / "data"), "--imports", "hpa_tfds"]
    commands = [(str(tmp_path), ["build", "hpa_stacked", *way, *data_dir]) for way in ways]
    done = subprocess.run(
        [sys.executable, TFDS_COMMANDS, json.dumps(commands)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 0], done.stderr[-5000:]
    job = build(
        BuildConfig(big_source.table, big_source.images, tmp_path / "job", size=128, file_format="array_record")
    )
    assert digests(tmp_path / "data/hpa_stacked/128/1.1.0") == digests(job.path)
    painted = tfds.builder_from_directory(str(tmp_path / "data/hpa_stacked/painting-20/1.1.0"))
    assert painted.info.features["image"].shape == (20, 20, 5)


@pytest.mark.parametrize("where", ["builder", "download_and_prepare"])
def test_a_builder_reads_the_format_that_it_has_built(big_source, tmp_path, where):
    """TFDS takes the format when a builder is made, or when it prepares."""
    asked = {"file_format": "array_record"}
    builder = tfds.builder("hpa_stacked/128", data_dir=tmp_path, **(asked if where == "builder" else {}))
    settings = tfds.download.DownloadConfig(manual_dir=big_source.root)
    builder.download_and_prepare(download_config=settings, **({} if where == "builder" else asked))
    assert sorted(row["id"].decode() for split in builder.as_data_source().values() for row in split) == sorted(
        big_source.labels
    )


def test_another_format_than_the_built_one_is_refused(big_source, tmp_path):
    builder = prepare(big_source, tmp_path)
    held = digests(Path(builder.data_dir))
    settings = tfds.download.DownloadConfig(manual_dir=big_source.root)
    with pytest.raises(ValueError, match="is built in the format tfrecord, and array_record is asked for; use another"):
        builder.download_and_prepare(download_config=settings, file_format="array_record")
    assert digests(Path(builder.data_dir)) == held
    replaced = dataclasses.replace(settings, download_mode=tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS)
    builder.download_and_prepare(download_config=replaced, file_format="array_record")
    assert sum(map(len, builder.as_data_source().values())) == 12


def test_a_format_that_is_not_written_is_refused(big_source, tmp_path):
    with pytest.raises(ValueError, match="file_format is 'riegeli', expected one of tfrecord, array_record"):
        prepare_as = tfds.builder("hpa_stacked/128", data_dir=tmp_path, file_format="riegeli")
        prepare_as.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=big_source.root))


def test_a_published_dataset_is_converted_by_tfds(big_source, tmp_path):
    published = build(BuildConfig(big_source.table, big_source.images, tmp_path / "data", size=64)).path
    arguments = ["convert_format", "--dataset_version_dir", str(published), "--out_file_format", "array_record"]
    commands = [(str(tmp_path), [*arguments, "--num_workers", "1"])]
    done = subprocess.run(
        [sys.executable, TFDS_COMMANDS, json.dumps(commands)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0], done.stderr[-5000:]
    sources = tfds.builder_from_directory(str(published)).as_data_source()
    assert {
        row["id"].decode(): tuple(row["labels"]) for source in sources.values() for row in source
    } == big_source.labels


def test_missing_data_names_every_path_expected(tmp_path):
    manual = tmp_path / "manual"
    for expected in (f"Manual directory {manual} does not exist or is empty", f"missing {manual}/train.csv and"):
        with pytest.raises(AssertionError) as caught:
            prepare(type("Source", (), {"root": manual}), tmp_path / "data")
        assert expected in str(caught.value)
        assert f"{manual}/train/<Id>_red.png" in str(caught.value)
        manual.mkdir(exist_ok=True)
        (manual / "other.txt").write_text("")


class HpaStackedTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own test of a builder."""

    DATASET_CLASS = hpa_tfds.HpaStacked
    SPLITS = {"train": 4, "dev": 1, "test": 1}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = ["128", "256"]  # noqa: RUF012

    def test_session(self, *args, **kwargs):
        """A context manager of `tf.test.TestCase`, which TFDS uses. It is not a test, despite its name."""
        return super().test_session(*args, **kwargs)

    test_session.__test__ = False

    @classmethod
    def setUpClass(cls):
        import tempfile

        cls._temporary = tempfile.TemporaryDirectory()
        cls.EXAMPLE_DIR = str(draw_source(Path(cls._temporary.name) / "manual", 6, side=256).root)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls._temporary.cleanup()
