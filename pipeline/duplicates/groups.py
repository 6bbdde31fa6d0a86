"""Groups: examples that must stay in one split."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pipeline.duplicates.pairs import KINDS, Pair
from pipeline.plan import grouping


def join(pairs: Iterable[Pair], *given: Mapping[str, str]) -> dict[str, str]:
    """Returns `{id: group}` of the ids that are not alone, sorted by id.

    Two ids are in one group if a chain of pairs, or of equal names in one of the `given` groups, leads from one to the
    other. A group is named after its smallest id, whatever the order of the input.
    """
    linked = grouping.of_links((pair.first, pair.second) for pair in pairs)
    joined = grouping.join(linked, *given)
    smallest: dict[str, str] = {}
    for example_id in sorted(joined):
        smallest.setdefault(joined[example_id], example_id)
    sizes = Counter(joined.values())
    return {i: smallest[joined[i]] for i in sorted(joined) if sizes[joined[i]] > 1}


def members(groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns `{group: ids}`, the largest groups first, ids sorted."""
    found: dict[str, list[str]] = defaultdict(list)
    for example_id in sorted(groups):
        found[groups[example_id]].append(example_id)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def conflicts(pairs: Sequence[Pair], labels: Mapping[str, Sequence[int]]) -> list[Pair]:
    """Returns the pairs whose examples both have labels, and different ones."""
    return [
        pair
        for pair in pairs
        if pair.first in labels and pair.second in labels and labels[pair.first] != labels[pair.second]
    ]


def to_csv(groups: Mapping[str, str]) -> bytes:
    """Returns the group table: `Id,Group`."""
    return "".join(["Id,Group\n", *(f"{example_id},{group}\n" for example_id, group in groups.items())]).encode()


def pairs_to_csv(pairs: Sequence[Pair], labels: Mapping[str, Sequence[int]]) -> bytes:
    """Returns a table of pairs: ids, kind, turn, measure, and the labels where they are known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["First", "Second", "Kind", "Turn", "Measure", "FirstTarget", "SecondTarget"])
    for pair in pairs:
        targets = [" ".join(map(str, labels.get(example_id, ()))) for example_id in (pair.first, pair.second)]
        writer.writerow([pair.first, pair.second, pair.kind, pair.turn, pair.measure, *targets])
    return text.getvalue().encode()


def report(num_examples: int, pairs: Sequence[Pair], groups: Mapping[str, str], num_bad: int) -> str:
    """Returns counts for a person, a few lines."""
    kinds = Counter(pair.kind for pair in pairs)
    sizes = [len(ids) for ids in members(groups).values()]
    lines = [f"{num_examples} examples, {len(pairs)} pairs that show the same thing"]
    lines += [f"  {kinds[kind]:>6}  {kind}: {meaning}" for kind, meaning in KINDS.items() if kinds[kind]]
    lines.append(f"{len(sizes)} groups of {sum(sizes)} examples" + (f", the largest of {sizes[0]}" if sizes else ""))
    if num_bad:
        lines.append(f"{num_bad} examples cannot be read and were not compared")
    return "\n".join(lines)
