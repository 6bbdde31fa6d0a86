"""moto's Amazon S3 on loopback, which can fail on demand: `python s3_stub.py` prints its port.

`POST /_stub` and `GET /_stub` as in gcs_stub.py.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Faulty:
    """Fails on demand, before the request reaches moto."""

    def __init__(self, app):
        self.app, self.state, self.log = app, {"faults": [], "only": ""}, []
        self.lock = threading.Lock()  # Amazon's conditional writes are atomic; moto checks, then writes

    def __call__(self, environ, start_response):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == "/_stub":
            if method == "POST":
                self.state |= json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({"log": self.log, "faults": self.state["faults"]}).encode()]
        self.log.append(f"{method} {path} {environ.get('HTTP_RANGE', '')}".strip())
        fault = self.state["faults"].pop(0) if self.state["faults"] and self.state["only"] in path else None
        if isinstance(fault, int):
            start_response(f"{fault} -", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>injected</Message></Error>" if fault != 500 else b""]
        if isinstance(fault, str) and fault.startswith("kill"):
            name, _, pid = fault.partition(" ")
            answer = list(self.app(environ, lambda *arguments: None)) if name == "kill-after" else []
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
            start_response("503 -", [("Content-Type", "application/xml")])
            return answer
        if fault == "drop":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        with self.lock:
            return self.app(environ, start_response)


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    app = Faulty(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    print(server.socket.getsockname()[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
