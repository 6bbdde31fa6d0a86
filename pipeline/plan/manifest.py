"""The input of a build: the examples of the label table and the files they are made from."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.errors import InputError
from pipeline.images import sources
from pipeline.plan import grouping, table
from pipeline.plan.table import Example
from pipeline.schema import HPA_KAGGLE_2018, SYNTHETIC_PREFIX, VERSION, Schema
from pipeline.schema.declared import placeholders
from pipeline.store.files import Place


@dataclasses.dataclass(frozen=True)
class MissingFile:
    """A file that does not exist; `channels` are the names of its channels, `similar` is a file that may be meant."""

    id: str
    channels: tuple[str, ...]
    name: str
    similar: str | None = None

    def __str__(self) -> str:
        hint = f", but there is {self.similar}" if self.similar else ""
        return f"no file {self.name}{hint}"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The input of a build.

    Attributes:
      schema: describes it.
      examples: sorted by id.
      columns: `{column: {id: value}}` of the schema's further columns.
      images: where the images are.
      file_bytes: `{id: sizes}`, the size in bytes of each file of an example; -1 if it is missing.
      missing: files that do not exist.
      num_unlisted: image files whose id is not in the label table.
      stamps: `{id: number}`, a hash of the sizes and stamps (`sources.Entry`) of the files of each example.
    """

    schema: Schema
    examples: tuple[Example, ...]
    columns: Mapping[str, Mapping[str, str]]
    images: sources.Images
    file_bytes: Mapping[str, tuple[int, ...]]
    missing: tuple[MissingFile, ...]
    num_unlisted: int
    stamps: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        return any(example.id.startswith(SYNTHETIC_PREFIX) for example in self.examples)

    @property
    def groups(self) -> dict[str, str]:
        """`{id: group}` by the schema's group columns."""
        return column_groups(self.schema, self.columns)

    def channels_of(self, index: int) -> str:
        """Returns the channels of an example's file, given its index in `file_bytes`, joined with '+'."""
        return "+".join(self.schema.channels[k].name for k in self.schema.default_sources[index].channels)

    def names(self, example: Example) -> tuple[str, ...]:
        """Returns the names of an example's files."""
        return file_names(self.schema, example)

    def listed(self, examples: Iterable[Example]) -> str:
        """Returns a digest of the listing of these examples' files, which changes if a file is replaced."""
        rows = "".join(f"{example.id} {self.stamps[example.id]:x}\n" for example in examples)
        return hashlib.sha256(rows.encode()).hexdigest()

    def relisted(self) -> "Manifest":
        """Returns the same examples with sizes and stamps of their files as they are now."""
        images = self.images.fresh()
        names = {example.id: self.names(example) for example in self.examples}
        listed, stamps = _list(images, self.schema, self.examples)
        return dataclasses.replace(self, images=images, file_bytes=_sizes(names, listed), stamps=_stamps(names, stamps))

    def fingerprint(self, **parameters: object) -> str:
        """SHA-256 (hex) of everything that decides the published bytes: schema, labels, listing, parameters, version.

        It does not depend on the order of the rows, nor on whether the images are in a folder or in a zip.
        """
        carried = [self.columns[name] for name in self.schema.published_columns]
        decisive = [VERSION, self.schema.to_dict(), parameters]
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
        for example in self.examples:
            row = [example.id, example.labels, self.file_bytes[example.id], [of[example.id] for of in carried]]
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()


def read(labels_path: Place, images: sources.Images, schema: Schema = HPA_KAGGLE_2018) -> Manifest:
    """Reads the label table and lists the images.

    Raises:
      InputError: a table that cannot be used. Missing images raise no error here, see `Manifest.missing`.
    """
    read_table = table.read_table(labels_path, schema)
    examples = read_table.examples
    num_synthetic = sum(example.id.startswith(SYNTHETIC_PREFIX) for example in examples)
    if 0 < num_synthetic < len(examples):
        raise InputError(
            f"{labels_path}: {num_synthetic} of {len(examples)} ids start with '{SYNTHETIC_PREFIX}'; "
            "drawn and real examples cannot be mixed: build them separately"
        )
    listed, stamps = _list(images, schema, examples)
    if schema.needs_table:
        examples = _with_files(labels_path, schema, examples, read_table.columns, listed)
    names = {example.id: file_names(schema, example) for example in examples}
    claimed = {name for files in names.values() for name in files}
    unclaimed = listed.keys() - claimed
    return Manifest(
        schema=schema,
        examples=tuple(examples),
        columns=read_table.columns,
        images=images,
        file_bytes=_sizes(names, listed),
        missing=tuple(_missing(schema, names, listed, unclaimed)),
        num_unlisted=_count_like(schema, unclaimed),
        stamps=_stamps(names, stamps),
    )


