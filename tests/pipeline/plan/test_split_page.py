"""The page of a split, and the splits of others that stand on it."""

import sys
from html.parser import HTMLParser
from types import ModuleType

import numpy as np
import pytest

from bench.groups import tables
from pipeline.plan import compare, split_page, splits
from pipeline.plan.table import Example


@pytest.fixture(scope="module")
def table():
    return tables.by_group(120, 500)


@pytest.fixture(scope="module")
def assigned(table):
    return splits.assign(table.examples, groups=table.groups)


def others(table, assigned):
    return compare.others(table.examples, table.groups, assigned.wanted, 28, 0)


def words(page):
    """Returns the texts of an HTML page."""
    found = []
    parser = HTMLParser()
    parser.handle_data = lambda data: found.append(data.strip())
    parser.feed(page)
    return [text for text in found if text]


def test_the_page_shows_counts_shares_and_what_is_proven(table, assigned):
    page = split_page.html(assigned, others(table, assigned), title="labels <1>.csv")
    text = words(page)
    assert "Split of labels <1>.csv" in text
    assert assigned.proof() in text
    assert "at random" in text
    for label, name in enumerate(assigned.class_names):
        row = text.index(f"{label} {name}")
        counts = [assigned.counts[split, label] for split in range(3)]
        assert text[row + 3 : row + 12 : 3] == [str(count) for count in counts]
        assert text[row + 4] == f"{assigned.shares[0, label]:.2f}"
    assert "http" not in page
    assert "<script" not in page


def test_a_random_split_keeps_groups_whole_and_is_worse(table, assigned):
    random = others(table, assigned)[0]
    assert random.name == "at random"
    assert random.sizes.sum() == 500
    assert np.abs(random.sizes - assigned.wanted).max() < 30
    assert random.deviation(assigned.wanted)[0] > assigned.deviation


def test_iterative_stratification_is_shown_where_it_is_installed(table, assigned, monkeypatch):
    class Splitter:
        def __init__(self, num, *, test_size, random_state):
            self.share = test_size

        def split(self, rows, labels):
            num = round(len(rows) * self.share)
            yield np.arange(num, len(rows)), np.arange(num)

    module = ModuleType("iterstrat.ml_stratifiers")
    module.MultilabelStratifiedShuffleSplit = Splitter
    monkeypatch.setitem(sys.modules, "iterstrat", ModuleType("iterstrat"))
    monkeypatch.setitem(sys.modules, "iterstrat.ml_stratifiers", module)
    names = [other.name for other in others(table, assigned)]
    assert names == ["at random", "iterative-stratification"]
    monkeypatch.setitem(sys.modules, "iterstrat.ml_stratifiers", None)
    assert [other.name for other in others(table, assigned)] == ["at random"]


def test_examples_without_a_group_are_groups_of_one():
    examples = [Example("a", (0, 2)), Example("b", (2,)), Example("c", (1,))]
    counts, sizes = compare.group_counts(examples, {"a": "c", "b": "c"}, 3)
    assert (counts.tolist(), sizes.tolist()) == ([[1, 0, 2], [0, 1, 0]], [2, 1])
