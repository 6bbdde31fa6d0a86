"""Properties of the planner that a plan made on several machines would rely on (docs/scaling.md)."""

import hashlib
import itertools
import random
from collections import Counter, defaultdict

import pytest

from pipeline.plan import shards, splits
from pipeline.plan.table import Example
from pipeline.schema import SPLITS

NUM, SIZE, SHARD_MIB = 4_000, 16, 0.1


@pytest.fixture(scope="module")
def table():
    rng = random.Random(0)
    label_sets = [tuple(sorted(rng.sample(range(28), rng.choice((1, 1, 2, 3))))) for _ in range(40)]
    return [Example(f"ex-{k:05d}", rng.choice(label_sets)) for k in range(NUM)]


@pytest.fixture(scope="module")
def split_of(table):
    return splits.assign(table).of


def digest(purpose, example):
    return hashlib.sha256(f"0/{purpose}/{example.id}".encode()).digest()


def test_quotas_depend_only_on_the_number_of_examples_of_each_kind(table, split_of):
    renamed = [Example(f"other-{example.id}", example.labels) for example in reversed(table)]
    other = splits.assign(renamed).of
    assert Counter((e.labels, split_of[e.id]) for e in table) == Counter((e.labels, other[e.id]) for e in renamed)


def test_rank_of_the_id_hash_among_its_kind_decides_the_split(table, split_of):
    kinds = defaultdict(list)
    for example in table:
        kinds[example.labels].append(example)
    for examples in kinds.values():
        ranked = [SPLITS.index(split_of[e.id]) for e in sorted(examples, key=lambda e: digest("split", e))]
        assert ranked == sorted(ranked)


def test_rank_of_the_id_hash_among_its_split_decides_shard_and_place(table, split_of):
    plans = shards.plan(table, split_of, size=SIZE, shard_mib=SHARD_MIB)
    assert len(plans) > 20
    for split in SPLITS:
        ranked = sorted((e for e in table if split_of[e.id] == split), key=lambda e: digest("order", e))
        mine = [plan for plan in plans if plan.split == split]
        cuts = [k * len(ranked) // len(mine) for k in range(len(mine) + 1)]
        assert [plan.examples for plan in mine] == [
            tuple(ranked[start:stop]) for start, stop in itertools.pairwise(cuts)
        ]
