"""Folds: every example is in test once, groups are never divided, and what cannot be is said."""

import collections

import numpy as np
import pytest

from bench.groups import tables
from pipeline.errors import InputError
from pipeline.plan import folds, splits
from pipeline.plan.table import Example

SINGLE = [Example(f"cell-{k:03d}", (k % 4,)) for k in range(80)]
NAMES = ("a", "b", "c", "d")


@pytest.fixture(autouse=True)
def short_searches(monkeypatch):
    """How good a split of groups is, other tests measure."""
    monkeypatch.setattr(splits, "SHORT", (0.02,))
    monkeypatch.setattr(splits, "LONG", ())


def assign(examples, num, **options):
    return folds.assign(examples, num, class_names=NAMES, **options)


def test_every_example_is_in_test_exactly_once():
    found = assign(SINGLE, 5)
    tests = [[key for key, split in of.items() if split == "test"] for of in found.of]
    assert sorted(key for part in tests for key in part) == [example.id for example in SINGLE]
    assert [len(part) for part in tests] == [16] * 5
    assert all(of.keys() == {example.id for example in SINGLE} for of in found.of)


def test_folds_are_stratified_and_dev_is_a_ninth_of_the_rest():
    found = assign(SINGLE, 5)
    assert found.counts[:, 2].tolist() == [[4] * 4] * 5
    assert found.sizes.tolist() == [[57, 7, 16]] * 5
    assert np.ptp(found.counts[:, 1], axis=1).max() <= 1


def test_dev_differs_between_folds():
    found = assign(SINGLE, 5)
    dev = collections.Counter(key for of in found.of for key, split in of.items() if split == "dev")
    assert max(dev.values()) <= 3


def test_no_fold_divides_a_group():
    table = tables.by_group(20, 60)
    found = folds.assign(table.examples, 5, groups=table.groups)
    for of in found.of:
        splits = collections.defaultdict(set)
        for example in table.examples:
            splits[table.groups[example.id]].add(of[example.id])
        assert {len(group) for group in splits.values()} == {1}


def test_folds_depend_on_the_seed_and_not_on_the_order_of_rows():
    assert assign(SINGLE, 3).of == assign(SINGLE[::-1], 3).of
    assert assign(SINGLE, 3).of != assign(SINGLE, 3, seed=1).of


def test_classes_with_too_few_groups_are_named():
    common = [Example(f"cell-{k}", (k % 2,)) for k in range(80)]
    examples = [*common, Example("rare-0", (2,)), Example("rare-1", (2,))]
    found = assign(examples, 5)
    report = found.report()
    assert "not in fold-" in report
    assert "c (it has 2 independent examples for 5 splits)" in report
    assert sum("has no example in test of c" in line for line in found.absent()) == 3
    assert not any("in train" in line for line in found.absent())


def test_a_class_of_one_group_is_missing_from_train_where_it_is_in_test():
    groups = {example.id: f"plate-{k // 8}" for k, example in enumerate(SINGLE)}
    examples = [Example(e.id, (2,) if groups[e.id] == "plate-3" else (k % 2,)) for k, e in enumerate(SINGLE)]
    found = assign(examples, 5, groups=groups)
    missing = [line for line in found.absent() if "in train of c" in line]
    in_test = [name for name, of in zip(found.parts.names, found.of, strict=True) if of["cell-024"] == "test"]
    assert f"warning: {in_test[0]} has no example in train of c" in missing


def test_more_folds_than_groups_are_refused():
    groups = {example.id: f"plate-{k // 30}" for k, example in enumerate(SINGLE)}
    message = "4 folds of 3 groups: a fold needs at least one for test, and others for train and dev; choose at most 3 "
    with pytest.raises(InputError, match=message):
        assign(SINGLE, 4, groups=groups)


def test_two_examples_make_no_folds():
    with pytest.raises(InputError, match="2 folds of 2 examples: .*label at least 3 examples"):
        assign(SINGLE[:2], 2)


def test_groups_too_large_for_a_fold_are_refused():
    groups = {example.id: "large" if k < 40 else f"plate-{k // 20}" for k, example in enumerate(SINGLE)}
    with pytest.raises(InputError, match="folds: fold-. has no example in .*, because whole groups are too large"):
        assign(SINGLE, 2, groups=groups)


def test_a_group_larger_than_a_fold_leaves_no_split_of_it_empty():
    groups = {example.id: "large" if k < 78 else f"small-{k}" for k, example in enumerate(SINGLE)}
    assert assign(SINGLE, 3, groups=groups).sizes.min() == 1
