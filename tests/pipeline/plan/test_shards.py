import pytest

from pipeline.errors import InputError
from pipeline.plan import shards, splits
from pipeline.plan.table import Example, read_labels
from pipeline.write import records

EXAMPLES = [Example(f"id{k:03d}", (k % 28,)) for k in range(100)]
ALL_TRAIN = dict.fromkeys((example.id for example in EXAMPLES), "train")


def test_every_example_is_planned_once_in_shards_of_equal_length():
    plans = shards.plan(EXAMPLES, ALL_TRAIN, size=32, num_shards=3)
    assert [len(plan.examples) for plan in plans] == [33, 33, 34]
    assert sorted(e.id for plan in plans for e in plan.examples) == [e.id for e in EXAMPLES]
    assert plans[1].filename == "hpa_stacked-train.tfrecord-00001-of-00003"


def test_the_order_is_shuffled_by_seed_and_not_by_rows():
    first = shards.plan(EXAMPLES, ALL_TRAIN, size=32)
    assert first == shards.plan(EXAMPLES[::-1], ALL_TRAIN, size=32)
    ids = [e.id for e in first[0].examples]
    assert ids != sorted(ids)
    assert first != shards.plan(EXAMPLES, ALL_TRAIN, size=32, seed=1)


def test_shards_stay_within_the_size_asked_for():
    per_record = len(b"".join(records.frame(records.encode("id000", bytes(32 * 32 * 4), range(28)))))
    for plan in shards.plan(EXAMPLES, ALL_TRAIN, size=32, shard_mib=0.05):
        assert len(plan.examples) * per_record <= 0.05 * 2**20


def test_there_are_never_more_shards_than_examples():
    assert len(shards.plan(EXAMPLES[:2], ALL_TRAIN, size=32, num_shards=10)) == 2


def test_the_full_set_at_256_makes_about_122_shards(real_labels):
    examples = read_labels(real_labels)
    assert len(shards.plan(examples, splits.assign(examples).of, size=256)) in range(120, 125)


def test_max_examples_keeps_the_first_of_each_split():
    of = {e.id: "train" if k % 2 else "dev" for k, e in enumerate(EXAMPLES)}
    whole = shards.plan(EXAMPLES, of, size=32)
    few = shards.plan(EXAMPLES, of, size=32, max_examples=5)
    assert [p.examples for p in few] == [p.examples[:5] for p in whole]


@pytest.mark.parametrize("name", ["num_shards", "shard_mib", "max_examples"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(InputError, match=f"{name} is 0, expected more than 0"):
        shards.plan(EXAMPLES, ALL_TRAIN, size=32, **{name: 0})
