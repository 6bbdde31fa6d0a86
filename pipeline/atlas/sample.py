"""A synthetic sample in Kaggle's layout: a folder of drawn images and their label table.

Example `index` of a sample is a pure function of (seed, balanced, index): the order of drawing and the number of
processes do not change its bytes (with the same versions of NumPy and OpenCV).
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import progress
from pipeline.atlas import processes
from pipeline.errors import InputError
from pipeline.schema import HPA_KAGGLE_2018, SYNTHETIC_NOTICE, SYNTHETIC_PREFIX
from pipeline.store import files
from pipeline.threads import num_cores

FILTERS = HPA_KAGGLE_2018.channel_names

if TYPE_CHECKING:
    import numpy as np

PNG_STRATEGY, PNG_FILTER = 3, 64
"""How PNGs are written: `cv2.IMWRITE_PNG_STRATEGY_RLE`, with which the compression level has no effect, and
`cv2.IMWRITE_PNG_FILTER_AVG`.

On the 60 real examples: 3.2 ms and 114 kB an image, against 9 ms and 125 kB at level 1, and 15 ms and 115 kB, as
in the real files, at level 6, zlib's default.
"""

_PNG_END = b"IEND\xaeB`\x82"

_CHUNK = 8  # examples per task: half a second, so that the bar moves and the overhead is small


@dataclasses.dataclass(frozen=True)
class Sample:
    """An unlimited sequence of examples; with `balanced` every class is equally frequent."""

    seed: int
    balanced: bool = False

    @property
    def prefix(self) -> str:
        """`synthetic-7-`, or `synthetic-7b-` of a balanced sample."""
        return f"{SYNTHETIC_PREFIX}{self.seed}{'b' if self.balanced else ''}-"

    @property
    def notice(self) -> str:
        """The text of `SYNTHETIC.txt`; its last line identifies the sample."""
        from pipeline.atlas.drawing import DRAWING_VERSION

        return (
            "Every image in this folder was drawn by a program from a seed; none is a photograph of a cell.\n"
            "It is there to try software out, and says nothing about any protein.\n"
            f"sample: seed {self.seed}, {'balanced' if self.balanced else 'real frequencies'}, "
            f"drawing {DRAWING_VERSION}\n"
        )

    def id(self, index: int) -> str:
        """For instance `synthetic-7-0000012`."""
        return f"{self.prefix}{index:07d}"

    def labels(self, index: int) -> tuple[int, ...]:
        """Class ids, ascending."""
        from pipeline.atlas.label_sets import draw_labels

        return draw_labels(self.seed, index, balanced=self.balanced)

    def draw(self, index: int) -> "dict[str, np.ndarray]":
        """`{filter: uint8 [512, 512]}`."""
        from pipeline.atlas.drawing import draw_example, generator

        return draw_example(generator(self.seed, index, balanced=self.balanced), self.labels(index))


def write_sample(
    out_dir: Path, *, num: int, seed: int, balanced: bool = False, workers: int | None = None, first: int = 0
) -> None:
    """Writes examples `first` to `first + num - 1` of a sample: `train.csv`, `train/<id>_<filter>.png`, a notice.

    Finished images are kept, and `train.csv`, written last, lists every example with all four images in the folder.
    So the same command continues a killed run, and two halves, drawn into one folder or two, have the same bytes as
    one run.

    Args:
      workers: processes to draw with; by default one for each processor this process may use.

    Raises:
      InputError: the folder holds something other than this sample, or a number is too small.
      JobError: a worker was killed.
      OSError: a file could not be written.
    """
    out_dir, sample = Path(out_dir), Sample(seed, balanced)
    workers = num_cores() if workers is None else workers
    for name, value, least in (("num", num, 1), ("seed", seed, 0), ("first", first, 0), ("workers", workers, 1)):
        if value < least:
            raise InputError(f"{name} is {value}, expected {least} or more")
    _claim(out_dir, sample)
    files.remove_temporaries(out_dir)
    images = out_dir / "train"
    images.mkdir(exist_ok=True)
    complete = _complete(images)
    missing = [index for index in range(first, first + num) if sample.id(index) not in complete]
    _draw_all(sample, images, missing, num, workers)
    _write_table(sample, out_dir)


def _claim(out_dir: Path, sample: Sample) -> None:
    """Creates the folder and its notice; raises `InputError` if it holds anything other than this sample."""
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f"{out_dir}: found a file, expected a folder to draw into; name another one")
    notice = out_dir / SYNTHETIC_NOTICE
    if notice.exists():
        text = notice.read_text(encoding="utf-8")
        if text != sample.notice:
            raise InputError(
                f"{out_dir}: found '{_last_line(text)}', expected '{_last_line(sample.notice)}'; "
                "name another folder, or delete this one"
            )
    elif others := _names_in(out_dir):
        raise InputError(
            f"{out_dir}: found {', '.join(others[:3])}{' ...' if len(others) > 3 else ''} and no {SYNTHETIC_NOTICE}, expected "
            "an empty folder or one with this sample; synthetic examples are kept apart: name another folder"
        )
    images = out_dir / "train"
    others = [name for name in _names_in(images) if not name.startswith(sample.prefix)]
    if others:
        raise InputError(
            f"{images}: found {others[0]}, expected only images whose names start with '{sample.prefix}'; "
            "name another folder"
        )
    if not notice.exists():
        _write(notice, sample.notice)


def _names_in(folder: Path) -> list[str]:
    names = os.listdir(folder) if folder.exists() else []
    return sorted(name for name in names if not name.startswith(files.TEMPORARY))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _complete(images: Path) -> set[str]:
    """Returns the ids whose four images are all in the folder."""
    names = set(_names_in(images))
    ids = {name.rpartition("_")[0] for name in names}
    return {example_id for example_id in ids if names.issuperset(f"{example_id}_{name}.png" for name in FILTERS)}


def _draw_all(sample: Sample, images: Path, missing: Sequence[int], num: int, workers: int) -> None:
    """Draws those of `num` examples that are `missing`, in this process or in several, with a progress bar."""
    chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    draw = functools.partial(_draw_some, sample, images)
    workers = min(workers, len(chunks))
    drawn = processes.map_unordered(draw, chunks, workers) if workers > 1 else (draw(chunk) for chunk in chunks)
    with contextlib.closing(drawn) as counts, progress.Bar("drawing") as update:
        done = num - len(missing)
        update(done, num)
        for count in counts:
            done += count
            update(done, num)


def _draw_some(sample: Sample, images: Path, indices: Sequence[int]) -> int:
    """Draws and writes examples; returns how many."""
    for index in indices:
        for name, pixels in sample.draw(index).items():
            _write_png(images / f"{sample.id(index)}_{name}.png", pixels)
    return len(indices)


def _write_png(path: Path, pixels: "np.ndarray") -> None:
    import cv2
    import imageio.v3 as iio

    options = [cv2.IMWRITE_PNG_STRATEGY, PNG_STRATEGY]
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # OpenCV 4.12 and later; earlier ones take 2 ms more for the same pixels
        options += [cv2.IMWRITE_PNG_FILTER, PNG_FILTER]
    with files.staged(path) as temporary:
        try:
            iio.imwrite(temporary, pixels, plugin="opencv", params=options)
            whole = temporary.read_bytes().endswith(_PNG_END)  # OpenCV does not report a missing last block
        except OSError:
            whole = False
        if not whole:
            raise OSError(
                f"{path}: not written completely; free some disk space and run the same command again: "
                "finished images are kept"
            )


def _write_table(sample: Sample, out_dir: Path) -> None:
    indices = sorted(int(example_id.removeprefix(sample.prefix)) for example_id in _complete(out_dir / "train"))
    rows = [f"{sample.id(index)},{' '.join(map(str, sample.labels(index)))}\n" for index in indices]
    _write(out_dir / "train.csv", "".join(["Id,Target\n", *rows]))


def _write(path: Path, text: str) -> None:
    with files.replacing(path) as file:
        file.write(text.encode())
