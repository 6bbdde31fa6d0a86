"""Hostile zips, tables, schemas, datasets and run folders: each with what a person calls to meet it."""

import dataclasses
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import datasets, hostile_images

SCHEMA = """
name = "one"
classes = ["dna", "golgi"]
images.folder = "images"
images.pattern = "{id}%s"
table = { file = "labels.csv", id = "Id", labels = "Class", separator = "|" }
channels = [{ name = "red" }]
"""


@dataclasses.dataclass(frozen=True)
class Hostile:
    """An input, the command that meets it, and what writes it into a folder and returns the command's arguments.

    `call` is used in place of a command where that would train a network first.
    """

    title: str
    command: str
    make: Callable[[Path], list[str]]
    call: Callable[[Path], Any] | None = None


def everything() -> Iterator[Hostile]:
    """Yields all hostile inputs, in the order of the table."""
    for title, ending, make in hostile_images.images():
        yield Hostile(title, "audit --deep", _image(ending, make))
    yield from _zips()
    yield from _tables()
    yield from _schemas()
    yield from _datasets()
    yield from _runs()


def source(folder: Path, ending: str = ".png", rows: str = "ex,dna\n") -> list[str]:
    """Writes schema and label table; returns the options that name them."""
    (folder / "one.toml").write_text(SCHEMA % ending)
    (folder / "labels.csv").write_text("Id,Class\n" + rows)
    (folder / "images").mkdir(exist_ok=True)
    return ["--schema", str(folder / "one.toml")]


def _image(ending: str, make: hostile_images.Make) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        options = source(folder, ending)
        make(folder / "images" / f"ex{ending}")
        return ["audit", "--deep", "--size", "16", *options, "--source", str(folder)]

    return write


PNG = hostile_images.to_file(hostile_images.png_chunks())


def _zip(
    *members: tuple[Any, bytes], change: Callable[[bytes], bytes] = lambda data: data
) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        options = source(folder)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data)
        (folder / "images.zip").write_bytes(change(file.getvalue()))
        paths = ["--labels", str(folder / "labels.csv"), "--images", str(folder / "images.zip")]
        return ["audit", "--deep", "--size", "16", *options, *paths]

    return write


def _set_central(*fields: tuple[int, str, int]) -> Callable[[bytes], bytes]:
    """Returns what sets numbers (position, format, value) of the first entry of a zip's directory."""

    def change(data: bytes) -> bytes:
        out = bytearray(data)
        for position, form, value in fields:
            struct.pack_into(form, out, data.index(b"PK\1\2") + position, value)
        return bytes(out)

    return change


def _linked() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("ex.png")
    info.external_attr = 0o120777 << 16
    return info


def _zips() -> Iterator[Hostile]:
    good, bomb = ("ex.png", PNG), ("ex.png", PNG + bytes(1 << 26))
    for title, make in (
        ("text", _zip(good, change=lambda data: b"not a zip")),
        ("nothing in it", _zip()),
        (
            "two members of one name",
            _zip(good, ("EX.png", PNG), change=lambda data: data.replace(b"EX.png", b"ex.png")),
        ),
        ("only a member that leads out of the folder", _zip(("../../ex.png", PNG))),
        ("a member that leads out of the folder, beside a good one", _zip(("../../etc/passwd", b"x"), good)),
        ("a link", _zip((_linked(), b"/etc/passwd"))),
        ("encrypted", _zip(good, change=_set_central((8, "<H", 1)))),
        ("packed by another method", _zip(good, change=_set_central((10, "<H", 14)))),
        ("a member of 64 MB that claims 1,000 bytes", _zip(bomb, change=_set_central((24, "<I", 1000)))),
        ("a member that claims 4 GB", _zip(good, change=_set_central((24, "<I", 0xFFFFFFF0)))),
        (
            "sizes of zip64 without their field",
            _zip(good, change=_set_central((20, "<I", 0xFFFFFFFF), (24, "<I", 0xFFFFFFFF))),
        ),
        ("a checksum that is wrong", _zip(good, change=_set_central((16, "<I", 1)))),
        ("a member that starts after the end of the file", _zip(good, change=_set_central((42, "<I", 0x7FFFFFFF)))),
        ("cut before its directory", _zip(good, change=lambda data: data[:-60])),
        ("as many images in two folders", _zip(("a/ex.png", PNG), ("b/ex.png", PNG))),
    ):
        yield Hostile(f"zip: {title}", "audit --deep", make)


