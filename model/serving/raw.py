"""Raw images, prepared for prediction by the code that made the dataset."""

import csv
import dataclasses
import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from model.settings import Settings
from pipeline.errors import InputError, MissingError, shown
from pipeline.images import sources
from pipeline.images.names import check_id
from pipeline.images.sources import Images
from pipeline.images.stack import BadExample, stack_example
from pipeline.schema import Schema
from pipeline.schema.declared import placeholders
from pipeline.store import files
from pipeline.threads import map_ahead, num_cores

LOOK_AHEAD = 64
"""Images decoded ahead: 16 MiB at 256 x 256."""

BadImage = tuple[str, str, str, str]
"""Id, channel, code of the reason, detail."""


@dataclasses.dataclass(frozen=True)
class RawImages:
    """Examples in a folder or zip, with files as `schema` says; `bad` is filled while batches are read."""

    path: Path
    images: Images
    schema: Schema
    ids: list[str]
    bad: list[BadImage] = dataclasses.field(default_factory=list)

    def batches(
        self, settings: Settings, batch_size: int, on_progress: Callable[[int, int], None]
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yields ids and images `[B, S, S, C]` with the channels of `settings`, of the good examples."""
        channels = [self.schema.channel_names.index(channel) for channel in settings.channels]
        good = self._good(settings.size, on_progress)
        while batch := list(itertools.islice(good, batch_size)):
            yield [example_id for example_id, _ in batch], np.stack([image[..., channels] for _, image in batch])

    def _good(self, size: int, on_progress: Callable[[int, int], None]) -> Iterator[tuple[str, np.ndarray]]:
        """Yields ids and images of the good examples, decoded ahead in threads; the others go to `bad`."""

        def load(example_id: str) -> np.ndarray | BadExample:
            try:
                return stack_example(self.images, self.schema.files(example_id), self.schema, size).image
            except BadExample as error:
                return error

        with ThreadPoolExecutor(num_cores()) as pool:
            loaded = map_ahead(pool, load, self.ids, LOOK_AHEAD)
            for done, (example_id, image) in enumerate(zip(self.ids, loaded, strict=True), 1):
                if isinstance(image, BadExample):
                    self.bad.extend((example_id, bad.filter, bad.code, bad.detail) for bad in image.images)
                else:
                    yield example_id, image
                on_progress(done, len(self.ids))


def open_raw(path: Path, schema: Schema) -> RawImages:
    """Returns the examples that have at least one file, sorted by id; those with unsafe ids are already in `bad`.

    Raises:
        MissingError: `path` does not exist.
        InputError: it is neither a folder nor a zip, holds no such files, or their names need a label table.
    """
    schema = _found_by_id(schema)
    try:
        images = sources.open_images(path, schema)
    except FileNotFoundError as error:
        raise MissingError(str(error)) from None
    found = find_ids(images, schema)
    bad: list[BadImage] = []
    ids = [example_id for example_id in found if _is_safe(example_id, bad)]
    if not found:
        expected = ", ".join(source.pattern for source in schema.default_sources[:8])
        raise InputError(
            f"{path}: no images named as schema '{schema.name}' says: {expected}{_elsewhere(path, schema)}"
        )
    return RawImages(path, images, schema, ids, bad)


def _elsewhere(path: Path, schema: Schema) -> str:
    """Returns advice if the images are in the folder or zip beside the label table, as in a source."""
    for name in (schema.folder, f"{schema.folder}.zip"):
        inner = path / name
        if schema.folder and inner.exists() and find_ids(sources.open_images(inner, schema), schema):
            return f"; they are in {inner}: --images {shlex.quote(str(inner))}"
    return ""


def _found_by_id(schema: Schema) -> Schema:
    """Returns the schema with its first pattern by which files can be found without a label table."""
    for pattern in schema.patterns or ("",):
        sources_of = schema.sources(pattern)
        if {name for source in sources_of for name in placeholders(source.pattern)} == {"id"}:
            return dataclasses.replace(schema, patterns=(pattern,) if pattern else ())
    raise InputError(
        f"schema '{schema.name}' names files by columns of its label table, {', '.join(schema.patterns)}: raw images "
        "cannot be found by id; build a dataset of them, and predict it with --split and --other-dataset"
    )


def find_ids(images: Images, schema: Schema) -> list[str]:
    """Returns the ids that have at least one file, sorted."""
    patterns = [source.pattern for source in schema.default_sources]
    expressions = [_expression(pattern) for pattern in patterns]
    found = set()
    for name, *_ in images.entries(deep=any("/" in pattern for pattern in patterns)):
        if name.lower().endswith(sources.ENDINGS):
            found |= {match["id"] for expression in expressions if (match := expression.fullmatch(name))}
    return sorted(found)


def _expression(pattern: str) -> re.Pattern[str]:
    """Returns the expression for names of files by a pattern in which `{id}` may occur several times."""
    first, *others = pattern.split("{id}")
    text = re.escape(first) + "(?P<id>.+)" + "(?P=id)".join(map(re.escape, others))
    return re.compile(text, re.DOTALL)


def _is_safe(example_id: str, bad: list[BadImage]) -> bool:
    """Returns whether an id could be in a label table; one that could not is added to `bad`."""
    try:
        check_id(example_id)
    except ValueError as error:
        bad.append((example_id, "", "bad_id", str(error)))
        return False
    return True


def report_bad(bad: Sequence[BadImage], table: Path, say: Callable[[str], None]) -> int:
    """Prints the first ten bad images, writes all of them to `table`, and returns how many examples are bad.

    A table of an earlier prediction is removed.
    """
    table.unlink(missing_ok=True)
    if not bad:
        return 0
    for example_id, filter_name, code, detail in bad[:10]:
        say(f"left out {example_id}: channel '{filter_name}': {code}: {detail}")
    if len(bad) > 10:
        say(f"and {len(bad) - 10:,} more")
    with files.staged(table) as temporary, open(temporary, "w", newline="") as file:
        rows = ([_cell(text) for text in row] for row in bad)
        csv.writer(file, lineterminator="\n").writerows([("id", "filter", "code", "detail"), *rows])
    say(f"all bad images: {table}")
    return len({example_id for example_id, *_ in bad})


def _cell(text: str) -> str:
    """Returns text for a table that people open in a spreadsheet: shown as text, and never run as a formula."""
    text = shown(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
