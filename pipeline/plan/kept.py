"""An earlier split, kept when the label table grows."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence

from pipeline.errors import InputError
from pipeline.plan import table
from pipeline.plan.table import Example
from pipeline.schema import SPLITS
from pipeline.store import files, layout
from pipeline.store.files import Place

HEADER = ("Id", "Split")


def read(place: Place) -> dict[str, str]:
    """Returns `{id: split}` from a CSV with header `Id,Split`, or from the one in a published dataset's folder.

    Raises:
      InputError: a file that cannot be read, a row that is not 'id,split', an id that occurs twice.
    """
    path = place if place.name.endswith(".csv") else place / layout.SPLIT
    of: dict[str, str] = {}
    problems: list[str] = []
    place_of, num_columns, rows = table.read_rows(path, HEADER)
    for number, row in rows:
        if len(row) != num_columns:
            problems.append(f"row {number}: expected 'id,split', found {table.cut(','.join(row))!r}")
            continue
        example_id, split = row[place_of["Id"]], row[place_of["Split"]]
        shown = table.cut(example_id)
        if split not in SPLITS:
            problems.append(
                f"row {number}: id '{shown}' is in split '{table.cut(split)}', expected one of {', '.join(SPLITS)}"
            )
        elif example_id in of:
            problems.append(
                f"row {number}: id '{shown}' is in {split}, and in {of[example_id]} in an earlier row; keep one"
            )
        else:
            of[example_id] = split
    if problems:
        raise InputError(f"{path}: {table.summary(problems, 'bad rows')}")
    return of


def write(path: Place, of: Mapping[str, str]) -> None:
    """Writes a split as a CSV, in the order of the ids."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(sorted(of.items()))
    with files.replacing(path) as file:
        file.write(text.getvalue().encode())


def digest(of: Mapping[str, str]) -> str:
    """Returns the SHA-256 (hex) of a split; the order of its rows has no effect."""
    found = hashlib.sha256()
    for example_id, split in sorted(of.items()):
        found.update(f"{example_id},{split}\n".encode())
    return found.hexdigest()


def fixed(
    examples: Sequence[Example], groups: Mapping[str, str], earlier: Mapping[str, str], names: Sequence[str]
) -> dict[str, int]:
    """Returns `{id: number of its split}` of all examples that an earlier split decides.

    These are its own, and those that share a group with one of them.

    Raises:
      InputError: a group is in two splits.
    """
    first: dict[str, str] = {}  # group -> an example of it in the earlier split
    problems = []
    for example in examples:
        group = groups.get(example.id)
        if group is None or example.id not in earlier:
            continue
        other = first.setdefault(group, example.id)
        if earlier[other] != earlier[example.id]:
            problems.append(
                f"group '{group}' has '{other}' in {earlier[other]} and '{example.id}' in {earlier[example.id]}"
            )
    if problems:
        raise InputError(
            "the earlier split divides groups, so it cannot be kept: correct the group table or split anew "
            f"(without --keep, or with --resplit): {table.summary(problems, 'examples')}"
        )
    number = {name: k for k, name in enumerate(names)}
    found = {}
    for example in examples:
        leader = first.get(groups[example.id]) if example.id in groups else example.id
        if leader is not None and leader in earlier:
            found[example.id] = number[earlier[leader]]
    return found


def listed(ids: Sequence[str]) -> str:
    """Returns how many ids there are and the first ten of them."""
    more = f" and {len(ids) - table.MAX_LISTED} more" if len(ids) > table.MAX_LISTED else ""
    return f"{len(ids)} examples: {', '.join(ids[: table.MAX_LISTED])}{more}"
