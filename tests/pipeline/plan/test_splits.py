"""The split: exact sizes, stratified classes and label sets, whole groups."""

import hashlib

import numpy as np
import pytest

from pipeline.errors import InputError, JobError
from pipeline.plan import program, splits
from pipeline.plan.table import Example, read_labels
from pipeline.schema import SPLITS


def draw_examples(num, seed=0):
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 29)
    return [
        Example(
            f"id{k}",
            tuple(sorted(rng.choice(28, rng.integers(1, 4), replace=False, p=weights / weights.sum()).tolist())),
        )
        for k in range(num)
    ]


def test_the_real_table_is_split_exactly(real_labels):
    assigned = splits.assign(read_labels(real_labels))
    assert assigned.sizes == (24_000, 3_000, 4_072)
    assert np.abs(assigned.counts - assigned.shares).max() < 1
    assert assigned.counts.sum() == 50_782
    assert "Rods & rings                          9       1       1" in assigned.report()


@pytest.mark.parametrize("num", [3, 7, 60, 500])
def test_sizes_are_exact_and_every_example_is_placed(num):
    examples = draw_examples(num)
    assigned = splits.assign(examples)
    assert assigned.sizes == splits.proportional_sizes(num)
    assert sum(assigned.sizes) == num
    assert min(assigned.sizes) > 0
    assert set(assigned.of) == {example.id for example in examples}


def test_the_split_does_not_depend_on_the_order_of_rows():
    examples = draw_examples(300)
    shuffled = [examples[k] for k in np.random.default_rng(1).permutation(300)]
    assert splits.assign(examples).of == splits.assign(shuffled).of


def test_another_seed_gives_another_split_of_the_same_quality():
    examples = draw_examples(300)
    first, second = splits.assign(examples, seed=0), splits.assign(examples, seed=1)
    assert first.of != second.of
    assert first.sizes == second.sizes
    assert second.worst()[0] < 1


def test_label_sets_are_stratified_too():
    examples = [Example(f"a{k}", (0,)) for k in range(100)] + [Example(f"b{k}", (1,)) for k in range(100)]
    of = splits.assign(examples, (100, 50, 50)).of
    for letter in "ab":
        count = [sum(of[f"{letter}{k}"] == split for k in range(100)) for split in SPLITS]
        assert count == [50, 25, 25]


def test_given_sizes_are_met_and_zero_is_allowed_for_dev():
    assert splits.assign(draw_examples(50), (40, 0, 10)).sizes == (40, 0, 10)


@pytest.mark.parametrize("sizes", [(40, 5, 4), (50, 0), (0, 25, 25), (60, -5, -5)])
def test_sizes_that_do_not_add_up_are_refused(sizes):
    with pytest.raises(InputError, match=r"split sizes .* add up to .*expected three whole numbers .* the 50 examples"):
        splits.assign(draw_examples(50), sizes)


def test_fewer_than_three_examples_cannot_be_split():
    with pytest.raises(InputError, match="2 examples, expected at least 3"):
        splits.assign(draw_examples(2))


def test_groups_never_cross_a_split_and_sizes_stay_near():
    examples = draw_examples(400)
    groups = {f"id{k}": f"g{k // 4}" for k in range(200)}
    assigned = splits.assign(examples, groups=groups)
    for group in set(groups.values()):
        assert len({assigned.of[i] for i, g in groups.items() if g == group}) == 1
    assert np.abs(np.array(assigned.sizes) - splits.proportional_sizes(400)).max() <= 2
    assert assigned.worst()[0] < 3


def test_classes_that_are_not_in_every_split_are_named_with_the_reason():
    examples = [Example(f"id{k}", (0,)) for k in range(9)] + [Example("rare", (27,))]
    reason = "not in dev, test: Rods & rings (it has 1 independent examples for 3 splits)"
    assert splits.assign(examples).report().endswith(reason)
    examples += [Example(f"rare{k}", (27,)) for k in range(3)]
    reason = (
        "not in dev: Rods & rings (its share is 0.31 examples, and the whole numbers nearest to all shares leave none)"
    )
    assert splits.assign(examples).absent() == [reason]


def test_a_solver_without_a_solution_is_an_error(monkeypatch):
    monkeypatch.setitem(program.SOLVER_OPTIONS, "mip_max_nodes", 0)
    with pytest.raises(JobError, match=r"no split found for \d+ kinds into \(232, 29, 39\): Solution limit reached"):
        splits.assign(draw_examples(300))


def test_sizes_that_do_not_add_up_are_named_with_what_was_expected():
    with pytest.raises(
        InputError,
        match=r"^split sizes 40,5,4 add up to 49, expected three whole numbers \(train above 0\) that add up to the 50 examples of the label table$",
    ):
        splits.assign(draw_examples(50), (40, 5, 4))


def test_the_real_table_is_proven_optimal(real_labels):
    assigned = splits.assign(read_labels(real_labels))
    assert assigned.optimal
    assert "sum of deviations: 24.08 examples; proven optimal" in assigned.report()
    digest = hashlib.sha256("\n".join(f"{i},{assigned.of[i]}" for i in sorted(assigned.of)).encode()).hexdigest()
    assert digest.startswith("ba9683f7d276dbfb")  # the split of version 1.0.0
