"""The command `python -m tests.fuzz`."""

import json
import sys
import time
from pathlib import Path

import click

from tests.fuzz import driver, registry
from tests.fuzz.driver import Result
from tests.fuzz.target import draw


@click.command()
@click.option(
    "--target", "names", multiple=True, default=["all"], help=f"all, or some of {', '.join(registry.TARGETS)}."
)
@click.option("--cases", default=20_000, show_default=True, help="Cases in all; heavy targets get fewer of them.")
@click.option("--seed", default=0, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file for the figures.")
@click.option("--case", type=int, help="Run only this case of one target, here, and show what it raises.")
@click.option("--save", type=click.Path(path_type=Path), help="With --case: write its data to this file.")
def main(
    names: tuple[str, ...], cases: int, seed: int, jobs: int, out: Path | None, case: int | None, save: Path | None
) -> None:
    """Draw damaged inputs from a seed and judge what is made of them; exits with 1 if any is judged wrong."""
    chosen = list(registry.TARGETS) if "all" in names else list(names)
    if case is not None:
        _run_one(chosen[0], seed, case, save)
        return
    start = time.monotonic()
    results = driver.run(chosen, cases, seed, jobs, click.echo)
    click.echo(table(results))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(to_json(results, cases, seed, time.monotonic() - start), indent=2) + "\n")
    failures = [(name, failure) for name, result in results.items() for failure in result.failures]
    for name, failure in failures[:40]:
        click.echo(f"{name} {failure['case']}: {failure['kind']}: {failure['detail']}")
    sys.exit(bool(failures))


def _run_one(name: str, seed: int, index: int, save: Path | None) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        target = registry.find(name).open(Path(folder))
        case = draw(target, name, seed, index)
        if save:
            save.write_bytes(case.data)
        click.echo(target.check(case))


def table(results: dict[str, Result]) -> str:
    """Returns the figures by target as a table in Markdown."""
    rows = [
        "| target | cases | accepted | refused | crashes and hangs | exceptions | wrong | slowest, s | peak, MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        found = result.outcomes
        bad = {kind: found[kind] for kind in ("crash", "hang", "slow", "memory", "exception", "wrong")}
        refused = result.cases - found["accepted"] - sum(bad.values())
        rows.append(
            f"| {name} | {result.cases:,} | {found['accepted']:,} | {refused:,} "
            f"| {bad['crash'] + bad['hang'] + bad['slow'] + bad['memory']} | {bad['exception']} | {bad['wrong']} "
            f"| {result.slowest[0]:.2f} | {result.peak_kib[0] / 1024:.0f} |"
        )
    total = sum(result.cases for result in results.values())
    rows.append(f"| all | {total:,} | | | | | | | |")
    return "\n".join(rows)


def to_json(results: dict[str, Result], cases: int, seed: int, seconds: float) -> dict[str, object]:
    """Returns the figures as plain values, without the data of failures."""
    targets = {
        name: {
            "cases": result.cases,
            "outcomes": dict(result.outcomes.most_common()),
            "oracles": dict(result.counts),
            "failures": [{**failure, "data": failure["data"][:200]} for failure in result.failures],
            "slowest": {"seconds": round(result.slowest[0], 3), "case": result.slowest[1]},
            "peak": {"mib": round(result.peak_kib[0] / 1024, 1), "case": result.peak_kib[1]},
        }
        for name, result in results.items()
    }
    return {"asked": cases, "seed": seed, "seconds": round(seconds), "targets": targets}


if __name__ == "__main__":
    main()
