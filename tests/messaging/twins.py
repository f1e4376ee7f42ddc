"""What tests of the sandbox twins speak to them with: a client, and a receiver of what they post."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from messaging.webhooks import parse_mitto_reports


class Client:
    """A plain client on one kept connection."""

    def __init__(self, port: int, key_header: str = "X-Mitto-API-Key") -> None:
        self._key_header = key_header
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)

    def __call__(self, method: str, path: str, document: Any = None, *, key: str = "k") -> tuple[int, Any]:
        body = None if document is None else json.dumps(document)
        self._connection.request(method, path, body, {self._key_header: key} if key else {})
        answer = self._connection.getresponse()
        raw = answer.read()
        return answer.status, json.loads(raw) if raw else None


class Receiver:
    """Receives delivery reports, posted or as queries; refuses the first `refusals` of what is posted."""

    def __init__(self, refusals: int = 0) -> None:
        receiver = self
        self.bodies: list[bytes] = []
        self.queries: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.arrived_at: list[float] = []
        self.refusals = refusals

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                refused = receiver.refusals > 0
                receiver.refusals -= 1
                if not refused:
                    receiver.arrived_at.append(time.monotonic())
                    receiver.headers.append(dict(self.headers))
                    receiver.bodies.append(body)
                self._answer(503 if refused else 202)

            def do_GET(self) -> None:
                receiver.queries.append(self.path.partition("?")[2])
                self._answer(202)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/dlr"

    def documents(self) -> list[Any]:
        return [json.loads(body) for body in list(self.bodies)]

    def words(self) -> list[str]:
        return [report.raw_status for body in list(self.bodies) for report in parse_mitto_reports(body)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class answering:  # noqa: N801  (reads as a verb)
    """A server that gives every POST the same answer, and keeps where and what was posted."""

    def __init__(self, body: bytes) -> None:
        self.asked: list[tuple[str, Any]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
