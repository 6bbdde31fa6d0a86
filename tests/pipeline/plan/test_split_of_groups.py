"""Splits of whole groups, and splits that keep an earlier one: what always holds, and how near they come."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from bench.groups import tables
from pipeline.errors import InputError, JobError
from pipeline.plan import bounds, kept, program, search, splits
from pipeline.plan.problem import Problem
from pipeline.plan.table import Example

CLASSES = tuple(f"class {k}" for k in range(5))


@st.composite
def grouped_tables(draw):
    """Label tables of 3 to 40 examples, many of them in groups: (examples, `{id: group}`)."""
    labels = draw(st.lists(st.sets(st.integers(0, 4), min_size=1, max_size=3), min_size=3, max_size=40))
    examples = [Example(f"id{k}", tuple(sorted(of))) for k, of in enumerate(labels)]
    groups = draw(st.lists(st.integers(0, 12), min_size=len(examples), max_size=len(examples)))
    return examples, {example.id: f"g{group}" for example, group in zip(examples, groups, strict=True) if group < 10}


def assign(examples, groups, **options):
    return splits.assign(examples, groups=groups, class_names=CLASSES, **options)


few = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@few
@given(grouped_tables(), st.integers(0, 3))
def test_no_group_crosses_and_no_result_is_below_its_bound(table, seed):
    examples, groups = table
    assigned = assign(examples, groups, seed=seed)
    assert assigned.of.keys() == {example.id for example in examples}
    split_of = {}
    for example_id, group in groups.items():
        assert split_of.setdefault(group, assigned.of[example_id]) == assigned.of[example_id]
    assert sum(assigned.sizes) == len(examples)
    assert assigned.deviation >= assigned.bound - 1e-6
    assert assigned.size_deviation >= assigned.size_bound


@few
@given(grouped_tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(table, random):
    examples, groups = table
    shuffled, rows = list(examples), list(groups.items())
    random.shuffle(shuffled)
    random.shuffle(rows)
    assert assign(shuffled, dict(rows)).of == assign(examples, groups).of


@few
@given(grouped_tables(), st.integers(1, 39))
def test_kept_examples_stay_and_new_members_of_their_groups_follow(table, num_old):
    examples, groups = table
    old = examples[:num_old]
    assume(len(old) >= 3)
    earlier = assign(old, {e.id: groups[e.id] for e in old if e.id in groups}).of
    grown = assign(examples, groups, earlier=earlier)
    assert {e.id: grown.of[e.id] for e in old} == earlier
    assert (grown.num_kept, grown.num_moved, grown.vanished) == (len(old), 0, ())
    for first, second in itertools.combinations(groups, 2):
        if groups[first] == groups[second]:
            assert grown.of[first] == grown.of[second]
    assert grown.deviation >= grown.bound - 1e-6


@few
@given(grouped_tables())
def test_no_solution_of_a_small_table_is_below_the_bound(table):
    examples, groups = table
    units = {}
    for example in examples[:9]:
        units.setdefault(groups.get(example.id, example.id), []).append(example)
    counts = np.zeros((len(units), 5), int)
    for row, unit in zip(counts, units.values(), strict=True):
        np.add.at(row, [label for example in unit for label in example.labels], 1)
    sizes = np.array([len(unit) for unit in units.values()])
    num = int(sizes.sum())
    wanted = (num - 2 * (num // 4), num // 4, num // 4)
    problem = Problem(counts, sizes, np.ones(len(units), int), np.zeros((len(units), 3), int), wanted)
    parts = np.array(list(itertools.product(range(3), repeat=len(units))))
    every = np.stack([(parts == split) @ counts for split in range(3)], axis=1)
    deviations = np.abs(every - problem.shares).sum(axis=(1, 2))
    assert bounds.of_classes(problem) <= deviations.min() + 1e-9
    off = sum(np.abs((parts == split) @ sizes - wanted[split]) for split in range(3))
    assert bounds.of_sizes(problem) <= off.min()


def test_the_bound_knows_that_groups_are_whole():
    # 12 examples of one class in two groups of 6: the nearest to 8, 2, 2 leave one split without any.
    problem = Problem(np.array([[6]]), np.array([6]), np.array([2]), np.zeros((1, 3), int), (8, 2, 2))
    assert bounds.of_classes(problem) == 2 + 2 + 2
    assert bounds.of_sizes(problem) == 6


def test_the_bound_counts_what_stays_too_much_in_a_split():
    placed = np.array([[0, 5, 0]])
    problem = Problem(np.array([[1]]), np.array([1]), np.array([5]), placed, (8, 1, 1))
    assert bounds.of_classes(problem) == 8  # dev has 4 too many, so the others lack 4
    assert bounds.of_sizes(problem) == 8


def test_a_table_in_the_shape_of_antibodies_is_proven_optimal():
    table = tables.by_group(1_000, 5_820)
    assigned = splits.assign(table.examples, groups=table.groups)
    assert assigned.sizes == assigned.wanted
    assert assigned.deviation < 1.25 * assigned.bound
    assert assigned.worst()[0] < 2.5


def test_a_class_of_three_groups_is_in_every_split_though_its_share_is_small():
    examples = [Example(f"id{k:03d}", (0,)) for k in range(200)]
    examples += [Example(f"rare{k}", (1, 2)) for k in range(6)]
    groups = {example.id: f"g{k // 2}" for k, example in enumerate(examples)}
    for seed in range(3):
        assigned = assign(examples, groups, seed=seed)
        assert assigned.counts[:, 1].tolist() == [2, 2, 2]
        assert assigned.size_deviation == assigned.size_bound == 2  # groups of two, and odd sizes


def test_a_class_of_two_groups_is_reported_with_the_reason():
    examples = [Example(f"id{k:03d}", (0,)) for k in range(60)] + [Example(f"rare{k}", (1,)) for k in range(4)]
    groups = {example.id: f"g{k // 2}" for k, example in enumerate(examples)}
    report = assign(examples, groups).report()
    assert "class 1 (it has 2 independent groups for 3 splits)" in report
    assert "32 groups of 2 kinds; none is divided" in report


def test_a_group_larger_than_a_split_leaves_sizes_off_and_says_so():
    examples = [Example(f"id{k}", (k % 2,)) for k in range(20)]
    groups = {f"id{k}": f"g{k // 10}" for k in range(20)}
    assigned = assign(examples, groups, sizes=(10, 5, 5))
    assert sorted(assigned.sizes) == [0, 10, 10]
    assert assigned.size_deviation == assigned.size_bound == 10
    assert "examples wanted" in assigned.report()
    assert "(it has 2 independent groups for 3 splits)" in assigned.report()


def test_six_large_groups_leave_no_split_empty():
    # The nearest sizes to 185, 23, 32 are 200, 0, 40.
    examples = [Example(f"id{k:03d}", (k % 5,)) for k in range(240)]
    groups = {example.id: f"plate {k // 40}" for k, example in enumerate(examples)}
    for seed in range(2):
        assigned = assign(examples, groups, seed=seed)
        assert assigned.sizes == (160, 40, 40)
        assert assigned.counts.min() == 8
        assert not assigned.empty()


def test_a_split_that_is_to_be_empty_stays_empty():
    examples = [Example(f"id{k}", (k % 2,)) for k in range(20)]
    groups = {f"id{k}": f"g{k // 5}" for k in range(20)}
    assert assign(examples, groups, sizes=(19, 0, 1)).sizes == (15, 0, 5)


def test_fewer_groups_than_splits_are_reported():
    examples = [Example(f"id{k}", (k // 10,)) for k in range(20)]
    assigned = assign(examples, {f"id{k}": f"g{k // 10}" for k in range(20)}, sizes=(12, 4, 4))
    assert "\n2 groups; none is divided\n" in assigned.report()
    (line,) = assigned.empty()
    assert line.endswith(" is empty: 2 groups for 3 splits")
    assert line in assigned.report()


@few
@given(grouped_tables(), st.integers(1, 39))
def test_no_wanted_split_is_empty_if_there_are_enough_groups(table, num_old):
    examples, groups = table
    old = examples[:num_old]
    units = {groups.get(example.id, example.id) for example in examples}
    assume(len(old) >= 3 and len(units) >= 3)
    earlier = dict.fromkeys([example.id for example in old if example.id in groups], "train")
    free = units - {groups[example_id] for example_id in earlier}
    for assigned, num_free in (
        (assign(examples, groups), len(units)),
        (assign(examples, groups, earlier=earlier), len(free)),
    ):
        if num_free >= 3:
            assert min(assigned.sizes) > 0


def test_groups_and_what_stays_may_leave_a_class_out_of_a_split():
    examples = [Example(f"old{k}", (0,)) for k in range(8)] + [Example(f"big{k}", (1,)) for k in range(24)]
    groups = {f"big{k}": f"g{k // 8}" for k in range(24)}
    assigned = assign(examples, groups, sizes=(26, 3, 3))
    assert any("its groups are larger than the split, or are kept elsewhere" in line for line in assigned.absent())


def test_every_number_of_splits_is_possible():
    table = tables.by_group(200, 1_000)
    names = ("a", "b", "c", "d", "e")
    assigned = splits.assign(table.examples, (200,) * 5, groups=table.groups, names=names)
    assert assigned.sizes == (200,) * 5
    assert set(assigned.of.values()) == set(names)
    with pytest.raises(InputError, match=r"expected 5 whole numbers \(a above 0\) that add up to the 1000 examples"):
        splits.assign(table.examples, (200,) * 4, groups=table.groups, names=names)


def test_a_polish_without_a_solution_leaves_the_search_as_it_is(monkeypatch):
    def fail(*_):
        raise JobError("no split found")

    table = tables.by_group(100, 400)
    monkeypatch.setattr(program, "solve", fail)
    assert splits.assign(table.examples, groups=table.groups).sizes == splits.proportional_sizes(400)


def test_temperatures_fall_from_hot_to_cold():
    temperatures = list(search.Stage(1000, 8, 1).temperatures())
    assert (temperatures[0], temperatures[-1]) == (8, 1)
    assert temperatures == sorted(temperatures, reverse=True)
    assert all(temperature * 64 == int(temperature * 64) for temperature in temperatures)


# An earlier split.


@pytest.fixture
def table():
    return tables.by_group(300, 1_200).examples


def test_a_grown_table_moves_none_and_stays_as_near_as_a_fresh_split(table):
    earlier = splits.assign(table[:1_000]).of
    grown = splits.assign(table, earlier=earlier)
    fresh = splits.assign(table)
    assert all(grown.of[i] == split for i, split in earlier.items())
    assert any(fresh.of[i] != split for i, split in earlier.items())
    assert grown.sizes == fresh.sizes
    assert grown.deviation < fresh.deviation + 3
    assert "earlier split: 1000 examples kept, 0 moved; 200 new ones placed" in grown.report()


def test_vanished_examples_are_named(table):
    earlier = splits.assign(table[:1_000]).of
    shrunk = splits.assign(table[12:1_000], earlier=earlier)
    assert shrunk.vanished == tuple(sorted(example.id for example in table[:12]))
    assert "no longer in the label table: 12 examples: row00000000, row00000001" in shrunk.report()
    assert shrunk.report().count("and 2 more") == 1
    assert all(split == earlier[i] for i, split in shrunk.of.items())


def test_new_examples_bring_a_class_into_a_split_that_lacks_it():
    old = [Example(f"old{k}", (0,)) for k in range(60)]
    earlier = assign(old, {}).of
    new = [Example(f"new{k}", (1,)) for k in range(4)]
    grown = assign(old + new, {}, earlier=earlier)
    assert (grown.counts[:, 1] > 0).all()


def test_an_earlier_split_that_divides_a_group_is_refused():
    examples = [Example(f"id{k}", (0,)) for k in range(6)]
    earlier = {"id0": "train", "id1": "test", "id2": "dev"}
    with pytest.raises(InputError, match="the earlier split divides groups, so it cannot be kept: .*group 'g' has 'id0' in train and 'id1' in test"):  # fmt: skip
        splits.assign(examples, groups={"id0": "g", "id1": "g", "id3": "g"}, earlier=earlier)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,train\na,test\n", "row 3: id 'a' is in test, and in train in an earlier row; keep one"),
        ("a,train\na,train\n", "row 3: id 'a' is in train, and in train in an earlier row; keep one"),
        ("a,valid\n", "row 2: id 'a' is in split 'valid', expected one of train, dev, test"),
        ("a\n", "row 2: expected 'id,split', found 'a'"),
        ("a,x\nb,y\n", "2 bad rows"),
    ],
)
def test_bad_rows_of_an_earlier_split_are_named(tmp_path, rows, message):
    path = tmp_path / "split.csv"
    path.write_text(f"Id,Split\n{rows}")
    with pytest.raises(InputError) as error:
        kept.read(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_an_earlier_split_is_read_as_it_was_written(tmp_path):
    of = {"b": "test", "a": "train"}
    kept.write(tmp_path / "split.csv", of)
    assert (tmp_path / "split.csv").read_text() == "Id,Split\na,train\nb,test\n"
    assert kept.read(tmp_path / "split.csv") == kept.read(tmp_path) == of
    assert kept.digest(of) == kept.digest(dict(sorted(of.items()))) != kept.digest({"a": "train"})
