from hypothesis import given
from hypothesis import strategies as st

from pipeline.duplicates import groups
from pipeline.duplicates.pairs import Pair

IDS = [f"ex-{k:02d}" for k in range(12)]
LINKS = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)), max_size=12)


def near(*links):
    return [Pair(first, second, "near") for first, second in links]


def test_links_and_columns_join_to_one_group():
    plates = {"ex-03": "plate 1", "ex-05": "plate 1", "ex-07": "plate 2"}
    wells = {"ex-05": "A1", "ex-08": "A1"}
    found = groups.join(near(("ex-00", "ex-01"), ("ex-08", "ex-09")), plates, wells)
    assert found == {
        "ex-00": "ex-00", "ex-01": "ex-00", "ex-03": "ex-03", "ex-05": "ex-03", "ex-08": "ex-03", "ex-09": "ex-03"
    }  # fmt: skip
    assert list(groups.members(found)) == ["ex-03", "ex-00"]


@given(LINKS, st.dictionaries(st.sampled_from(IDS), st.sampled_from("abc")))
def test_groups_are_the_connected_components_and_depend_on_no_order(links, column):
    found = groups.join(near(*links), column)
    assert found == groups.join(near(*(link[::-1] for link in links[::-1])), dict(reversed(column.items())))
    edges = links + [(one, other) for one in column for other in column if column[one] == column[other]]
    for start in IDS:
        reached, todo = {start}, [start]
        while todo:
            node = todo.pop()
            for edge in edges:
                if node in edge:
                    todo += [other for other in edge if other not in reached]
                    reached.update(edge)
        assert found.get(start) == (min(reached) if len(reached) > 1 else None)


def test_pairs_with_other_labels_are_conflicts():
    pairs = [Pair("a", "b", "file"), Pair("a", "c", "near"), Pair("a", "d", "near")]
    labels = {"a": (1, 2), "b": (1, 2), "c": (1,)}
    assert groups.conflicts(pairs, labels) == [pairs[1]]
    assert groups.pairs_to_csv(pairs[1:], labels).decode().splitlines() == [
        "First,Second,Kind,Turn,Measure,FirstTarget,SecondTarget",
        "a,c,near,0,0.0,1 2,1",
        "a,d,near,0,0.0,1 2,",
    ]


def test_the_report_counts_pairs_by_kind_and_groups():
    pairs = [Pair("a", "b", "file"), Pair("a", "c", "overlap"), Pair("d", "e", "near")]
    found = groups.join(pairs)
    assert groups.report(6, pairs, found, 1).splitlines() == [
        "6 examples, 3 pairs that show the same thing",
        "       1  file: the same files",
        "       1  near: the same picture, changed",
        "       1  overlap: pictures of overlapping areas",
        "2 groups of 5 examples, the largest of 3",
        "1 examples cannot be read and were not compared",
    ]
