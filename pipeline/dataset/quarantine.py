"""Bad images: they stop the build, or are left out and listed."""

import csv
import io
from collections.abc import Iterable, Sequence

from pipeline.config import BuildConfig
from pipeline.errors import InputError
from pipeline.images import limits, stack
from pipeline.plan import table
from pipeline.plan.manifest import Manifest
from pipeline.store import files
from pipeline.store.files import Place
from pipeline.store.workspace import Workspace
from pipeline.write.reports import BadImageRow, ShardReport


class BadExamples(InputError):
    """Images that cannot be used, in a build that may leave out none, or not that many."""


def missing_images(source: Manifest) -> list[BadImageRow]:
    """Returns a row for each image of the label table that does not exist, or is too large to be read."""
    rows = [
        BadImageRow(missing.id, "+".join(missing.channels), "missing_filter", str(missing))
        for missing in source.missing
    ]
    limit = stack.max_bytes(source.schema)
    for example_id, sizes in source.file_bytes.items():
        for index, num_bytes in enumerate(sizes):
            if num_bytes > limit:
                detail = limits.too_large(num_bytes, limit)
                rows.append(BadImageRow(example_id, source.channels_of(index), "too_large", detail))
    return rows


def collect(
    config: BuildConfig, workspace: Workspace, reports: Sequence[ShardReport], num_examples: int
) -> tuple[BadImageRow, ...]:
    """Returns all bad images that workers reported.

    Raises:
      BadExamples: there are more than the build may leave out, or no example is left.
    """
    bad = tuple(row for report in reports for row in report.bad)
    check(config, workspace, bad, num_examples)
    if bad and not any(report.ids for report in reports):
        raise BadExamples("every example is bad; nothing is left to publish")
    return bad


def check(config: BuildConfig, workspace: Workspace, bad: Sequence[BadImageRow], num_examples: int) -> None:
    """Checks that the build may leave out the bad examples.

    Raises:
      BadExamples: it may not; all bad images are listed in a table beside the dataset.
    """
    num_bad = len({row.id for row in bad})
    if not bad or (config.on_error == "quarantine" and num_bad <= config.max_bad * num_examples):
        return
    write_table(workspace.bad_examples, bad)
    listed = table.summary([str(row) for row in sorted(bad, key=lambda row: (row.id, row.filter))], "bad images")
    if config.on_error == "quarantine":
        advice = f"more than --max-bad {config.max_bad:.3%}"
    else:
        advice = "replace them, or leave them out with --on-error quarantine"
    raise BadExamples(
        f"{num_bad} of {num_examples} examples are bad, and nothing was published ({advice}; "
        f"all of them: {workspace.bad_examples}): {listed}"
    )


def write_table(path: Place, rows: Iterable[BadImageRow]) -> None:
    """Writes a CSV of bad images (id, filter, reason code, detail), sorted by id."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "filter", "code", "detail"])
    writer.writerows(sorted((row.id, row.filter, row.code, row.detail) for row in rows))
    with files.replacing(path) as file:
        file.write(text.getvalue().encode())