def _labels(data: bytes | Callable[[], bytes]) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        options = source(folder)
        (folder / "labels.csv").write_bytes(data if isinstance(data, bytes) else data())
        (folder / "images" / "ex.png").write_bytes(PNG)
        return ["audit", *options, "--source", str(folder)]

    return write


def _tables() -> Iterator[Hostile]:
    head = b"Id,Class\n"
    for title, data in (
        ("no bytes", b""),
        ("only a header", head),
        ("a million columns", lambda: b"Id,Class" + b",x" * 1_000_000 + b"\n" + b"ex,dna" + b",1" * 1_000_000),
        ("a million columns, and not those that are needed", lambda: b",".join(b"%d" % k for k in range(1_000_000))),
        ("a quote that is never closed", lambda: head + b'ex,"' + b"dna\n" * 100_000),
        ("bytes that are not UTF-8", head + b"ex,\xff\xfe\n"),
        ("a null character", head + b"ex,d\0na\n"),
        ("an id that leads out of the folder", head + b"../../etc/passwd,dna\n"),
        ("an id that is an absolute path", head + b"/etc/passwd,dna\n"),
        ("an id that is a formula", head + b'"=HYPERLINK(""http://x"")",dna\n'),
        ("an id of 10,000 characters", head + b"a" * 10_000 + b",dna\n"),
        ("a label that clears the screen", head + b"ex,\x1b[2Jdna\n"),
        ("a label that turns the direction of writing", head + "ex,\u202eand\n".encode()),
        ("a label twice", head + b"ex,dna|dna\n"),
        ("an id twice", head + b"ex,dna\nex,golgi\n"),
        ("a column twice", b"Id,Class,Class\nex,dna,golgi\n"),
        ("a row with more cells than the header", head + b"ex,dna,golgi\n"),
    ):
        yield Hostile(f"label table: {title}", "audit", _labels(data))
    yield Hostile("label table: a folder", "audit", _table_is_a_folder)


def _table_is_a_folder(folder: Path) -> list[str]:
    options = source(folder)
    (folder / "labels.csv").unlink()
    (folder / "labels.csv").mkdir()
    return ["audit", *options, "--source", str(folder)]


def _schema(text: str | bytes) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        (folder / "s.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["schema", "show", "--schema", str(folder / "s.toml")]

    return write


def _schemas() -> Iterator[Hostile]:
    base = SCHEMA % ".png"
    for title, text in (
        ("bytes that are not UTF-8", b"\xff\xfe"),
        ("100,000 brackets", "x = " + "[" * 100_000),
        ("a number of 5,000 digits", base.replace("]\nimages", "]\npercentiles = [0, " + "9" * 5000 + "]\nimages", 1)),
        ("an unknown key", "chanels = 1\n" + base),
        ("a pattern that leads out of the folder", base.replace("{id}.png", "../{id}.png")),
        ("a pattern that looks into Python's objects", base.replace("{id}.png", "{id.__class__.__init__}.png")),
        ("a pattern that pads names to a gigabyte", base.replace("{id}.png", "{id:>1000000000}.png")),
        ("a pattern without an id", base.replace("{id}.png", "image.png")),
        ("a class that clears the screen", base.replace('"golgi"', '"\\u001b[2J"')),
        ("a channel whose name is a path", base.replace('"red"', '"../red"')),
        ("a plane number of 30 digits", base.replace('"red"', '"red", plane = 1' + "0" * 29)),
    ):
        yield Hostile(f"schema: {title}", "schema show", _schema(text))


def _dataset(name: str, change: Callable[[bytes], bytes], *, signed: bool = False) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        target = folder / "1.1.0"
        target.mkdir()
        datasets.write(target)
        (target / name).write_bytes(change((target / name).read_bytes()))
        if signed:
            (target / datasets.CHECKSUMS).write_text(datasets.checksums(target))
        return ["verify", str(target)]

    return write


def _datasets() -> Iterator[Hostile]:
    shard = "hpa_stacked-train.tfrecord-00000-of-00001"
    from pipeline.write import records

    endless = struct.pack("<Q", 1 << 60)
    endless += struct.pack("<I", records._masked_crc(endless))
    escaping = b"".join(records.frame(records.encode("../../x", bytes(16), [0], records.label_vector([0], 28)))) * 2
    for title, name, change, signed in (
        ("a shard with a flipped bit", shard, lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:], False),
        ("a shard that ends early", shard, lambda data: data[:-5], False),
        ("a shard without records", shard, lambda data: b"", True),
        ("a record that claims 2^60 bytes", shard, lambda data: endless, True),
        ("ids that lead out of the folder", shard, lambda data: escaping, True),
        ("a record that is no example", shard, lambda data: b"".join(records.frame(b"text")) * 2, True),
        ("dataset_info.json with 100,000 brackets", datasets.INFO, lambda data: b"[" * 100_000, True),
        ("dataset_info.json with 1e999 examples", datasets.INFO, lambda data: data.replace(b'"2"', b"1e999"), True),
        ("metadata.json with 100,000 brackets", datasets.METADATA, lambda data: b"[" * 100_000, True),
        ("metadata.json with a size of 1e999", datasets.METADATA, lambda data: data.replace(b'"size": 2', b'"size": 1e999'), True),
        ("metadata.json whose schema is a word", datasets.METADATA, _schema_is_a_word, True),
        ("SHA256SUMS with a name outside of the folder", datasets.CHECKSUMS, lambda data: data + b"0" * 64 + b"  ../x\n", False),
        ("SHA256SUMS that is not text", datasets.CHECKSUMS, lambda data: b"\xff" + data, False),
    ):  # fmt: skip
        yield Hostile(f"dataset: {title}", "verify", _dataset(name, change, signed=signed))


