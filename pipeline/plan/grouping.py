"""Groups of examples that must not be separated, joined from several sources."""

from collections.abc import Iterable, Mapping


def join(*groupings: Mapping[str, str]) -> dict[str, str]:
    """Returns `{id: group}` in which examples that share a group in any of the groupings are in one group.

    Each grouping is `{id: group}`. With several, a group is named after its smallest id. An empty name means no group.
    """
    groupings = tuple({i: name for i, name in grouping.items() if name} for grouping in groupings)
    groupings = tuple(grouping for grouping in groupings if grouping)
    if len(groupings) <= 1:
        return dict(groupings[0]) if groupings else {}
    parent: dict[str, str] = {}
    for grouping in groupings:
        first: dict[str, str] = {}
        for example_id in sorted(grouping):
            _unite(parent, first.setdefault(grouping[example_id], example_id), example_id)
    return {example_id: _root(parent, example_id) for example_id in _all(groupings)}


def of_links(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Returns `{id: group}` in which both ids of each link are in one group, named after its smallest id."""
    parent: dict[str, str] = {}
    for first, second in links:
        _unite(parent, first, second)
    return {example_id: _root(parent, example_id) for example_id in sorted(parent)}


def _all(groupings: Iterable[Mapping[str, str]]) -> list[str]:
    return sorted({example_id for grouping in groupings for example_id in grouping})


def _root(parent: dict[str, str], example_id: str) -> str:
    while (above := parent.setdefault(example_id, example_id)) != example_id:
        parent[example_id] = parent[above]  # halves the path
        example_id = above
    return example_id


def _unite(parent: dict[str, str], first: str, second: str) -> None:
    smaller, larger = sorted((_root(parent, first), _root(parent, second)))
    parent[larger] = smaller
