"""The command `python -m bench`: measures what the project says of its speed, and draws it."""

import contextlib
import datetime
import importlib.metadata
import json
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench import builders, contents, measure, planners, readers, results, show
from bench.measure import python
from pipeline.threads import num_cores

ROOT = Path(__file__).parents[1]
STAND_IN = ROOT.parent / "shared" / "tools" / "fullscale_tree.py"
LABELS = ROOT.parent / "shared" / "data" / "hpa_train_labels.csv"
"""Real pixels and the real label table, where they are; else the synthetic atlas."""

PACKAGES = (
    "apache-beam",
    "tensorflow",
    "tensorflow-datasets",
    "opencv-python-headless",
    "pillow",
    "imagecodecs",
    "kornia-rs",
    "webdataset",
    "mosaicml-streaming",
    "grain",
    "array_record",
    "torch",
    "iterative-stratification",
    "scikit-multilearn",
)

SECTIONS = ("startup", "build", "read", "plan", "resume", "profile", "curve")

CORES = num_cores()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure this project beside its peers and beside the limit, and draw what was found."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSON file; runs are added to it.")
@click.option("--full", is_flag=True, help="The whole set of 31,072 examples: hours.")
@click.option("--only", multiple=True, type=click.Choice(SECTIONS))
@click.option("--rounds", default=3, show_default=True, help="How often each contender is run, in turn.")
@click.option("--num", type=int, help="Examples to build.  [default: 1,000, or all]")
@click.option("--builder", "names", multiple=True, type=click.Choice(["ours", *builders.BUILDERS]), help="Only these.")
def run(out: Path, full: bool, only: tuple[str, ...], rounds: int, num: int | None, names: tuple[str, ...]) -> None:
    """Measure, contenders in turn, and write all values to a JSON file.

    Every contender runs in a process of its own. Before anything is timed, all of them are made to produce the same
    content, and stopped if they do not. Values in the file from the same commit, machine and versions are kept and
    count together with the new ones: repeat it hours later, and the spread is what the machine does in hours.
    """
    found = json.loads(out.read_text()) if out.exists() else {}
    num = num or (31_072 if full else 1_000)
    sections: dict[str, Callable[[Path], Any]] = {
        "startup": lambda work: startup(work, rounds),
        "build": lambda work: build(work, num, rounds, names or ("ours", *builders.BUILDERS)),
        "read": lambda work: read(work, 2_048, rounds, 60.0 if full else 12.0),
        "plan": lambda _: plan((31_072, 1_000_000, 10_000_000) if full else (31_072,), rounds, found.get("plan", {})),
        "resume": lambda work: resume(work, num, rounds),
        "profile": profile,
        "curve": lambda work: curve(work, (1_000, 2_000, 4_000, 8_000, 16_000, 31_072)),
    }
    for name in only or [name for name in sections if full or name != "curve"]:
        about = circumstances()
        with tempfile.TemporaryDirectory(prefix="bench-") as work:
            found[name] = results.add(found.get(name), {**sections[name](Path(work)), "runs": [about]})
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n")
    click.echo(show.tables(found))


@main.command()
@click.argument("first", type=click.Path(path_type=Path, exists=True))
@click.argument("second", type=click.Path(path_type=Path, exists=True))
def compare(first: Path, second: Path) -> None:
    """Tell which medians of the results SECOND lie within the spread of FIRST, figure by figure."""
    found = list(results.compare(json.loads(first.read_text()), json.loads(second.read_text())))
    for name, (low, high), median, inside in found:
        click.echo(f"{'inside ' if inside else 'OUTSIDE'} {name}: {median:,.4g} ({low:,.4g} to {high:,.4g})")
    click.echo(f"{sum(inside for *_, inside in found)} of {len(found)} medians lie within the spread")


@main.command("show")
@click.argument("file", metavar="RESULTS", type=click.Path(path_type=Path, exists=True))
@click.option("--chart", type=click.Path(path_type=Path), help="SVG file to draw to.")
@click.option("--readme", type=click.Path(path_type=Path, exists=True), help="Markdown file to put the tables into.")
def show_command(file: Path, chart: Path | None, readme: Path | None) -> None:
    """Print the tables of a JSON file of results, and draw its chart."""
    found = json.loads(file.read_text())
    click.echo(show.tables(found))
    if chart:
        show.draw(found, chart)
    if readme:
        show.insert(found, readme)


