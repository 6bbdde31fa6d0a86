"""Targets `metadata`, `info`, `checksums` and `sources`: one file of a published dataset, with right checksums or without."""

import contextlib
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.dataset import provenance, publish
from pipeline.dataset.verify import verify
from pipeline.errors import InputError, shown
from pipeline.schema import HPA_KAGGLE_2018, VERSION
from pipeline.write import records
from tests.fuzz import mutations
from tests.fuzz.target import Case, expect

INFO, METADATA, CHECKSUMS, SOURCES = "dataset_info.json", "metadata.json", "SHA256SUMS", "sources.csv"


def metadata() -> dict[str, Any]:
    """Returns the metadata of the dataset of `write`, as far as `verify` and the trainer read it."""
    return {
        "schema": HPA_KAGGLE_2018.to_dict(),
        "channels": list(HPA_KAGGLE_2018.channel_names),
        "class_names": list(HPA_KAGGLE_2018.classes),
        "single_label": False,
        "size": 2,
        "mean": [0.1, 0.2, 0.3, 0.4],
        "std": [0.1, 0.2, 0.3, 0.4],
        "dataset_version": VERSION,
        "fingerprint": "0" * 64,
        "synthetic": True,
    }


def info() -> dict[str, Any]:
    """Returns TFDS's description of the splits of `write`."""
    splits = [
        {
            "name": name,
            "shardLengths": ["2"],
            "numBytes": "400",
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }
        for name in ("train", "dev", "test")
    ]
    return {"name": "hpa_stacked", "version": VERSION, "fileFormat": "tfrecord", "splits": splits}


def write(folder: Path) -> None:
    """Writes a dataset of three splits with two examples of 2 x 2 pixels each."""
    rng = random.Random(0)
    for split in ("train", "dev", "test"):
        labels = [0, 27]
        found = [
            records.encode(f"{split}-{k}", rng.randbytes(16), labels, records.label_vector(labels, 28))
            for k in range(2)
        ]
        data = b"".join(part for record in found for part in records.frame(record))
        (folder / f"hpa_stacked-{split}.tfrecord-00000-of-00001").write_bytes(data)
    (folder / METADATA).write_text(json.dumps(metadata()))
    (folder / INFO).write_text(json.dumps(info()))
    (folder / SOURCES).write_text("id,digest\n" + "".join(f"train-{k},{k:032x}\n" for k in range(2)))
    (folder / CHECKSUMS).write_text(checksums(folder))


def checksums(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.name != CHECKSUMS)
    return "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)


class Published:
    """One file is damaged; with `signed`, `SHA256SUMS` agrees with the damaged file, so that its values are what is read."""

    def __init__(self, folder: Path, name: str, draw_data: Callable[[random.Random, bytes], bytes]):
        self.folder = folder / "1.1.0"
        self.folder.mkdir()
        write(self.folder)
        self.name, self.draw_data = name, draw_data
        self.intact, self.sums = (self.folder / name).read_bytes(), (self.folder / CHECKSUMS).read_bytes()
        expect(verify(self.folder) == [], "the dataset is damaged before anything was done to it")

    def draw(self, rng: random.Random) -> Case:
        signed = rng.random() < 0.7
        data = self.intact if rng.random() < 0.05 else self.draw_data(rng, self.intact)
        return Case(bytes([signed]) + data)

    def check(self, case: Case) -> str:
        signed, data = case.data[:1] == b"\1", case.data[1:]
        (self.folder / self.name).write_bytes(data)
        if self.name != CHECKSUMS:
            (self.folder / CHECKSUMS).write_bytes(checksums(self.folder).encode() if signed else self.sums)
        self._read_parts()
        problems = verify(self.folder)
        if not (signed and self.name != CHECKSUMS):
            changed = _content(data) != _content(self.intact)
            expect(bool(problems) == changed, "damage was not noticed, or is not there", problems)
        expect(all(len(shown(problem)) < 4200 for problem in problems), "a problem too long to be shown")
        return "refused" if problems else "accepted"

    def _read_parts(self) -> None:
        publish.published_metadata(self.folder)
        provenance._read_sources(self.folder / SOURCES)
        with contextlib.suppress(InputError):
            publish.shard_lengths(self.folder)


def _content(data: bytes) -> set[bytes]:
    """Returns the lines of a list of checksums; a line twice, or no line feed at the end, changes nothing."""
    return set(data.removesuffix(b"\n").split(b"\n")) if b"  metadata.json" in data else {data}


_TEXT_TOKENS = [
    b"  ",
    b"\n",
    b"\r\n",
    b"../",
    b"/",
    b"\0",
    b"\xff",
    b",",
    b'"',
    b"a" * 300,
    b"9" * 140_000,
    b"0" * 64,
    b"\xe2\x80\xa8",
    b"\x85",
]


def open_metadata(folder: Path) -> Published:
    return Published(folder, METADATA, lambda rng, data: mutations.damage_text_of_json(rng, json.loads(data)))


def open_info(folder: Path) -> Published:
    return Published(folder, INFO, lambda rng, data: mutations.damage_text_of_json(rng, json.loads(data)))


def open_checksums(folder: Path) -> Published:
    return Published(folder, CHECKSUMS, lambda rng, data: mutations.damage(rng, data, _TEXT_TOKENS))


def open_sources(folder: Path) -> Published:
    return Published(folder, SOURCES, lambda rng, data: mutations.damage(rng, data, _TEXT_TOKENS))
