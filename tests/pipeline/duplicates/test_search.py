import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.duplicates import hashes, landmarks, search


def random_hashes(rng, num, num_channels=2):
    found = rng.integers(0, 256, (num, num_channels, hashes.BYTES), dtype=np.uint8)
    found[..., 0] |= 128
    return found


def flip(found, bits):
    """Returns a hash with some bits of it inverted."""
    row = np.unpackbits(found)
    row[list(bits)] ^= 1
    return np.packbits(row)


def pairs_of(found):
    return list(zip(found[0].tolist(), found[1].tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, 63), max_size=search.KEY_DISTANCE), st.sets(st.integers(64, 255), max_size=20))
def test_every_pair_within_five_bits_of_the_key_is_found(key_bits, other_bits):
    found = random_hashes(np.random.default_rng(0), 8, num_channels=1)
    found[6, 0] = flip(found[2, 0], key_bits | other_bits)
    i, j, share = search.near(found, found)
    assert (i.tolist(), j.tolist()) == ([2], [6])
    assert share[0] == len(key_bits | other_bits) / 255


def test_the_pairs_are_those_of_comparing_all_with_all():
    rng = np.random.default_rng(1)
    found = random_hashes(rng, 300)
    for k in range(100, 300):  # copies of the first, more and more changed
        for channel in range(2):
            found[k, channel] = flip(found[k % 100, channel], 1 + rng.permutation(255)[: rng.integers(0, 45)])
    bits = np.unpackbits(found, axis=-1)
    differing = (bits[:, None] != bits[None]).sum(axis=-1)
    keys = (bits[:, None, :, :64] != bits[None, :, :, :64]).sum(axis=-1)
    near = (differing.sum(axis=-1) <= search.MAX_SHARE * 510) & (keys.min(axis=-1) <= search.KEY_DISTANCE)
    expected = np.argwhere(np.triu(near, 1)).tolist()
    assert len(expected) > 50
    assert [list(pair) for pair in pairs_of(search.near(found, found))] == expected


def test_one_channel_alike_is_not_enough():
    found = random_hashes(np.random.default_rng(2), 4, num_channels=4)
    found[3, 1] = found[0, 1]
    assert pairs_of(search.near(found, found)) == []


def test_flat_channels_are_not_compared():
    found = random_hashes(np.random.default_rng(3), 4, num_channels=2)
    found[:, 1] = 0
    assert pairs_of(search.near(found, found)) == []
    found[2, 0] = found[0, 0]
    assert pairs_of(search.near(found, found)) == [(0, 2)]
    found[:] = 0
    assert pairs_of(search.near(found, found)) == []


def test_no_examples_have_no_pairs():
    none = np.zeros((0, 2, hashes.BYTES), np.uint8)
    assert pairs_of(search.near(none, none)) == []
    assert pairs_of(search.overlapping(drawn([]), drawn([]), 1)) == []


def drawn(rows):
    """Returns landmarks from rows of (places, hashes)."""
    num = len(rows)
    places, values = np.zeros((num, landmarks.MOST, 2), np.uint8), np.zeros((num, landmarks.MOST), np.uint64)
    for k, (where, found) in enumerate(rows):
        places[k, : len(where)], values[k, : len(found)] = where, found
    return landmarks.Landmarks(places, values, np.array([len(found) for _, found in rows], int))


def field(rng, num=20, low=12, high=116):
    return rng.integers(low, high, (num, 2)), rng.integers(0, 1 << 63, num, dtype=np.uint64) | np.uint64(15)


def test_examples_with_landmarks_apart_by_one_shift_overlap():
    rng = np.random.default_rng(4)
    places, found = field(rng, high=80)
    found_again = drawn([(places, found), field(rng), (places + np.array([30, 10]), found), field(rng)])
    i, j, common = search.overlapping(found_again, found_again, 4)
    assert (i.tolist(), j.tolist(), common.tolist()) == ([0], [2], [20])


@pytest.mark.parametrize("num_common", [search.MIN_LANDMARKS - 1, search.MIN_LANDMARKS])
def test_an_overlap_needs_five_landmarks(num_common):
    rng = np.random.default_rng(5)
    places, found = field(rng, num=num_common)
    both = drawn([(places, found), (places, found)])
    assert len(search.overlapping(both, both, 4)[0]) == (num_common >= search.MIN_LANDMARKS)


def test_landmarks_alike_in_other_places_are_no_overlap():
    rng = np.random.default_rng(6)
    (places, found), (elsewhere, _) = field(rng), field(rng)
    both = drawn([(places, found), (elsewhere, found)])
    assert pairs_of(search.overlapping(both, both, 4)) == []


def test_few_common_landmarks_of_many_in_the_overlap_are_chance():
    rng = np.random.default_rng(7)
    places, found = field(rng, num=32)
    others = rng.integers(0, 1 << 63, 32, dtype=np.uint64) | np.uint64(15)
    others[:8] = found[:8]
    both = drawn([(places, found), (places, others)])
    assert pairs_of(search.overlapping(both, both, 4)) == []


def test_channels_that_are_flat_around_landmarks_are_not_compared():
    rng = np.random.default_rng(8)
    places, found = field(rng)
    third = found & ~landmarks.masks(4)[0b0100] & ~np.uint64(0b0100)
    both = drawn([(places, found), (places, third)])
    assert pairs_of(search.overlapping(both, both, 4)) == [(0, 1)]
    nothing = np.zeros_like(found)
    both = drawn([(places, nothing), (places, nothing)])
    assert pairs_of(search.overlapping(both, both, 4)) == []


@given(
    st.tuples(st.integers(-127, 127), st.integers(-127, 127)),
    st.tuples(st.integers(-search.TOLERANCE, search.TOLERANCE), st.integers(-search.TOLERANCE, search.TOLERANCE)),
)
def test_two_shifts_that_agree_are_counted_together_wherever_they_are(shift, off):
    shifts = np.array([shift, shift, np.add(shift, off), [0, 0]])
    shifts[1] += 60  # too far from the first, of another pair of examples
    assert search._repeated(np.array([7, 8, 7, 9]), shifts).tolist() == [7]


def test_a_wide_part_of_a_hash_finds_the_same_overlaps(monkeypatch):
    rng = np.random.default_rng(10)
    places, found = field(rng, high=80)
    both = drawn([(places, found), field(rng), (places + np.array([30, 10]), found)])
    monkeypatch.setattr(search, "_MANY", 1)
    assert pairs_of(search.overlapping(both, both, 4)) == [(0, 2)]


def test_bits_are_counted_alike_with_and_without_numpy_2(monkeypatch):
    words = np.random.default_rng(8).integers(0, 1 << 63, (50, 3), dtype=np.uint64)
    expected = [[int(word).bit_count() for word in row] for row in words]
    assert search.count_bits(words).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert search.count_bits(words).tolist() == expected


def test_large_results_come_in_chunks(monkeypatch):
    found = np.repeat(random_hashes(np.random.default_rng(9), 1), 60, axis=0)
    whole = pairs_of(search.near(found, found))
    monkeypatch.setattr(search, "_CHUNK", 7)
    assert pairs_of(search.near(found, found)) == whole
    assert len(whole) == 60 * 59 // 2
