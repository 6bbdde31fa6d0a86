"""Object stores on loopback that tests can make slow or faulty."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from pipeline.store import files

HERE = Path(__file__).parent


class ObjectStore:
    """A store of one bucket; `root` is a URL in it."""

    def __init__(self, scheme: str, port: int, pid: int):
        self.scheme, self.endpoint, self.pid = scheme, f"http://127.0.0.1:{port}", pid
        self.root = files.at(f"{scheme}://bucket")

    @property
    def settings(self) -> dict[str, str]:
        """What `fsspec` must know to find this store."""
        keys = {"gs": {"token": "anon"}, "s3": {"key": "test", "secret": "test"}}
        return {"endpoint_url": self.endpoint, **keys[self.scheme]}

    def tell(self, **settings) -> None:
        if "faults" in settings:
            self.num_faults = sum(fault is not None for fault in settings["faults"])
        self._request(json.dumps(settings).encode())

    def drop_faults(self) -> bool:
        """Removes the faults that are left; returns whether not even the first one has happened."""
        left = [fault for fault in self._request(None)["faults"] if fault is not None]
        self.tell(faults=[])
        return bool(left) and len(left) == self.num_faults

    def log(self) -> list[str]:
        """Returns every request so far: method, path, range."""
        return self._request(None)["log"]

    def _request(self, data):
        with urllib.request.urlopen(f"{self.endpoint}/_stub", data) as answer:
            return json.load(answer)

    def put(self, folder: Path, place: files.ObjectPath) -> None:
        for path in folder.iterdir():
            (place / path.name).upload(path)

    def contents(self, place: files.ObjectPath) -> dict[str, bytes]:
        return {name: (place / name).read_bytes() for name in files.listing(place)}


@contextlib.contextmanager
def running(scheme: str, *arguments: str) -> Iterator[ObjectStore]:
    """Yields a store that runs in a process of its own, known to `fsspec` in this one."""
    import fsspec.config
    from fsspec.registry import _registry as loaded_classes

    script = {"gs": "gcs_stub.py", "s3": "s3_stub.py"}[scheme]
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        store = ObjectStore(scheme, int(process.stdout.readline()), process.pid)
        fsspec.config.conf[scheme] = store.settings
        if scheme == "s3":
            # Not through `fsspec`, whose thread would not survive a fork of this process.
            urllib.request.urlopen(urllib.request.Request(f"{store.endpoint}/bucket", method="PUT")).close()
        yield store
    finally:
        fsspec.config.conf.pop(scheme, None)
        # Otherwise a later test that hides the library would still find it here.
        loaded_classes.pop(scheme, None)
        process.kill()
        process.communicate()