def circumstances() -> dict[str, Any]:
    """Returns when and on what the figures came."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "began": datetime.datetime.now(datetime.UTC).isoformat(" ", "minutes")[:16],
        "machine": f"{CORES} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "commit": commit.stdout.strip(),
        "pixels": "real" if STAND_IN.exists() else "synthetic",
        "versions": versions,
    }


def make_source(place: Path, num: int) -> Path:
    """Makes a source of `num` examples: real pixels over and over, or synthetic ones; returns its folder."""
    if STAND_IN.exists():
        measure.run(python(STAND_IN, place, "--num", num))
    else:
        measure.run(python("-m", "pipeline", "sample", place, "--num", num))
    return place


def shards(source: Path, data_dir: Path) -> list[str]:
    """Returns the command that builds with this project."""
    return python("-m", "pipeline", "shards", "--source", source, "--data-dir", data_dir, "--threads", CORES)


def dataset_dir(data_dir: Path) -> Path:
    """Returns where a build publishes."""
    return data_dir / "hpa_stacked" / "256" / "1.0.0"


@contextlib.contextmanager
def fresh(work: Path) -> Iterator[Path]:
    """Yields a place that is not there yet, and removes what is made in it."""
    place = Path(tempfile.mkdtemp(dir=work)) / "out"
    try:
        yield place
    finally:
        shutil.rmtree(place.parent)


def build(work: Path, num: int, rounds: int, names: Sequence[str]) -> dict[str, Any]:
    """Building at 256: this project, its peers, and the same files decoded and nothing else."""
    same_content(work)
    source = make_source(work / "source", num)

    def contender(name: str) -> Callable[[int], dict[str, float]]:
        def once(_: int) -> dict[str, float]:
            with fresh(work) as out:
                command = shards(source, out) if name == "ours" else builder(name, source, out)
                done = measure.run(command)
                written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) if out.exists() else 0
            return {
                "examples_per_second": num / done.seconds,
                "seconds": done.seconds,
                **done.memory,
                "written_mb": written / 1e6,
            }

        return once

    found = measure.interleaved({one: contender(one) for one in names}, rounds, click.echo)
    results.ratios(found, "examples_per_second")
    return {"num": num, "contenders": found}


def builder(name: str, source: Path, out: Path) -> list[str]:
    """Returns the command of a peer."""
    return python("-m", "bench.builders", name, source, out, "--threads", CORES)


def same_content(work: Path, num: int = 64) -> None:
    """Makes every builder build the same few examples, and compares all pixels and labels; all decoders too.

    Raises:
        ClickException: two differ.
    """
    source = make_source(work / "few", num)
    with fresh(work) as out:
        measure.run(shards(source, out))
        expected = contents.of("tfds", dataset_dir(out))
    assert len(expected) == num
    for name, kind in {"stock_tfds": "tfds", "webdataset": "webdataset", "mds": "mds"}.items():
        with fresh(work) as out:
            measure.run(builder(name, source, out))
            if contents.of(kind, out / "stock" / "1.0.0" if kind == "tfds" else out) != expected:
                raise click.ClickException(f"{name} wrote other contents than this project")
    decoders = {name: make() for name, make in builders.DECODERS.items()}
    for path in sorted((source / "train").iterdir()):
        images = {name: decode(path) for name, decode in decoders.items()}
        for name, image in images.items():
            if not np.array_equal(image, images["opencv"]):
                raise click.ClickException(f"{path}: {name} decodes other pixels than OpenCV")
    click.echo(f"{num} examples: the same content from every builder, the same pixels from every decoder")


def read(work: Path, num: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Reading batches of 64 of the same examples from the page cache."""
    source, forms = make_source(work / "source", num), work / "forms"
    measure.run(shards(source, work / "data"))
    measure.run(python("-m", "bench.readers", "write", source, dataset_dir(work / "data"), forms))

    def contender(name: str) -> Callable[[int], dict[str, float]]:
        def once(number: int) -> dict[str, float]:
            if number == 0 and name != "limit":
                done = measure.run(python("-m", "bench.readers", "run", name, forms, "--check"))
                epochs[name] = measure.last_json(done.output)["content"]
                if epochs[name] != next(iter(epochs.values())):
                    raise click.ClickException(f"{name} read {epochs[name]}, others read {epochs}")
            done = measure.run(python("-m", "bench.readers", "run", name, forms, "--seconds", seconds))
            return {**measure.last_json(done.output), **done.memory}

        return once

    epochs: dict[str, Any] = {}
    contenders = {name: contender(name) for name in [*readers.READERS, "limit"]}
    found = measure.interleaved(contenders, rounds, click.echo)
    results.ratios(found, "examples_per_second")
    return {"num": next(iter(epochs.values()))[0], "contenders": found}


