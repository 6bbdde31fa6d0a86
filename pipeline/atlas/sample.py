"""Where do images come from when there are none? A synthetic sample in Kaggle's layout, drawn from a seed.

Example `index` of a sample is a pure function of (seed, index, balanced): whoever draws it, in whatever order
and company, writes the same bytes (with the same versions of NumPy and OpenCV).
"""

import concurrent.futures.process
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import progress
from pipeline.errors import InputError, JobError
from pipeline.schema import FILTERS, SYNTHETIC_PREFIX
from pipeline.threads import num_cores

if TYPE_CHECKING:
    import numpy as np

NOTICE = "SYNTHETIC.txt"

PNG_STRATEGY, PNG_FILTER = 3, 64
"""How PNGs are written: `cv2.IMWRITE_PNG_STRATEGY_RLE` (it makes the compression level irrelevant) and
`cv2.IMWRITE_PNG_FILTER_AVG`.

On the 60 real examples: 3.2 ms and 114 kB an image, against 9 ms and 125 kB at level 1, and 15 ms and the real
files' 115 kB at level 6, zlib's default.
"""

_PNG_END = b"IEND\xaeB`\x82"

_PARTIAL = ".partial-"

_CHUNK = 8  # Examples a task: half a second, so that the bar moves and a task costs nothing.


def example_id(seed: int, index: int, *, balanced: bool = False) -> str:
    """For instance `synthetic-7-0000012`, or `synthetic-7b-0000012` of a balanced sample."""
    return f"{_id_prefix(seed, balanced)}{index:07d}"


def _id_prefix(seed: int, balanced: bool) -> str:
    return f"{SYNTHETIC_PREFIX}{seed}{'b' if balanced else ''}-"


def write_sample(
    out_dir: Path, *, num: int, seed: int, balanced: bool = False, workers: int | None = None, first: int = 0
) -> None:
    """Draws examples `first` to `first + num - 1` of a sample: `train.csv`, `train/<id>_<filter>.png`, a notice.

    A folder may be filled in pieces: what is complete is kept, and `train.csv`, written last, lists every
    example of which the folder holds all four images. So a killed run is continued by the same command, and two
    halves, drawn into one folder one after the other or into two, are byte for byte the files of the whole.

    Args:
      workers: processes to draw with; by default one for each processor this process may use.

    Raises:
      InputError: the folder holds something else than this sample, or a number makes no sense.
      JobError: a worker was killed.
      OSError: a file could not be written.
    """
    out_dir = Path(out_dir)
    workers = num_cores() if workers is None else workers
    for name, value, least in (("num", num, 1), ("seed", seed, 0), ("first", first, 0), ("workers", workers, 1)):
        if value < least:
            raise InputError(f"{name} is {value}, expected {least} or more")
    images = out_dir / "train"
    _claim(out_dir, seed, balanced)
    images.mkdir(exist_ok=True)
    for leftover in images.glob(f"{_PARTIAL}*"):
        leftover.unlink()  # of a run that was killed
    complete = _complete(images)
    wanted = range(first, first + num)
    missing = [index for index in wanted if example_id(seed, index, balanced=balanced) not in complete]
    _draw_all(images, seed, balanced, missing, num, workers)
    _write_table(out_dir, seed, balanced)


def _notice(seed: int, balanced: bool) -> str:
    from pipeline.atlas.drawing import DRAWING_VERSION

    return (
        "Every image in this folder was drawn by a program from a seed; none is a photograph of a cell.\n"
        "It is there to try software out, and says nothing about any protein.\n"
        f"sample: seed {seed}, {'balanced' if balanced else 'real frequencies'}, drawing {DRAWING_VERSION}\n"
    )


def _claim(out_dir: Path, seed: int, balanced: bool) -> None:
    """Makes the folder and its notice, or checks that what is there is this sample."""
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f"{out_dir}: found a file, expected a folder to draw into; name another one")
    notice, expected = out_dir / NOTICE, _notice(seed, balanced)
    if not notice.exists():
        names = os.listdir(out_dir) if out_dir.exists() else []
        there = sorted(name for name in names if not name.startswith(_PARTIAL))
        if there:
            raise InputError(
                f"{out_dir}: found {', '.join(there[:3])}{' ...' if len(there) > 3 else ''} and no {NOTICE}, expected "
                "an empty folder or one with this sample; synthetic examples are kept apart: name another folder"
            )
        out_dir.mkdir(parents=True, exist_ok=True)
        _replace(notice, expected.encode())
    elif (found := notice.read_text(encoding="utf-8")) != expected:
        raise InputError(
            f"{out_dir}: found '{_last_line(found)}', expected '{_last_line(expected)}'; "
            "name another folder, or delete this one"
        )
    prefix, images = _id_prefix(seed, balanced), out_dir / "train"
    names = os.listdir(images) if images.exists() else []
    strangers = [name for name in names if not name.startswith((prefix, _PARTIAL))]
    if strangers:
        raise InputError(
            f"{images}: found {min(strangers)}, expected only images whose names start with '{prefix}'; "
            "name another folder"
        )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _complete(images: Path) -> set[str]:
    """Ids of which all four images are there."""
    files = set(os.listdir(images))
    first = f"_{FILTERS[0]}.png"
    ids = {name.removesuffix(first) for name in files if name.endswith(first) and not name.startswith(".")}
    return {one for one in ids if all(f"{one}_{name}.png" in files for name in FILTERS)}


