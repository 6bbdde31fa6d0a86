"""Raw filter images, prepared for prediction by the code that made the dataset."""

import csv
import dataclasses
import itertools
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
from pipeline.schema import HPA_KAGGLE_2018
from pipeline.store import files
from pipeline.threads import map_ahead, num_cores

LOOK_AHEAD = 64
"""Images decoded ahead: 16 MiB at 256 x 256."""

BadImage = tuple[str, str, str, str]
"""Id, filter, code of the reason, detail."""


@dataclasses.dataclass(frozen=True)
class RawImages:
    """Examples in a folder or zip; `bad` is filled while batches are read."""

    path: Path
    images: Images
    ids: list[str]
    bad: list[BadImage] = dataclasses.field(default_factory=list)

    def batches(
        self, settings: Settings, batch_size: int, on_progress: Callable[[int, int], None]
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yields ids and images, uint8 `[B, S, S, C]` with the channels of `settings`, of the good examples."""
        channels = [HPA_KAGGLE_2018.channel_names.index(channel) for channel in settings.channels]
        good = self._good(settings.size, on_progress)
        while batch := list(itertools.islice(good, batch_size)):
            yield [example_id for example_id, _ in batch], np.stack([image[..., channels] for _, image in batch])

    def _good(self, size: int, on_progress: Callable[[int, int], None]) -> Iterator[tuple[str, np.ndarray]]:
        """Yields ids and images of the good examples, decoded ahead in threads; the others go to `bad`."""

        def load(example_id: str) -> np.ndarray | BadExample:
            try:
                schema = HPA_KAGGLE_2018
                return stack_example(self.images, schema.files(example_id), schema, size).image
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


def open_raw(path: Path) -> RawImages:
    """Returns the examples of which there is at least one filter image, sorted by id; unsafe ids are bad from the start.

    Raises:
        MissingError: `path` does not exist.
        InputError: it is neither a folder nor a zip, or holds no filter images.
    """
    try:
        images = sources.open_images(path)
    except FileNotFoundError as error:
        raise MissingError(str(error)) from None
    endings = tuple(f"_{name}.png" for name in HPA_KAGGLE_2018.channel_names)
    found = sorted({name.rpartition("_")[0] for name, *_ in images.entries() if name.endswith(endings)})
    bad: list[BadImage] = []
    ids = [example_id for example_id in found if _is_safe(example_id, bad)]
    if not found:
        raise InputError(
            f"{path}: no images <Id>_<filter>.png with the filters {', '.join(HPA_KAGGLE_2018.channel_names)}"
        )
    return RawImages(path, images, ids, bad)


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
        say(f"left out {example_id}: filter '{filter_name}': {code}: {detail}")
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