def _schema_is_a_word(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "schema": "hpa"}).encode()


def _run(data: bytes) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        (folder / "config.json").write_bytes(data)
        return [str(folder)]

    return write


def _runs() -> Iterator[Hostile]:
    from tests.fuzz import run_folders

    config = run_folders.config()
    mean = {**config, "dataset": {**config["dataset"], "mean": [0.1, None]}}
    for title, data in (
        ("config.json with 100,000 brackets", b"[" * 100_000),
        ("config.json of another format", json.dumps({**config, "format": 99}).encode()),
        ("config.json with a mean that is no number", json.dumps(mean).encode()),
        ("config.json with epochs that are a word", json.dumps({**config, "settings": {**config["settings"], "epochs": "many"}}).encode()),
        ("config.json without a dataset", json.dumps({**config, "dataset": None}).encode()),
    ):  # fmt: skip
        yield Hostile(f"run: {title}", "model.report", _run(data))
    yield from _run_arrays()


def _run_arrays() -> Iterator[Hostile]:
    from model.scores import evaluation
    from model.training import weights

    def arrays(data: bytes) -> Callable[[Path], list[str]]:
        return lambda folder: [str((folder / "gallery.npz").write_bytes(data))]

    def read(folder: Path) -> Any:
        return evaluation.read_arrays(folder / "gallery.npz", "images")

    file = io.BytesIO()
    np.savez(file, images=np.array([print], dtype=object))
    yield Hostile(
        "run: an array of Python objects, which would run code", "model.report", arrays(file.getvalue()), read
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
        archive.writestr("images.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head)
    yield Hostile("run: an array that claims 8 TB", "model.report", arrays(file.getvalue()), read)

    def spoiled(folder: Path) -> list[str]:
        path = folder / "best.weights.h5"
        path.write_bytes(b"weights")
        weights.record(path, path)
        path.write_bytes(b"Weights")
        return []

    yield Hostile(
        "run: weights with a flipped bit",
        "model.predict",
        spoiled,
        lambda folder: weights.check(folder / "best.weights.h5"),
    )

    def edited(folder: Path) -> list[str]:
        (folder / "evaluation").mkdir()
        values = evaluation.sealed({"format": evaluation.FORMAT, "splits": {}, "thresholds": {"fixed": [0.5]}})
        (folder / "evaluation/evaluation.json").write_text(json.dumps({**values, "splits": None}))
        return []

    yield Hostile("run: evaluation.json edited by hand", "model.report", edited, evaluation.load)
