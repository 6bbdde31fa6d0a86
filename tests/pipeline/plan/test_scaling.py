"""What docs/scaling.md says of a plan that no one machine holds, tried on parts of a table in one process."""

import bisect
import itertools
import random
from collections import Counter

import pytest

from pipeline.plan import shards, splits
from pipeline.plan.manifest import Example
from pipeline.schema import SPLITS

NUM, NUM_PARTS, BUCKETS = 4_000, 7, 16
SIZE, SHARD_MIB = 16, 0.1


@pytest.fixture(scope="module")
def table():
    rng = random.Random(0)
    labels = [tuple(sorted(rng.sample(range(28), rng.choice((1, 1, 2, 3))))) for _ in range(40)]
    rows = [Example(f"ex-{k:05d}", rng.choice(labels)) for k in range(NUM)]
    rng.shuffle(rows)
    return rows


def bucket(digest: bytes) -> int:
    return digest[0] * BUCKETS // 256


def exact_ranks(rows, key, place, cuts):
    """Yields (row, rank among the rows of its key in the order of `place`, or any rank on its side of the cuts).

    What each machine does alone: counts per (key, bucket). What one machine adds up: those counts, a few numbers
    a key. What is sorted: only the buckets that a cut falls into, each by itself.
    """
    parts = [rows[k::NUM_PARTS] for k in range(NUM_PARTS)]
    counts = sum((Counter((key(row), bucket(place(row))) for row in part) for part in parts), Counter())
    before = {
        k: list(itertools.accumulate((counts[k, b] for b in range(BUCKETS)), initial=0)) for k in {key(r) for r in rows}
    }
    open_buckets = {
        (k, b)
        for k, sums in before.items()
        for b in range(BUCKETS)
        if any(sums[b] < cut < sums[b + 1] for cut in cuts(k))
    }
    gathered = {}
    for row in itertools.chain(*parts):
        place_of = (key(row), bucket(place(row)))
        if place_of in open_buckets:
            gathered.setdefault(place_of, []).append(row)
        else:
            yield row, before[place_of[0]][place_of[1]]
    for (k, b), found in gathered.items():
        for offset, row in enumerate(sorted(found, key=place)):
            yield row, before[k][b] + offset


def test_a_plan_made_in_parts_is_the_plan_made_at_once(table):
    assigned = splits.assign(table)
    expected = shards.plan(table, assigned.of, size=SIZE, shard_mib=SHARD_MIB)

    # Counts per kind in parallel, quotas on the driver: the same integer program, whatever the number of rows.
    counts = sum((Counter((row.labels,) for row in table[k::NUM_PARTS]) for k in range(NUM_PARTS)), Counter())
    kinds = sorted(counts, key=lambda kind: splits._hash(0, "kind", repr(kind)))
    sizes = splits.proportional_sizes(NUM)
    quotas = splits._solve(kinds, splits._count_classes(kinds), [counts[kind] for kind in kinds], sizes)
    cuts = {kind: list(itertools.accumulate(row.tolist())) for kind, row in zip(kinds, quotas, strict=True)}

    # Ranks per kind in parallel: which ids fill the quotas.
    of = {
        row.id: SPLITS[bisect.bisect_right(cuts[(row.labels,)], rank)]
        for row, rank in exact_ranks(
            table, lambda row: (row.labels,), lambda row: splits._hash(0, "split", row.id), cuts.__getitem__
        )
    }
    assert of == assigned.of

    # Ranks per split in parallel: which shard an example stands in. Each shard's worker sorts its own.
    num_shards = {plan.split: plan.num_shards for plan in expected}
    sizes = Counter(of.values())
    limits = {s: [k * sizes[s] // num_shards[s] for k in range(1, num_shards[s])] for s in num_shards}
    found = {}
    for row, rank in exact_ranks(
        table, lambda row: of[row.id], lambda row: shards._place(0, row.id), lambda split: limits[split]
    ):
        found.setdefault((of[row.id], bisect.bisect_right(limits[of[row.id]], rank)), []).append(row)
    assert sum(num_shards.values()) > 20
    for plan in expected:
        mine = sorted(found[plan.split, plan.index], key=lambda row: shards._place(0, row.id))
        assert tuple(mine) == plan.examples


def test_only_the_buckets_of_a_cut_are_sorted(table):
    """Two cuts a kind: with 16 buckets at most an eighth of the rows is gathered, with 65,536 next to none."""
    asked = []

    def place(row):
        asked.append(row.id)
        return splits._hash(0, "split", row.id)

    list(exact_ranks(table, lambda row: "one kind", place, lambda kind: [NUM // 2, NUM * 3 // 4]))
    sorted_rows = len(asked) - 2 * NUM  # each row is placed once to count it and once to look it up
    assert sorted_rows <= NUM // 6
