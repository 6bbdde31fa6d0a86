"""A stub of Google Cloud Storage on loopback, for a few requests, that can be slow or fail on demand.

    python tests/gcs_stub.py [--folder PREFIX=DIR] [--latency-ms 30]

Prints its port. Every bucket is there; `--folder bucket/train=DIR` puts a folder of this machine under a prefix.
`POST /_stub {"latency_ms": 100, "faults": [503, "drop", "cut"]}` makes answers slow, and the next ones fail: with
a status, by dropping the connection, or in the middle of the body; `null` is a request that is answered well. "kill
PID" ends a process before its request is served, "kill-after PID" after it; "lie" answers with a wrong checksum,
"corrupt" stores what was uploaded with a flipped bit. `late_s` hides new objects from lists for so many seconds,
`clock_s` is added to the store's clock, `copy` is [prefix, other prefix]. `GET /_stub` tells what was asked so far.
"""

import argparse
import asyncio
import base64
import contextlib
import datetime
import hashlib
import json
import os
import re
import signal
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


def now(clock_s=0.0):
    time = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=clock_s)
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Store:
    def __init__(self, folders, latency_ms):
        self.objects: dict[str, bytes | Path] = {}  # "bucket/name"
        self.sessions: dict[str, tuple[str, dict, bytearray]] = {}
        self.latency_ms, self.faults, self.only, self.log = latency_ms, [], "", []
        self.late_s, self.clock_s = 0.0, 0.0
        self.written: dict[str, float] = {}  # time of the last upload, for late lists
        self.generations: dict[str, int] = {}
        self.updated: dict[str, str] = {}
        for folder in folders:
            prefix, _, directory = folder.partition("=")
            for path in Path(directory).iterdir():
                self.objects[f"{prefix}/{path.name}"] = path

    def data(self, key):
        found = self.objects[key]
        return found if isinstance(found, bytes) else found.read_bytes()

    def info(self, key):
        bucket, _, name = key.partition("/")
        found = self.objects[key]
        info = {"kind": "storage#object", "bucket": bucket, "name": name, "metageneration": "1",
                "generation": str(self.generations.get(key, 1)), "updated": self.updated.get(key, now()),
                "contentType": "application/octet-stream", "id": f"{key}/1"}  # fmt: skip
        if isinstance(found, Path):
            return {**info, "size": str(found.stat().st_size)}
        return {**info, "size": str(len(found)), "md5Hash": base64.b64encode(hashlib.md5(found).digest()).decode()}

    def put(self, key, data, query):
        generation = self.generations.get(key, 1) if key in self.objects else 0
        if query.get("ifGenerationMatch", str(generation)) != str(generation):
            return 412, {"error": {"code": 412, "message": "conditionNotMet"}}
        self.objects[key] = bytes(data)
        self.generations[key] = max(self.generations.values(), default=1) + 1
        self.updated[key] = now(self.clock_s)
        self.written[key] = time.monotonic()
        return 200, self.info(key)

    def list(self, bucket, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        start = query.get("pageToken", "")
        names, prefixes = [], set()
        since = time.monotonic() - self.late_s
        listed = [key for key in self.objects if not self.late_s or self.written.get(key, 0) < since]
        for key in sorted(key for key in listed if key.startswith(f"{bucket}/{prefix}")):
            name = key.partition("/")[2]
            if delimiter and delimiter in name[len(prefix) :]:
                prefixes.add(prefix + name[len(prefix) :].partition(delimiter)[0] + delimiter)
            elif name > start:
                names.append(name)
        page = names[: int(query.get("maxResults", 1000))]
        answer = {"kind": "storage#objects", "items": [self.info(f"{bucket}/{name}") for name in page]}
        if prefixes and not start:
            answer["prefixes"] = sorted(prefixes)
        if len(page) < len(names):
            answer["nextPageToken"] = page[-1]
        return 200, answer

    def answer(self, method, target, headers, body):
        """Returns (status, JSON or bytes, headers)."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path
        if match := re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)/o/(.+)", path):
            key = f"{match[1]}/{unquote(match[2])}"
            if key not in self.objects:
                return 404, {"error": {"code": 404, "message": "Not Found"}}, {}
            if method == "DELETE":
                del self.objects[key]
                return 204, b"", {}
            if query.get("alt") != "media":
                return 200, self.info(key), {}
            data = self.data(key)
            if match := re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", "")):
                first, last = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
                return 206, data[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
            return 200, data, {}
        if match := re.fullmatch(r"/storage/v1/b/([^/]+)/o", path):
            return (*self.list(match[1], query), {})
        if match := re.fullmatch(r"/storage/v1/b/([^/]+)", path):
            return 200, {"kind": "storage#bucket", "name": match[1], "location": "US", "id": match[1]}, {}
        if match := re.fullmatch(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o", path):
            return self.upload(match[1], query, headers, body)
        return 404, {"error": {"code": 404, "message": f"the stub does not know {method} {path}"}}, {}

    def upload(self, bucket, query, headers, body):
        if "upload_id" in query:
            key, first_query, data = self.sessions[query["upload_id"]]
            match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", headers.get("content-range", "bytes */*"))
            if match[1] is not None:
                data[int(match[1]) :] = body
            if match[3] == "*" or len(data) < int(match[3]):
                return 308, b"", {"Range": f"bytes=0-{len(data) - 1}"}
            return (*self.put(key, data, first_query), {})
        if query.get("uploadType") == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            session = uuid.uuid4().hex
            self.sessions[session] = (f"{bucket}/{name}", query, bytearray())
            location = (
                f"http://{headers['host']}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={session}"
            )
            return 200, {}, {"Location": location}
        if query.get("uploadType") == "media":
            return (*self.put(f"{bucket}/{query['name']}", body, query), {})
        boundary = re.search(r"boundary=[\"']?([^\"';]+)", headers["content-type"])[1].encode()
        _, head, content, _ = re.split(rb"(?:\r?\n)?--" + re.escape(boundary) + rb"(?:\r?\n|--)", body, maxsplit=3)
        name = query.get("name") or json.loads(re.split(rb"\r?\n\r?\n", head, maxsplit=1)[1])["name"]
        return (*self.put(f"{bucket}/{name}", re.split(rb"\r?\n\r?\n", content, maxsplit=1)[1], query), {})

    def control(self, method, body):
        if method == "POST":
            for name, value in json.loads(body).items():
                if name == "copy":
                    self.copy(*value)
                else:
                    setattr(self, name, value)
        return 200, {"log": self.log, "faults": self.faults, "objects": sorted(self.objects)}, {}

    def copy(self, start, other):
        for key in [key for key in self.objects if key.startswith(f"{start}/")]:
            self.put(other + key.removeprefix(start), self.data(key), {})

    def fail(self, fault, method, target, headers, body):
        """Answers as the fault says; `None` drops the connection."""
        name, _, pid = fault.partition(" ")
        if name in ("drop", "kill"):
            answer = None
        elif name == "corrupt":
            answer = self.answer(method, target, headers, bytes([*body[:-60], body[-60] ^ 1, *body[-59:]]))
        else:
            answer = self.answer(method, target, headers, body)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
            return None
        if name == "lie" and isinstance(answer[1], dict):
            answer = (
                answer[0],
                json.loads(re.sub(r'"md5Hash": "..', '"md5Hash": "AA', json.dumps(answer[1]))),
                answer[2],
            )
        return answer

    async def serve(self, reader, writer):
        try:
            while line := await reader.readline():
                method, target, _ = line.decode().split()
                headers = {}
                while (line := await reader.readline()).strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = await self.body(reader, headers)
                if target.startswith("/_stub"):
                    self.send(writer, *self.control(method, body))
                    continue
                self.log.append(f"{method} {unquote(target)} {headers.get('range', '')}".strip())
                if self.latency_ms:
                    await asyncio.sleep(self.latency_ms / 1000)
                fault = self.faults.pop(0) if self.faults and self.only in unquote(target) else None
                if isinstance(fault, int):
                    self.send(writer, fault, {"error": {"code": fault, "message": "injected"}}, {})
                    continue
                answer = (self.fail if fault else self.answer)(
                    *([fault] if fault else []), method, target, headers, body
                )
                if answer is None:
                    return
                self.send(writer, *answer, cut=fault == "cut")
                if fault == "cut":
                    return
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def body(self, reader, headers):
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
            return body
        return await reader.readexactly(int(headers.get("content-length", 0)))

    def send(self, writer, status, content, headers, cut=False):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        lines = [f"HTTP/1.1 {status} -", f"Content-Type: {kind}", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (data[: len(data) // 2] if cut else data))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", action="append", default=[])
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    store = Store(arguments.folder, arguments.latency_ms)
    server = await asyncio.start_server(store.serve, "127.0.0.1", arguments.port, limit=1 << 20, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.gather(server.serve_forever(), asyncio.to_thread(sys.stdin.read))


if __name__ == "__main__":
    asyncio.run(main())
