"""From a table of fingerprints to a group table, a table of pairs and a contact sheet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.duplicates import fingerprints
from pipeline.duplicates import groups as group_table
from pipeline.duplicates import pairs as similar
from pipeline.duplicates.pairs import Pair
from pipeline.errors import InputError
from pipeline.images import sources
from pipeline.plan import manifest, table
from pipeline.plan.table import Example
from pipeline.schema import Schema
from pipeline.store import files
from pipeline.store.files import Place

MAX_LISTED = 10


def run(
    fingerprints_path: Place,
    out: Place,
    labels: Place | None,
    images: Place | None,
    schema: Schema,
    *,
    rotations: bool = False,
    sheet: Path | None = None,
) -> str:
    """Writes the groups to `out`, the pairs beside it, and the contact sheet; returns a report for a person.

    Raises:
      InputError: a table that cannot be used, or fingerprints of other channels than the schema's.
      OSError: a file could not be written.
    """
    prints = fingerprints.read(fingerprints_path)
    labelled = table.read_table(labels, schema) if labels else None
    examples = {example.id: example for example in labelled.examples} if labelled else {}
    if labelled and prints.channels != schema.channel_names:
        raise InputError(
            f"{fingerprints_path}: its channels are {', '.join(prints.channels)}, but schema '{schema.name}' has "
            f"{', '.join(schema.channel_names)}; name the schema of these fingerprints"
        )
    pairs = similar.find(prints, rotations=rotations)
    if labelled:
        pairs = [pair for pair in pairs if pair.first in examples and pair.second in examples]
    found = group_table.join(pairs, *([manifest.column_groups(schema, labelled.columns)] if labelled else []))
    known = {example_id: example.labels for example_id, example in examples.items()}
    pairs_path = out.with_name(f"{out.name.removesuffix('.csv')}-pairs.csv")
    for path, data in ((out, group_table.to_csv(found)), (pairs_path, group_table.pairs_to_csv(pairs, known))):
        with files.replacing(path) as file:
            file.write(data)
    if sheet and images:
        _write_sheet(sheet, group_table.members(group_table.join(pairs)), examples, images, schema)
    lines = [group_table.report(len(prints.ids), pairs, found, len(prints.bad))]
    if without := len(examples.keys() - set(prints.ids) - prints.bad.keys()):
        lines.append(f"{without} examples of the label table have no fingerprint and were not compared")
    return "\n".join([*lines, *_conflicts(pairs, examples, schema), f"written: {out}, {pairs_path}"])


def _conflicts(pairs: Sequence[Pair], examples: Mapping[str, Example], schema: Schema) -> list[str]:
    """Returns lines about the pairs whose labels differ."""
    known = {example_id: example.labels for example_id, example in examples.items()}
    differing = group_table.conflicts(pairs, known)
    if not differing:
        return ["no pair has different labels"] if examples else []
    lines = [f"{len(differing)} pairs have different labels:"]
    for pair in differing[:MAX_LISTED]:
        first, second = (
            ", ".join(schema.classes[label] for label in known[example_id]) for example_id in (pair.first, pair.second)
        )
        lines.append(f"  {pair.first} ({first}) and {pair.second} ({second}): {pair.kind}")
    if len(differing) > MAX_LISTED:
        lines.append(f"  ... and {len(differing) - MAX_LISTED} more")
    return lines


def _write_sheet(
    path: Path, members: Mapping[str, Sequence[str]], examples: Mapping[str, Example], images: Place, schema: Schema
) -> None:
    import imageio.v3 as iio

    from pipeline.duplicates import sheet

    picture = sheet.draw(members, examples, sources.open_images(images, schema), schema)
    with files.staged(path) as temporary:
        iio.imwrite(temporary, picture, plugin="pillow", extension=".png")
