"""The sections of a benchmark: each runs its contenders and returns the values of their figures."""

import contextlib
import dataclasses
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from bench import builders, contents, measure, planners, readers
from bench.checkout import CORES, HERE, LABELS, Checkout, dataset_dir, make_source, shards, versions_dir
from bench.figures import results

NUM_ALL = 31_072
"""Examples of the Human Protein Atlas set of 2018."""

Contender = Callable[[int], dict[str, float]]
"""A function of the round's number that returns named figures."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured: `num` examples are built, and `before` is a checkout to compare with, if any.

    `unfinished` has the number of rows that a planner did not split in time, so that it is not asked again.
    """

    rounds: int = 3
    num: int = 1_000
    num_read: int = 2_048
    full: bool = False
    builders: tuple[str, ...] = tuple(builders.BUILDERS)
    readers: tuple[str, ...] = (*readers.READERS, "limit")
    before: Checkout | None = None
    unfinished: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def checkouts(self) -> dict[str, Checkout]:
        """This checkout as `ours` and the other one, if any, as `before`."""
        return {"ours": HERE} | ({"before": self.before} if self.before else {})

    def names(self, others: tuple[str, ...]) -> list[str]:
        """Returns the contenders: this project, its other checkout if any, then `others`."""
        return list(dict.fromkeys([*self.checkouts, *others]))


@contextlib.contextmanager
def _new_folder(work: Path) -> Iterator[Path]:
    """Yields the path of a folder that does not exist yet, and removes what is made there."""
    path = Path(tempfile.mkdtemp(dir=work)) / "out"
    try:
        yield path
    finally:
        shutil.rmtree(path.parent)


def _build(options: Options, name: str, source: Path, out: Path) -> measure.Run:
    """Runs the builder `name`: a checkout, a peer or a limit."""
    if name in options.checkouts:
        return options.checkouts[name].run(*shards(source, out))
    return HERE.run("-m", "bench.builders", name, source, out, "--threads", CORES)


def build(options: Options, work: Path) -> dict[str, Any]:
    """Building at 256 pixels: this project, its peers, and only decoding the same files."""
    names = options.names(options.builders)
    check_builders(options, names, work)
    source = make_source(work / "source", options.num)

    def contender(name: str) -> Contender:
        def figures(_: int) -> dict[str, float]:
            with _new_folder(work) as out:
                run = _build(options, name, source, out)
                written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) if out.exists() else 0
            return {"examples_per_second": options.num / run.seconds, **run.memory, "written_mb": written / 1e6}

        return figures

    values = measure.alternate({name: contender(name) for name in names}, options.rounds, click.echo)
    results.add_ratios(values, "examples_per_second")
    return {"num": options.num, "contenders": values}


def check_builders(options: Options, names: list[str], work: Path, num: int = 64) -> None:
    """Checks that all builders write the same pixels and labels, and that all decoders return the same pixels.

    Raises:
        ClickException: two differ.
    """
    source = make_source(work / "few", num)
    formats = {
        "ours": "tfds",
        "before": "tfds",
        "stock_tfds": "tfds",
        "webdataset": "webdataset",
        "mds": "mds",
        "sedpack": "sedpack",
    }
    expected: contents.Content = {}
    for name in names:
        if name not in formats:
            continue
        with _new_folder(work) as out:
            _build(options, name, source, out)
            path = dataset_dir(out) if name in options.checkouts else out / "stock" / "1.0.0"
            content = contents.read(formats[name], path if formats[name] == "tfds" else out)
        expected = expected or content
        if content != expected or len(content) != num:
            raise click.ClickException(f"{name} wrote other content than this project, of {num} examples")
    _check_decoders([name.removeprefix("limit ") for name in names if name.startswith("limit ")], source)
    click.echo(f"{num} examples: the same content from every builder, the same pixels from every decoder")


def _check_decoders(names: list[str], source: Path) -> None:
    import numpy as np

    decoders = {name: builders.DECODERS[name]() for name in dict.fromkeys(["opencv", *names])}
    for path in sorted((source / "train").iterdir()):
        images = {name: decode(path) for name, decode in decoders.items()}
        for name, image in images.items():
            if not np.array_equal(image, images["opencv"]):
                raise click.ClickException(f"{path}: {name} decodes other pixels than OpenCV")


def read(options: Options, work: Path) -> dict[str, Any]:
    """Reading batches of 64 of the same examples from the page cache."""
    names, seconds = options.names(options.readers), 12.0
    source, forms = make_source(work / "source", options.num_read), work / "forms"
    HERE.run(*shards(source, work / "data"))
    wanted = [part for name in names for part in ("--reader", name)]
    HERE.run("-m", "bench.forms", source, dataset_dir(work / "data"), forms, *wanted)
    content: dict[str, Any] = {}

    def contender(name: str) -> Contender:
        checkout = options.checkouts.get(name, HERE)
        command = ["-m", "bench.readers", "run", "ours" if name == "before" else name, forms]

        def figures(number: int) -> dict[str, float]:
            if number == 0 and name != "limit":
                content[name] = measure.last_json(checkout.run(*command, "--check").output)["content"]
                if content[name] != next(iter(content.values())):
                    raise click.ClickException(f"{name} read other content than the rest: {content}")
            run = checkout.run(*command, "--seconds", seconds)
            return {**measure.last_json(run.output), **run.memory}

        return figures

    values = measure.alternate({name: contender(name) for name in names}, options.rounds, click.echo)
    results.add_ratios(values, "examples_per_second")
    return {"num": content["ours"][0], "contenders": values}


PLAN_SECONDS = 600
NOT_FINISHED = f"not finished after {PLAN_SECONDS} s"