def _draw_all(images: Path, seed: int, balanced: bool, missing: Sequence[int], num: int, workers: int) -> None:
    """Draws what is missing of `num` examples, in this process or in several others, and shows how far it is."""
    chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    draw = functools.partial(_draw_some, images, seed, balanced)
    with progress.Bar("drawing") as update:
        done = num - len(missing)
        update(done, num)
        if workers == 1 or len(chunks) <= 1:
            counts: Iterable[int] = map(draw, chunks)
        else:
            counts = _in_processes(draw, chunks, min(workers, len(chunks)))
        for count in counts:
            done += count
            update(done, num)


def _in_processes(draw: Callable[[Sequence[int]], int], chunks: Sequence[Sequence[int]], workers: int) -> Iterator[int]:
    """Yields the results of `draw` as they come, whatever their order."""
    # Fresh processes: forking a process that has threads (a notebook's, say) can lock up.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _become_worker, (os.getpid(),))
    try:
        for task in concurrent.futures.as_completed([pool.submit(draw, chunk) for chunk in chunks]):
            yield task.result()
    except concurrent.futures.process.BrokenProcessPool:
        raise JobError(
            f"a drawing process was killed, perhaps for want of memory; start again with fewer than {workers} workers: "
            "what is done is kept"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _become_worker(parent: int) -> None:
    """A worker is one of many, leaves Ctrl-C to its parent, and does not outlive it."""
    import cv2

    cv2.setNumThreads(1)  # else each worker starts a thread for every processor
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _draw_some(images: Path, seed: int, balanced: bool, indices: Iterable[int]) -> int:
    """Draws and writes examples; returns how many."""
    from pipeline.atlas.drawing import draw_example, generator
    from pipeline.atlas.label_sets import draw_labels

    count = 0
    for index in indices:
        labels = draw_labels(seed, index, balanced=balanced)
        rng = generator(seed, index, balanced=balanced)
        for name, pixels in draw_example(rng, labels).items():
            _write_png(images / f"{example_id(seed, index, balanced=balanced)}_{name}.png", pixels)
        count += 1
    return count


def _write_png(path: Path, pixels: "np.ndarray") -> None:
    import cv2
    import imageio.v3 as iio

    partial = _partial(path)
    options = [cv2.IMWRITE_PNG_STRATEGY, PNG_STRATEGY]
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # OpenCV 4.12 and later; before, the same pixels in 2 ms more
        options += [cv2.IMWRITE_PNG_FILTER, PNG_FILTER]
    try:
        iio.imwrite(partial, pixels, plugin="opencv", params=options)
        with open(partial, "rb") as file:
            file.seek(-len(_PNG_END), os.SEEK_END)
            whole = file.read() == _PNG_END  # OpenCV does not look whether the last block reached the disk.
    except OSError:
        whole = False
    if not whole:
        raise OSError(
            f"{path}: could not be written whole; make room on the disk and start again: what is done is kept"
        )
    os.replace(partial, path)


def _partial(path: Path) -> Path:
    """Where this process writes a file before it gets its name; same suffix, which tells imageio the format."""
    return path.with_name(f"{_PARTIAL}{os.getpid()}-{path.name}")


def _replace(path: Path, content: bytes) -> None:
    """Writes a file that is either not there or whole."""
    partial = _partial(path)
    partial.write_bytes(content)
    os.replace(partial, path)


def _write_table(out_dir: Path, seed: int, balanced: bool) -> None:
    from pipeline.atlas.label_sets import draw_labels

    prefix = _id_prefix(seed, balanced)
    indices = sorted(int(one.removeprefix(prefix)) for one in _complete(out_dir / "train"))
    rows = ["Id,Target"]
    for index in indices:
        labels = " ".join(map(str, draw_labels(seed, index, balanced=balanced)))
        rows.append(f"{example_id(seed, index, balanced=balanced)},{labels}")
    _replace(out_dir / "train.csv", ("\n".join(rows) + "\n").encode())
