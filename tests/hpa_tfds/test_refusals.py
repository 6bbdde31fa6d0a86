"""Requests that the builder refuses say why."""

import pytest
import tensorflow_datasets as tfds

import hpa_tfds
from hpa_tfds.hpa_stacked.hpa_stacked_dataset_builder import HpaStackedConfig


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"compute_stats": tfds.download.ComputeStatsMode.FORCE}, "counts and channel statistics are always computed"),
        (
            {"download_mode": tfds.download.GenerateMode.UPDATE_DATASET_INFO},
            "the dataset's checksums cover its metadata; build it again",
        ),
    ],
)
def test_a_refusal_says_why(tmp_path, settings, reason):
    builder = hpa_tfds.HpaStacked(data_dir=tmp_path)
    with pytest.raises(ValueError, match=f"is not supported by hpa_stacked: {reason}"):
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(**settings))


def test_a_config_is_named_by_its_size():
    with pytest.raises(ValueError, match="config 'large' has size 96, expected the name '96'"):
        HpaStackedConfig(name="large", size=96)