def plan(options: Options, work: Path) -> dict[str, Any]:
    """Splitting label tables; a planner that needs more than ten minutes is not given larger tables."""
    labels = LABELS if LABELS.exists() else make_source(work / "few", 2_000) / "train.csv"
    unfinished = dict(options.unfinished)

    def contender(name: str, num: int) -> Contender:
        def figures(_: int) -> dict[str, float]:
            run = HERE.run("-m", "bench.planners", name, labels, "--num", num, timeout=PLAN_SECONDS)
            if run.seconds < 0:
                unfinished[name] = num
                raise RuntimeError(NOT_FINISHED)
            return {**measure.last_json(run.output), **run.memory}

        return figures

    sizes: dict[str, Any] = {}
    for num in (NUM_ALL, 1_000_000, 10_000_000) if options.full else (NUM_ALL,):
        contenders = {name: contender(name, num) for name in planners.PLANNERS if num < unfinished.get(name, num + 1)}
        rounds = options.rounds if num == NUM_ALL else 1
        sizes[f"{num}"] = measure.alternate(contenders, rounds, click.echo)
        results.add_ratios(sizes[f"{num}"], "seconds", low_is_fast=True)
    return {"sizes": sizes}


def unfinished(section: results.Section) -> dict[str, int]:
    """Returns, by planner, the number of rows that it did not split in time, from a section `plan`."""
    return {
        name: int(num)
        for num, contenders in section.get("sizes", {}).items()
        for name, contender in contenders.items()
        if contender.get("failed") == NOT_FINISHED
    }


def resume(options: Options, work: Path) -> dict[str, Any]:
    """A full build, the same build again, and one killed when half its shards are written, then continued."""
    source, per_split = make_source(work / "source", options.num), max(16, options.num // 750)

    def figures(_: int) -> dict[str, float]:
        with _new_folder(work) as out:
            command = [*shards(source, out), f"--num-shards={per_split}"]
            full_build, unchanged = HERE.run(*command).seconds, HERE.run(*command).seconds
        with _new_folder(work) as out:
            command = [*shards(source, out), f"--num-shards={per_split}"]
            half = 3 * per_split // 2
            killed = _seconds_until(command, versions_dir(out), ".*.building/reports/*.json", half)
            resumed = HERE.run(*command).seconds
        return {"full_build": full_build, "killed_after": killed, "resumed": resumed, "unchanged": unchanged}

    return {"num": options.num, "contenders": measure.alternate({"ours": figures}, options.rounds, click.echo)}


def startup(options: Options, work: Path) -> dict[str, Any]:
    """Seconds from a command to its help, and from a build's start to its first shard."""
    source = make_source(work / "source", 500)

    def figures(_: int) -> dict[str, float]:
        with _new_folder(work) as out:
            first_shard = _seconds_until(shards(source, out), versions_dir(out), ".*.building/shards/*", 1)
        return {"help": HERE.run("-m", "pipeline", "--help").seconds, "first_shard": first_shard}

    return {"contenders": measure.alternate({"ours": figures}, max(options.rounds, 5), click.echo)}


def _seconds_until(command: list[object], folder: Path, pattern: str, num_files: int) -> float:
    """Starts a build, kills it when `num_files` files match the pattern, and returns the seconds until then.

    Raises:
        ClickException: the build ends before that.
    """
    began = time.monotonic()
    process: subprocess.Popen[bytes] = HERE.start(*command)
    while len(list(folder.glob(pattern))) < num_files:
        if process.poll() is not None:
            raise click.ClickException(f"the build ended before {num_files} files matched {folder / pattern}")
        time.sleep(0.005)
    seconds = time.monotonic() - began
    process.send_signal(signal.SIGKILL)
    process.wait()
    return seconds


def profile(options: Options, work: Path) -> dict[str, Any]:
    """Time of each step of building, and speed of each stage of reading."""
    source = make_source(work / "source", options.num)
    HERE.run(*shards(source, work / "data"))
    run = HERE.run("-m", "bench.profile", source, dataset_dir(work / "data"))
    return {
        part: {step: [value] for step, value in steps.items()} for part, steps in measure.last_json(run.output).items()
    }


def sizes(options: Options, work: Path) -> dict[str, Any]:
    """Rates of decoding, resizing and stacking at several sizes, side by side in one process."""
    source = make_source(work / "source", 60)
    runs = [measure.last_json(HERE.run("-m", "bench.sizes", source).output) for _ in range(options.rounds)]
    return {"sides": {side: {size: [run[side][size] for run in runs] for size in runs[0][side]} for side in runs[0]}}


CURVE_SIZES = (1_000, 2_000, 4_000, 8_000, 16_000, NUM_ALL)
CURVE_LIMITS = ("limit opencv", "limit imagecodecs png")


def curve(options: Options, work: Path) -> dict[str, Any]:
    """Speed and memory of builds up to the whole set, and speed of only decoding the same files."""
    sizes: dict[str, Any] = {}
    for num in CURVE_SIZES:
        source = make_source(work / f"source-{num}", num)

        def contender(name: str, num: int = num, source: Path = source) -> Contender:
            def figures(_: int) -> dict[str, float]:
                with _new_folder(work) as out:
                    run = _build(options, name, source, out)
                return {"seconds": run.seconds, "examples_per_second": num / run.seconds, **run.memory}

            return figures

        contenders = {name: contender(name) for name in ("ours", *CURVE_LIMITS)}
        sizes[f"{num}"] = measure.alternate(contenders, 1, click.echo)
        results.add_ratios(sizes[f"{num}"], "examples_per_second")
    return {"sizes": sizes}


SECTIONS: dict[str, Callable[[Options, Path], dict[str, Any]]] = {
    "startup": startup,
    "build": build,
    "read": read,
    "plan": plan,
    "resume": resume,
    "profile": profile,
    "sizes": sizes,
    "curve": curve,
}
