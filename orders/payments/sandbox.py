"""A sandbox twin of Stripe's API: a real HTTP server on loopback that moves nobody's money.

    python -m orders.payments.sandbox --port 0 --port-file PATH
    with SandboxServer() as sandbox: ...  # sandbox.base_url is a connection's base_url

Stripe's own, form-encoded (any key but "wrong" will do; an Idempotency-Key is answered alike):
    POST   /v1/payment_intents                        amount, currency, capture_method, confirm, metadata[…]
    GET    /v1/payment_intents/ID                     also with expand[0]=latest_charge
    POST   /v1/payment_intents/ID/confirm | capture | cancel
    GET    /v1/charges/ID
    POST   /v1/refunds                                payment_intent or charge, amount, reason, metadata[…]
    GET    /v1/refunds · /v1/disputes                 payment_intent or charge
The sandbox's own, JSON:
    PUT    /sandbox/behaviour                         the whole behaviour: `sandbox_state.Behaviour` lists it
    POST   /sandbox/hooks                             {url, secret, key}: where signed events go (of one key's, or all)
    POST   /sandbox/expire/INTENT · /sandbox/fail/REFUND
    POST   /sandbox/dispute/CHARGE · /sandbox/close/DISPUTE {status: won | lost}
    GET    /sandbox/log                               {objects[…], calls[…]}
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.parse import parse_qsl

from orders.payments.sandbox_events import Poster
from orders.payments.sandbox_state import Behaviour, Hook, RefusedError, Sandbox

BODY_LIMIT_BYTES = 1024 * 1024


class SandboxServer:
    """The sandbox as an object; it listens from the moment it is made until `stop()`."""

    def __init__(self, port: int = 0) -> None:
        self.state = Sandbox()
        self.poster = Poster(self.state)
        self._http = _Server(("127.0.0.1", port), _Handler)
        self._http.sandbox, self._http.poster = self.state, self.poster
        self.port = int(self._http.server_address[1])
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def behave(self, **behaviour: Any) -> None:
        """Set the whole behaviour, as PUT /sandbox/behaviour does."""
        self.state.behaviour = Behaviour.read(behaviour)

    def stop(self) -> None:
        """Stop listening, cut what is connected, drop the events not yet posted."""
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._http.connected):
            _cut(connection)
        self.poster.stop()

    def __enter__(self) -> SandboxServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    sandbox: Sandbox
    poster: Poster

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.connected: set[socket.socket] = set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet

    def setup(self) -> None:
        super().setup()
        self._owner = cast("_Server", self.server)
        self._sandbox = self._owner.sandbox
        self._owner.connected.add(self.connection)

    def finish(self) -> None:
        self._owner.connected.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client left, or the server is being stopped
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Log nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Write the Date of an answer by the twin's clock."""
        return super().date_time_string(self._sandbox.now() if timestamp is None else timestamp)

    def do_GET(self) -> None:
        self._route()

    do_POST = do_PUT = do_GET  # noqa: N815  (the base class's names)

    def _route(self) -> None:
        length = self.headers.get("Content-Length") or ""
        raw = self.rfile.read(min(int(length), BODY_LIMIT_BYTES) if length.isdecimal() else 0)
        path, _, query = self.path.partition("?")
        parts = path.strip("/").split("/")
        try:
            if parts[0] == "sandbox":
                return self._answer(200, self._control(parts[1:], raw))
            self._refuse_wrong_key()
            params = dict(parse_qsl(raw.decode() or query, keep_blank_values=True))
            if self.command == "GET":
                return self._answer(200, self._read(parts[1:], params))
            return self._change(parts[1:], params)
        except RefusedError as error:
            return self._answer(error.status, error.document)

    def _refuse_wrong_key(self) -> None:
        if self._key() == "wrong":
            raise RefusedError("Invalid API Key provided", status=401)

    def _key(self) -> str:
        return self.headers.get("Authorization", "Bearer wrong").removeprefix("Bearer ")

    def _answer(self, status: int, document: Any, **headers: str) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    # Stripe's own

    def _read(self, parts: list[str], params: Mapping[str, str]) -> dict[str, Any]:
        with self._sandbox.lock:
            match parts:
                case ["payment_intents", one]:
                    found = self._sandbox.find(one, "payment_intent")
                    return self._expand(found, params)
                case ["charges", one]:
                    return self._sandbox.find(one, "charge")
                case ["refunds" | "disputes" as word]:
                    rows = self._sandbox.of_payment(word.removesuffix("s"), params)
                    return {"object": "list", "data": rows, "has_more": False, "url": f"/v1/{word}"}
        raise RefusedError("Unrecognized request URL", status=404)

    def _expand(self, intent: dict[str, Any], params: Mapping[str, str]) -> dict[str, Any]:
        """Show an intent with its charge in full, where that is asked for."""
        wanted = any(name.startswith("expand") for name in params) and intent["latest_charge"]
        charge = dict(self._sandbox.objects[intent["latest_charge"]]) if wanted else intent["latest_charge"]
        return {**intent, "latest_charge": charge}

    def _change(self, parts: list[str], params: Mapping[str, str]) -> None:
        state, behaviour = self._sandbox, self._sandbox.behaviour
        # 1. What goes wrong before anything is done.
        if state.take("throttle"):
            error = {"error": {"type": "rate_limit_error", "message": "Too many requests"}}
            return self._answer(429, error, Retry_After=f"{behaviour.retry_after_seconds:g}")
        if state.take("error"):
            return self._answer(500, {"error": {"type": "api_error", "message": "internal"}})
        time.sleep(behaviour.delay_seconds)
        if state.take("cut_before_effect"):
            return self._cut()
        # 2. Do it once for each key, and remember the answer; then the events.
        status, document = self._once(self.headers.get("Idempotency-Key", ""), parts, params)
        self._owner.poster.post_outbox(behaviour)
        # 3. Answer, or cut the line.
        return self._cut() if state.take("cut_after_effect") else self._answer(status, document)

    def _once(self, key: str, parts: list[str], params: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        asked = json.dumps([parts, dict(params)], sort_keys=True)
        with self._sandbox.lock:
            before = self._sandbox.answered.get(key)
            self._sandbox.calls.append({"path": "/".join(parts), "key": key, "is_repetition": before is not None})
            if before is not None and before[0] != asked:
                raise RefusedError("Keys for idempotent requests can only be used once", kind="idempotency_error")
            if before is not None:
                return before[1:]
            self._sandbox.key = self._key()
            try:
                status, document = 200, dict(self._do(parts, params))
            except RefusedError as error:
                status, document = error.status, error.document
            if key:
                self._sandbox.answered[key] = (asked, status, document)
            return status, document

    def _do(self, parts: list[str], params: Mapping[str, str]) -> dict[str, Any]:
        state = self._sandbox
        match parts:
            case ["payment_intents"]:
                return state.create_intent(params)
            case ["payment_intents", one, "confirm"]:
                return state.confirm(state.find(one, "payment_intent"))
            case ["payment_intents", one, "capture"]:
                return self._expand(state.capture(state.find(one, "payment_intent"), params), params)
            case ["payment_intents", one, "cancel"]:
                return self._expand(state.cancel(state.find(one, "payment_intent")), params)
            case ["refunds"]:
                return state.refund(params)
        raise RefusedError("Unrecognized request URL", status=404)

    def _cut(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    # The sandbox's own

    def _control(self, parts: list[str], raw: bytes) -> Any:
        document = _json(raw)
        with self._sandbox.lock:
            self._sandbox.key = self._sandbox.owners.get(parts[-1] if parts else "", "")
            answer = self._controls(document).get((self.command, parts[0] if parts else ""), _nothing)(parts[-1])
        self._owner.poster.post_outbox(self._sandbox.behaviour)
        return answer

    def _controls(self, document: Any) -> dict[tuple[str, str], Callable[[str], Any]]:
        state = self._sandbox
        return {
            ("PUT", "behaviour"): lambda _: self._behave(document),
            ("POST", "hooks"): lambda _: state.hooks.append(_read_hook(document)),
            ("POST", "expire"): lambda one: state.cancel(state.find(one, "payment_intent"), "automatic"),
            ("POST", "fail"): lambda one: state.fail_refund(state.find(one, "refund")),
            ("POST", "dispute"): lambda one: state.dispute(state.find(one, "charge")),
            ("POST", "close"): lambda one: state.close_dispute(state.find(one, "dispute"), str(document.get("status"))),
            ("GET", "log"): lambda _: {"objects": list(state.objects.values()), "calls": list(state.calls)},
        }

    def _behave(self, document: Any) -> dict[str, Any]:
        self._sandbox.behaviour = Behaviour.read(document)
        return {"ok": True}


def _read_hook(document: Any) -> Hook:
    return Hook(str(document["url"]), str(document["secret"]), str(document.get("key", "")))


def _nothing(_: str) -> Any:
    raise RefusedError("nothing is here", status=404)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw or b"{}")
    except (ValueError, RecursionError) as error:
        raise RefusedError("the body is not JSON") from error


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Run the sandbox until SIGTERM or SIGINT; write its port to a file once it listens."""
    parser = argparse.ArgumentParser(prog="orders.payments.sandbox", description="A sandbox of Stripe's API.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="where to write the port")
    options = parser.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with SandboxServer(options.port) as sandbox:
        if options.port_file:
            # Whole or not at all: whoever waits for the file never reads half a number.
            written = options.port_file.with_name(f"{options.port_file.name}.{os.getpid()}")
            written.write_text(f"{sandbox.port}\n")
            written.replace(options.port_file)
        sys.stdout.write(f"Stripe sandbox on {sandbox.base_url}\n")
        sys.stdout.flush()
        stopping.wait()


if __name__ == "__main__":
    main()
