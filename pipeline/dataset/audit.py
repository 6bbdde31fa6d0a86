"""Audit of a source: counts everything and finds every problem, without writing anything."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pipeline.dataset import quarantine
from pipeline.images import sources
from pipeline.images.stack import BadExample, stack_example
from pipeline.plan import manifest
from pipeline.plan.manifest import Manifest, file_names
from pipeline.plan.table import Example, count_labels
from pipeline.schema import HPA_KAGGLE_2018, Schema
from pipeline.source.fitting import fitting_size
from pipeline.store.files import Place
from pipeline.threads import map_ahead
from pipeline.write.reports import BadImageRow
from pipeline.write.writer import bad_rows


@dataclasses.dataclass(frozen=True)
class Audit:
    """The outcome of an audit; `problems` has one line for each bad image, `size` is what a build would ask for."""

    source: Manifest
    problems: tuple[str, ...]
    num_bad: int
    deep: bool
    size: int

    def report(self) -> str:
        """Returns the counts and every problem, as text."""
        examples, kinds = self.source.examples, Counter(len(e.labels) for e in self.source.examples)
        classes = self.source.schema.classes
        lines = [
            f"{len(examples)} examples, {len({e.labels for e in examples})} distinct label sets",
            "labels per example: " + ", ".join(f"{k}: {kinds[k]}" for k in sorted(kinds)),
            *(
                f"  {label:>2} {name:<31}{count:>8}"
                for label, (name, count) in enumerate(zip(classes, count_labels(examples, len(classes)), strict=True))
            ),
            f"images of ids that are not in the label table (left alone): {self.source.num_unlisted}",
            *self.problems,
            f"examples with problems: {self.num_bad} of {len(examples)}"
            if self.problems
            else ("no problems" if self.deep else "no problems (images were listed, not decoded: see --deep)"),
        ]
        return "\n".join(lines)


def audit(
    labels: Place,
    images: Place,
    schema: Schema = HPA_KAGGLE_2018,
    *,
    deep: bool = False,
    size: int | None = None,
    threads: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Reads the label table, lists the images and, if `deep`, decodes every one of them.

    Args:
      labels: the label table.
      images: folder or zip.
      schema: describes the source.
      deep: decode too.
      size: the pixels a side that a build would ask for; smaller images are a problem. `None`: what fits the first.
      threads: to decode with; `None`: as many as suit the machine and the source.
      on_progress: called with (examples done, examples in all) while decoding.

    Raises:
      InputError: a label table that cannot be used, every bad row named.
    """
    source = manifest.read(labels, sources.open_images(images, schema), schema)
    size = size or fitting_size(source)
    if deep:
        bad = _decode_all(source, size, threads or source.images.threads, on_progress)
    else:
        bad = quarantine.missing_images(source) + _empty_files(source)
    rows = sorted(bad, key=lambda row: (row.id, row.filter))
    return Audit(source, tuple(map(str, rows)), len({row.id for row in rows}), deep, size)


def _empty_files(source: Manifest) -> list[BadImageRow]:
    return [
        BadImageRow(example.id, source.channels_of(k), "empty", "the file has 0 bytes and holds no image")
        for example in source.examples
        for k, num_bytes in enumerate(source.file_bytes[example.id])
        if num_bytes == 0
    ]


def _decode_all(
    source: Manifest, size: int, threads: int, on_progress: Callable[[int, int], None]
) -> list[BadImageRow]:
    def check(example: Example) -> list[BadImageRow]:
        try:
            stack_example(source.images, file_names(source.schema, example), source.schema, size)
        except BadExample as error:
            return bad_rows(example.id, error)
        return []

    bad = []
    with ThreadPoolExecutor(threads) as pool:
        for done, rows in enumerate(map_ahead(pool, check, source.examples, 4 * threads), 1):
            bad += rows
            on_progress(done, len(source.examples))
    return bad
