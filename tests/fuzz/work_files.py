"""Targets `report`, `task` and `fingerprints`: what a build reads again after it was killed."""

import hashlib
import json
import random
import zlib
from pathlib import Path

from pipeline.errors import InputError, JobError
from pipeline.plan.shards import ShardPlan
from pipeline.plan.table import Example
from pipeline.write import tasks
from pipeline.write.reports import BadImageRow, ShardReport
from pipeline.write.tasks import Task
from tests.fuzz import mutations
from tests.fuzz.target import Case, expect

_REPORT = ShardReport(
    "shard", "plan", ("a", "b"), (BadImageRow("c", "red", "empty", "no bytes"),), 9, "00", 8, (1, 2), (3, 4), 0, (0, 1), "", "l",
    ("d1", "d2", "d3"),
)  # fmt: skip


class Report:
    """A checksum on the first line, values on the second; most cases have the right checksum."""

    def __init__(self, folder: Path):
        self.text = _REPORT.to_json()
        self.values = json.loads(self.text.partition("\n")[2])

    def draw(self, rng: random.Random) -> Case:
        if rng.random() < 0.05:
            return Case(self.text.encode(), _REPORT)
        if rng.random() < 0.3:
            return Case(mutations.damage(rng, self.text.encode()))
        body = mutations.damage_text_of_json(rng, self.values)
        return Case(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def check(self, case: Case) -> str:
        try:
            found = ShardReport.from_json(case.data.decode())
        except ValueError:  # as `from_json` states; `reports.read` takes it for no report
            expect(case.intact is None, "an intact report was refused")
            return "refused"
        expect(ShardReport.from_json(found.to_json()) == found, "another report when it is written again")
        assert found.bad_ids is not None
        assert sum(found.channel_sums) is not None
        assert all(map(str, found.bad))
        return "accepted"


class TaskFile:
    """A line of a file of tasks."""

    def __init__(self, folder: Path):
        self.path = folder / "tasks.jsonl"
        examples = (Example("a", (0, 1)), Example("b", (2,), ("x/b.tif",)))
        self.task = Task(ShardPlan("train", 0, 2, examples), "f" * 64, "e" * 64)
        self.line = tasks._to_json(self.task).encode()

    def draw(self, rng: random.Random) -> Case:
        if rng.random() < 0.05:
            return Case(self.line, self.task)
        if rng.random() < 0.5:
            return Case(mutations.damage(rng, self.line))
        body = mutations.damage_text_of_json(rng, json.loads(self.line[9:]))
        return Case(b"%08x %s\n" % (zlib.crc32(body), body))

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        try:
            found = list(tasks.read(self.path, 0, len(case.data)))
        except JobError:
            expect(case.intact is None, "an intact task was refused")
            return "refused"
        if case.intact is not None:
            expect(found == [case.intact], "another task than written")
        return "accepted"


class Fingerprints:
    """A table of fingerprints, as `pipeline fingerprint` writes it."""

    def __init__(self, folder: Path):
        self.path = folder / "fingerprints.csv"
        self.seed = _fingerprints(folder)

    def draw(self, rng: random.Random) -> Case:
        if rng.random() < 0.05:
            return Case(self.seed, True)
        tokens = [
            b",",
            b'"',
            b"\n",
            b"\r",
            b"\0",
            b"\xff",
            b"-1",
            b"1e999",
            b"9" * 40,
            b"zz",
            b"0" * 131_100,
            b"=1",
            b"bytes_",
            b" ",
        ]
        return Case(mutations.damage(rng, self.seed, tokens))

    def check(self, case: Case) -> str:
        from pipeline.duplicates import fingerprints

        self.path.write_bytes(case.data)
        try:
            found = fingerprints.read(self.path)
        except InputError:
            expect(case.intact is None, "an intact table was refused")
            return "refused"
        expect(len(found.ids) == len(found.files) == len(found.hashes), "columns of different lengths")
        return "accepted"


def _fingerprints(folder: Path) -> bytes:
    """Returns the table of a drawn source of four examples."""
    from pipeline.config import BuildConfig  # noqa: F401
    from tests.support.sources import draw_source

    source = draw_source(folder / "source", 4)
    import subprocess
    import sys

    out = folder / "made.csv"
    command = [sys.executable, "-m", "pipeline", "fingerprint", "--source", str(source.root), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return out.read_bytes()
