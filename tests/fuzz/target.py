"""What a fuzz target is, and how a case is judged."""

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol


class Wrong(AssertionError):
    """An input was accepted, but gave something else than it holds, or an intact one was refused."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One input. `intact` is what it must give if nothing was damaged; `None` if something was."""

    data: bytes
    intact: Any = None


class Target(Protocol):
    """Inputs of one kind."""

    def draw(self, rng: random.Random) -> Case:
        """Returns a case that depends on `rng` alone."""

    def check(self, case: Case) -> str:
        """Returns "accepted" or the kind of refusal.

        Raises:
          Wrong: the answer is wrong.
          Exception: any other is an error that would reach a person as a traceback.
        """


@dataclasses.dataclass(frozen=True)
class Entry:
    """A target in the registry.

    Attributes:
      open: makes it, given an empty folder.
      weight: its share of the cases of a run over all targets.
      mib: the memory that a case may take, in MiB: what its declared sizes ask for, and no more.
    """

    open: Callable[[Path], Target]
    weight: float
    mib: int = 256


def draw(target: Target, name: str, seed: int, index: int) -> Case:
    """Returns case `index` of a target; equal on every machine."""
    return target.draw(random.Random(f"{seed}/{name}/{index}"))


def corpus(folder: Path, name: str) -> Iterator[tuple[str, Case]]:
    """Yields the kept inputs of a target by the name of their file."""
    for path in sorted((folder / name).glob("*")):
        yield path.name, Case(path.read_bytes())


def expect(holds: bool, *found: object) -> None:
    """Raises `Wrong` with what was found."""
    if not holds:
        raise Wrong(" ".join(map(str, found)))


def choice(rng: random.Random, weighted: Sequence[tuple[float, Any]]) -> Any:
    """Returns one of the values, by their weights."""
    weights, values = zip(*weighted, strict=True)
    return rng.choices(values, weights)[0]
