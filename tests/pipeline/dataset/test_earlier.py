"""The split of a dataset that is replaced is kept only if it is the one that was published."""

import dataclasses

import pytest

from pipeline.dataset import earlier
from pipeline.errors import InputError
from pipeline.images import sources
from pipeline.job import build
from pipeline.plan import kept, manifest
from pipeline.store import layout
from pipeline.store.workspace import open_workspace
from tests.support.sources import config_for, draw_source


@pytest.fixture
def published(source, tmp_path):
    return build(config_for(source, tmp_path / "data")).path


@pytest.fixture
def config(published, tmp_path):
    """A build that replaces the dataset by that of a table with three examples more."""
    return config_for(draw_source(tmp_path / "grown", 23), tmp_path / "data", overwrite=True)


def find(config):
    source = manifest.read(config.labels, sources.open_images(config.images))
    return earlier.find(config, source, open_workspace(config.target))


@pytest.mark.parametrize("rows", [slice(0, 10), slice(0, 0)])
def test_a_split_that_was_altered_is_not_kept(published, config, rows):
    assert len(find(config).of) == 20
    path = published / layout.SPLIT
    path.write_text("".join(path.read_text().splitlines(keepends=True)[rows]))
    with pytest.raises(InputError, match=r"split\.csv: changed since it was published, so the split cannot be kept"):
        build(config)
    assert sum(build(dataclasses.replace(config, resplit=True)).num_examples.values()) == 23


def test_a_damaged_copy_is_not_needed_while_the_dataset_is_there(published, config):
    workspace = open_workspace(config.target)
    earlier.save(find(config), config, workspace)
    copy = workspace.directory / layout.KEPT
    copy.write_text("".join(copy.read_text().splitlines(keepends=True)[:10]))
    assert len(find(config).of) == 20


def test_a_damaged_copy_is_refused_when_the_dataset_is_gone(published, config, tmp_path):
    workspace = open_workspace(config.target)
    before = find(config)
    earlier.save(before, config, workspace)
    published.rename(tmp_path / "gone")
    assert find(config).of == before.of
    copy = workspace.directory / layout.KEPT
    copy.write_text("".join(copy.read_text().splitlines(keepends=True)[:10]))
    with pytest.raises(InputError, match=r"kept\.csv: damaged, so the split of the dataset that was there cannot be"):
        build(config)
    assert kept.read(tmp_path / "gone") == before.of


def test_a_new_seed_moves_examples_and_says_how_many(published, source, tmp_path):
    before = kept.read(published / layout.SPLIT)
    result = build(config_for(source, tmp_path / "data", overwrite=True, seed=1))
    after = kept.read(published / layout.SPLIT)
    num = sum(before[key] != after[key] for key in before)
    assert num
    assert [line for line in result.warnings if "another split than before" in line] == [
        f"{num} of 20 published examples are in another split than before, because the seed, the sizes or the groups of "
        "the split changed: models trained on the earlier dataset may have seen them"
    ]
    assert not build(config_for(source, tmp_path / "data", overwrite=True, seed=1)).warnings