def plan(sizes: tuple[int, ...], rounds: int, earlier: dict[str, Any]) -> dict[str, Any]:
    """Splitting label tables; a contender that needs more than ten minutes for one is not asked for larger ones.

    Nor is it asked again if it needed more in the section `earlier`.
    """
    found: dict[str, Any] = {}
    gone = {
        name: int(num)
        for num, contenders in earlier.get("sizes", {}).items()
        for name, one in contenders.items()
        if "failed" in one
    }
    with tempfile.TemporaryDirectory() as work:
        labels = LABELS if LABELS.exists() else make_source(Path(work) / "few", 2_000) / "train.csv"
        for num in sizes:

            def contender(name: str, num: int = num) -> Callable[[int], dict[str, float]]:
                def once(_: int) -> dict[str, float]:
                    command = python("-m", "bench.planners", name, labels, "--num", num)
                    done = measure.run(command, timeout=600)
                    if done.seconds < 0:
                        gone[name] = num
                        raise RuntimeError("not finished after 600 s")
                    return {**measure.last_json(done.output), **done.memory}

                return once

            contenders = {name: contender(name) for name in planners.PLANNERS if num < gone.get(name, num + 1)}
            found[f"{num}"] = measure.interleaved(contenders, rounds if num < 1_000_000 else 1, click.echo)
    return {"sizes": found}


def resume(work: Path, num: int, rounds: int) -> dict[str, Any]:
    """A full build, one killed at half and continued, and an unchanged one, in shards small enough to tell."""
    source, per_split = make_source(work / "source", num), max(16, num // 750)

    def timed(command: list[str]) -> float:
        return measure.run(command).seconds

    def all_three(_: int) -> dict[str, float]:
        with fresh(work) as out:
            command = [*shards(source, out), f"--num-shards={per_split}"]
            full_build = timed(command)
            unchanged = timed(command)
        with fresh(work) as out:
            command = [*shards(source, out), f"--num-shards={per_split}"]
            killed = killed_at_half(command, dataset_dir(out).parent, 3 * per_split)
            resumed = timed(command)
        return {"full_build": full_build, "killed_after": killed, "resumed": resumed, "unchanged": unchanged}

    return {"num": num, "contenders": measure.interleaved({"ours": all_three}, rounds, click.echo)}


def killed_at_half(command: list[str], place: Path, num_shards: int) -> float:
    """Starts the build, kills it when half of its shards are finished, and returns the seconds until then."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(place.glob(".*.building/reports/*.json"))) < num_shards // 2:
        if process.poll() is not None:
            raise click.ClickException("the build ended before it could be killed")
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return time.monotonic() - began


def curve(work: Path, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Time and memory of ever larger builds, each beside decoding the same files and nothing else."""
    found: dict[str, Any] = {}
    for num in sizes:
        source = make_source(work / f"source-{num}", num)

        def ours(_: int, num: int = num, source: Path = source) -> dict[str, float]:
            with fresh(work) as out:
                done = measure.run(shards(source, out))
            return {"seconds": done.seconds, "examples_per_second": num / done.seconds, **done.memory}

        def limit(_: int, num: int = num, source: Path = source) -> dict[str, float]:
            return {"examples_per_second": num / measure.run(builder("limit opencv", source, work)).seconds}

        found[f"{num}"] = measure.interleaved({"ours": ours, "limit opencv": limit}, 1, click.echo)
        results.ratios(found[f"{num}"], "examples_per_second")
    return {"sizes": found}


def profile(work: Path) -> dict[str, Any]:
    """What each step of building and each stage of reading costs."""
    source = make_source(work / "source", 1_000)
    measure.run(shards(source, work / "data"))
    done = measure.run(python("-m", "bench.profile", source, dataset_dir(work / "data")))
    return {
        part: {step: [value] for step, value in steps.items()} for part, steps in measure.last_json(done.output).items()
    }


def startup(work: Path, rounds: int) -> dict[str, Any]:
    """From the command to its help, and to the first shard begun."""
    source = make_source(work / "source", 500)

    def once(_: int) -> dict[str, float]:
        return {
            "help": measure.run(python("-m", "pipeline", "--help")).seconds,
            "first_shard": first_shard(work, source),
        }

    return {"contenders": measure.interleaved({"ours": once}, max(rounds, 5), click.echo)}


def first_shard(work: Path, source: Path) -> float:
    """Returns the seconds until a build has begun to write its first shard."""
    with fresh(work) as out:
        began = time.monotonic()
        process = subprocess.Popen(shards(source, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list(dataset_dir(out).parent.glob(".*.building/shards/*")):
            if process.poll() is not None:
                raise click.ClickException("the build ended before its first shard was seen")
            time.sleep(0.005)
        seconds = time.monotonic() - began
        process.kill()
        process.wait()
    return seconds


if __name__ == "__main__":
    main()
