"""A target that breaks in every way, by which the driver is tested."""

import os
import random
import signal
from pathlib import Path

from tests.fuzz.target import Case, Wrong


class Broken:
    """By the last digit of a case it is accepted, crashes, raises, is wrong, takes too much memory, or is refused."""

    def __init__(self, folder: Path):
        pass

    def draw(self, rng: random.Random) -> Case:
        return Case(rng.randbytes(4))

    def check(self, case: Case) -> str:
        match int.from_bytes(case.data) % 8:
            case 0:
                return "accepted"
            case 1:
                os.kill(os.getpid(), signal.SIGSEGV)
            case 2:
                raise KeyError("name")
            case 3:
                raise Wrong("other pixels")
            case 4:
                assert len(bytearray(b"\1") * (48 << 20)) > 0
        return "refused"