def _list(images: sources.Images, schema: Schema, examples: Sequence[Example]) -> tuple[dict[str, int], dict[str, int]]:
    """Returns the size in bytes, and a hash of name, size and stamp, of every file by name."""
    deep = any("/" in pattern for pattern in _patterns(schema)) or any("/" in example.id for example in examples)
    listed, stamps = {}, {}
    for name, num_bytes, stamp in images.entries(deep=deep):
        listed[name] = num_bytes
        text = f"{name}/{num_bytes}/{stamp}"
        stamps[name] = int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest())
    return listed, stamps


def _sizes(names: Mapping[str, Sequence[str]], listed: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    return {i: tuple(listed.get(name, -1) for name in files) for i, files in names.items()}


def _stamps(names: Mapping[str, Sequence[str]], stamps: Mapping[str, int]) -> dict[str, int]:
    return {i: sum(stamps.get(name, 0) for name in files) % 2**64 for i, files in names.items()}


def file_names(schema: Schema, example: Example) -> tuple[str, ...]:
    """Returns the names of an example's files, in the order of `schema.sources()`."""
    return example.files or schema.files(example.id)


def column_groups(schema: Schema, columns: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Returns `{id: group}` of examples that share a value of one of the schema's group columns."""
    return grouping.join(*(columns[name] for name in schema.table.groups))


def _patterns(schema: Schema) -> list[str]:
    """Returns the patterns of all files by which the schema may find an example."""
    return [source.pattern for pattern in schema.patterns or ("",) for source in schema.sources(pattern)]


def _with_files(
    path: Place,
    schema: Schema,
    examples: Sequence[Example],
    columns: Mapping[str, Mapping[str, str]],
    listed: Mapping[str, int],
) -> list[Example]:
    """Returns the examples with the names of their files, by the pattern that most of them follow."""
    candidates = [_named(path, schema, pattern, examples, columns) for pattern in schema.patterns or ("",)]
    best = max(candidates, key=lambda named: sum(name in listed for example in named for name in example.files))
    owner: dict[str, str] = {}
    problems = []
    for example in best:
        for name in example.files:
            if owner.setdefault(name, example.id) != example.id:
                problems.append(f"examples '{owner[name]}' and '{example.id}' have the same file {name}")
    if problems:
        raise InputError(f"{path}: {table.summary(problems, 'problems')}")
    return best


def _named(
    path: Place, schema: Schema, pattern: str, examples: Sequence[Example], columns: Mapping[str, Mapping[str, str]]
) -> list[Example]:
    sources_of, problems, named = schema.sources(pattern), [], []
    for example in examples:
        values = {"id": example.id} | {name: of[example.id] for name, of in columns.items()}
        files = tuple(source.pattern.format_map(values) for source in sources_of)
        problems += [
            f"id '{example.id}': its file '{name}' is outside the folder of the images"
            for name in files
            if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name or not name
        ]
        named.append(dataclasses.replace(example, files=files))
    if problems:
        raise InputError(f"{path}: {table.summary(problems, 'problems')}")
    return named


def _missing(
    schema: Schema, names: Mapping[str, Sequence[str]], listed: Mapping[str, int], unclaimed: set[str]
) -> Iterator[MissingFile]:
    by_stem = {name.rpartition(".")[0].rpartition("/")[2]: name for name in sorted(unclaimed)}
    for example_id, files in names.items():
        for name, source in zip(files, schema.default_sources, strict=True):
            if name not in listed:
                channels = tuple(schema.channels[index].name for index in source.channels)
                stem = name.rpartition("/")[2]
                stem = stem.rpartition(".")[0] if stem.lower().endswith(sources.ENDINGS) else stem
                yield MissingFile(example_id, channels, name, by_stem.get(stem))


def _count_like(schema: Schema, names: set[str]) -> int:
    """Returns how many of the names follow a pattern of the schema."""
    expressions = []
    for pattern in dict.fromkeys(_patterns(schema)):
        expression = re.escape(pattern)
        for name in placeholders(pattern):
            expression = expression.replace(re.escape(f"{{{name}}}"), ".+")
        expressions.append(expression)
    like = re.compile("|".join(expressions))
    return sum(like.fullmatch(name) is not None for name in names)
