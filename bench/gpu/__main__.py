"""The command `python -m bench.gpu`: how fast training is on this machine's device, and what limits it."""

import dataclasses
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bench import circumstances, measure
from bench.gpu.contenders import CONTENDERS, Work


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSON file for the results.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="TFDS data directory.  [default: drawn and built]")
@click.option("--only", multiple=True, type=click.Choice(list(CONTENDERS)), help="Only these.  [default: all]")
@click.option("--num", default=4096, show_default=True, type=click.IntRange(16), help="Examples to draw.")
@click.option("--size", default=Work.size, show_default=True, type=click.IntRange(32), help="Pixels a side.")
@click.option("--width", default=Work.width, show_default=True, type=click.IntRange(1), help="Width of our network.")
@click.option("--batch-size", default=Work.batch_size, show_default=True, type=click.IntRange(1))
@click.option("--steps", default=Work.steps, show_default=True, type=click.IntRange(1), help="Steps to time.")
@click.option(
    "--warmup", default=Work.warmup, show_default=True, type=click.IntRange(1), help="Untimed steps before them."
)
@click.option(
    "--precision", default=Work.precision, show_default=True, type=click.Choice(["mixed_bfloat16", "float32"])
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Runs of each contender.")
def main(
    out: Path, data_dir: Path | None, only: tuple[str, ...], num: int, rounds: int, size: int, **values: Any
) -> None:
    """Measure training on this machine's device: our pipeline, batches on the device, torchvision.

    Each contender trains ResNet-50 in a separate process, alternating with the others. KERAS_BACKEND selects our
    backend; without Torch and torchvision, their contenders are reported as failed. On a CPU, choose small values:

    \b
    KERAS_BACKEND=jax python -m bench.gpu --out gpu.json
    python -m bench.gpu --out small.json --num 64 --size 64 --width 16 --batch-size 8 --steps 5 --warmup 2 --rounds 1
    """
    work = Work(str(data_dir or built(out.parent, num, size)), size=size, **values)
    contenders = {name: _contender(name, work) for name in only or CONTENDERS}
    found = measure.last_json(measure.run(measure.python("-m", "bench.gpu.contenders", "describe")).output)
    click.echo(found["device"])
    figures = measure.alternate(contenders, rounds, click.echo)
    described = circumstances.describe(None)
    described["versions"] |= found["versions"]
    result = {**described, "device": found["device"], "work": dataclasses.asdict(work), "contenders": figures}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    click.echo(table(figures))
    click.echo(f"results: {out}")


def built(folder: Path, num: int, size: int) -> Path:
    """Returns a data directory with a dataset of `num` synthetic examples, drawn and built on first use."""
    source, data_dir = folder / f"gpu-sample-{num}", folder / f"gpu-data-{num}"
    pipeline = measure.python("-m", "pipeline")
    measure.run([*pipeline, "sample", str(source), "--num", str(num), "--balanced"])
    measure.run([*pipeline, "shards", "--source", str(source), "--data-dir", str(data_dir), "--size", str(size)])
    return data_dir


def _contender(name: str, work: Work) -> Any:
    command = measure.python("-m", "bench.gpu.contenders", name, json.dumps(dataclasses.asdict(work)))
    return lambda number: measure.last_json(measure.run(command).output)


def table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns medians as text: images per second, time of a step, waiting, and the share of the upper bound."""
    bound = statistics.median(figures.get("device-fed", {}).get("images_per_second", [0.0]))
    lines = [f"{'':<22}{'images/s':>10}{'ms/step':>10}{'waiting':>9}{'of device-fed':>15}"]
    for name, values in figures.items():
        if "failed" in values:
            lines.append(f"{name:<22}{values['failed']}")
            continue
        rate, step, waiting = (statistics.median(values[key]) for key in ("images_per_second", "step_ms", "waiting"))
        share = f"{rate / bound:.1%}" if bound else "-"
        lines.append(f"{name:<22}{rate:>10,.1f}{step:>10,.1f}{waiting:>9.1%}{share:>15}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
