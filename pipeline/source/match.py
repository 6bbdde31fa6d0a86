"""How well a source matches a schema: what is found, what is missing, what the first images hold."""

from collections import Counter
from collections.abc import Iterator

from pipeline.images import depth
from pipeline.images.stack import BadExample, read_channels
from pipeline.plan import table
from pipeline.plan.manifest import Manifest, file_names

NUM_DECODED = 5


def report(source: Manifest) -> tuple[list[str], list[str]]:
    """Returns what matches and what does not, a line each; the first few examples are decoded."""
    return list(_facts(source)), list(_problems(source))


def _facts(source: Manifest) -> Iterator[str]:
    schema, num = source.schema, len(source.examples)
    yield f"schema {schema.name}: {schema.num_channels} channels, {schema.num_classes} classes"
    yield f"label table: {num} examples, {len({example.labels for example in source.examples})} distinct label sets"
    if groups := source.groups:
        yield f"{len(groups)} examples in {len(set(groups.values()))} groups ({', '.join(schema.table.groups)})"
    if source.examples:
        yield f"files of the first example: {', '.join(file_names(schema, source.examples[0]))}"
    missing = Counter(name for file in source.missing for name in file.channels)
    for channel in schema.channels:
        yield f"  {channel.name:<24}{num - missing[channel.name]:>8} of {num} files found"
    yield f"image files of ids that are not in the label table: {source.num_unlisted}"
    for example in source.examples[:NUM_DECODED]:
        yield from _decoded(source, example)
    yield f"opened {min(num, NUM_DECODED)} of {num} examples; 'python -m pipeline audit --deep' opens all"
    if unknown := sum(channel.shows == "?" for channel in schema.channels):
        yield f'channels that still have shows = "?": {unknown}'
    counts = table.count_labels(source.examples, schema.num_classes)
    if unused := [name for name, count in zip(schema.classes, counts, strict=True) if not count]:
        yield f"classes without an example: {', '.join(unused)}"


def _decoded(source: Manifest, example: table.Example) -> Iterator[str]:
    schema = source.schema
    try:
        channels = read_channels(source.images, file_names(schema, example), schema)
    except BadExample:
        return
    for channel, image in zip(schema.channels, channels, strict=True):
        full = depth.full_range(image, schema.depth)
        yield (
            f"  {example.id[:40]:<40} {channel.name:<12} {image.shape[1]}x{image.shape[0]} {image.dtype}, "
            f"values {image.min()} to {image.max()} of {full}"
        )


def _problems(source: Manifest) -> Iterator[str]:
    for missing in source.missing:
        yield f"image '{missing.id}': {missing}"
    for example in source.examples[:NUM_DECODED]:
        if any(size < 0 for size in source.file_bytes[example.id]):
            continue
        try:
            read_channels(source.images, file_names(source.schema, example), source.schema)
        except BadExample as error:
            yield from (f"image '{example.id}': {image.filter}: {image.code}: {image.detail}" for image in error.images)
