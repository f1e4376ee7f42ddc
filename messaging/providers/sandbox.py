"""A sandbox twin of Mitto's APIs: a real HTTP server on loopback that sends nothing to anybody.

    python -m messaging.providers.sandbox --port 0 --port-file PATH
    with SandboxServer() as sandbox: ...  # sandbox.base_url

Mitto's own (any X-Mitto-API-Key but "wrong" will do):
    POST   /api/v1.1/Messages/send               {trafficAccountId, destination, sms{text, sender}, reference}
    POST   /api/v1.1/Messages/sendmessagesbulk   {messages[…]}
    GET    /api/v1.1/Messages/ID
    POST   /api/v1/Webhooks                      {url, webhookTriggers, headers{}, linkTrafficAccountIds[]}; a hook of
                                                 replies when a trigger's name has "inbound" in it, else of reports
    DELETE /api/v1/Webhooks/ID
Of the classic API (sandbox_classic.py says more), whose account is the key:
    POST   /sms                                  {from, to, text, type, reference, validity}
    POST   /smsbulk                              the same, with an array `to`
The sandbox's own:
    PUT    /sandbox/behaviour                    the whole behaviour: `sandbox_state.Behaviour` lists it
    GET    /sandbox/behaviour
    POST   /sandbox/reply                        {account, from, to, text}: posted to the account's hooks of replies
    GET    /sandbox/log                          {messages[every message accepted], calls[every sending call]}
    DELETE /sandbox/log
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
import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from messaging.providers.sandbox_classic import ClassicCall, ClassicMessage
from messaging.providers.sandbox_reports import Reporter, post_report
from messaging.providers.sandbox_state import (
    AcceptedMessage,
    BadRequestError,
    Hook,
    HookKind,
    Sandbox,
    new_id,
    timestamp,
)

BULK_LIMIT = 5000
BODY_LIMIT_BYTES = 10 * 1024 * 1024


class SandboxServer:
    """The sandbox as an object; it listens from the moment it is made until `stop()`.

    Another service's twin is a subclass, with a state and a handler of its own.
    """

    make_state: Callable[[], Sandbox] = Sandbox

    def __init__(self, port: int = 0) -> None:
        self.state = type(self).make_state()
        self._reporter = Reporter(self.state)
        self._http = _Server(("127.0.0.1", port), self.handler)
        self._http.sandbox, self._http.reporter = self.state, self._reporter
        self.port = int(self._http.server_address[1])
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def behave(self, **behaviour: Any) -> None:
        """Set the whole behaviour, as PUT /sandbox/behaviour does."""
        self.state.behaviour = type(self.state.behaviour).read(behaviour)

    @property
    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return the class that speaks the service's language."""
        return Handler

    def accepted(self) -> list[AcceptedMessage]:
        """Return every message accepted, oldest first."""
        with self.state.lock:
            return list(self.state.messages.values())

    def stop(self) -> None:
        """Stop listening, cut what is connected, drop the reports not yet posted."""
        self._http.shutdown()
        self._http.server_close()
        self._http.cut_all()
        self._reporter.stop()

    def __enter__(self) -> SandboxServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    sandbox: Sandbox
    reporter: Reporter

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.connected: set[socket.socket] = set()

    def cut_all(self) -> None:
        for connection in list(self.connected):
            _cut(connection)


class Handler(BaseHTTPRequestHandler):
    """Speaks Mitto's language; what is not Mitto's own, another twin inherits."""

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

    def do_GET(self) -> None:
        self._route()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  (the base class's names)

    # One request

    def _route(self) -> None:
        length = self.headers.get("Content-Length") or ""
        raw = self.rfile.read(min(int(length), BODY_LIMIT_BYTES) if length.isdecimal() else 0)
        path = self.path.partition("?")[0].rstrip("/")
        if not path.startswith("/sandbox/") and self.headers.get(self.key_header, "") in {"", "wrong"}:
            return self.refuse(401, "the API key is missing or wrong")
        own: dict[tuple[str, str], Callable[[], None]] = {
            ("PUT", "/sandbox/behaviour"): lambda: self._behave(read_json(raw)),
            ("GET", "/sandbox/behaviour"): lambda: self._answer(200, asdict(self._sandbox.behaviour)),
            ("POST", "/sandbox/reply"): lambda: self._reply(read_json(raw)),
            ("GET", "/sandbox/log"): self._show_log,
            ("DELETE", "/sandbox/log"): self._clear_log,
        }
        action = own.get((self.command, path)) or self.find_action(path, raw)
        try:
            return action() if action else self.refuse(404, "not found")
        except BadRequestError as error:
            return self.refuse(400, str(error))

    # What is Mitto's own

    key_header = "X-Mitto-API-Key"

    def find_action(self, path: str, raw: bytes) -> Callable[[], None] | None:
        """Find what the service does at a path; None for nothing."""
        head, _, last = path.rpartition("/")
        routes: dict[tuple[str, str], Callable[[], None]] = {
            ("POST", "/api/v1.1/Messages/send"): lambda: self._send([read_json(raw)], bulk=False),
            ("POST", "/api/v1.1/Messages/sendmessagesbulk"): lambda: self._send(_bulk(read_json(raw)), bulk=True),
            ("POST", "/api/v1/Webhooks"): lambda: self._register(read_json(raw)),
            ("POST", "/sms"): lambda: self._send_classic(read_json(raw), is_bulk=False),
            ("POST", "/smsbulk"): lambda: self._send_classic(read_json(raw), is_bulk=True),
        }
        under: dict[tuple[str, str], Callable[[], None]] = {
            ("GET", "/api/v1.1/Messages"): lambda: self._show_message(last),
            ("DELETE", "/api/v1/Webhooks"): lambda: self._unregister(last),
        }
        return routes.get((self.command, path)) or under.get((self.command, head))

    def refuse(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        """Refuse a request in the service's words."""
        self._answer(status, {"message": sentence}, headers)

    def describe(self, messages: list[AcceptedMessage | str], *, bulk: bool) -> Any:
        """Return the answer to a sending call, of what was accepted and, as a sentence, what was not."""
        answers = [_answer_entry(message) for message in messages]
        return {"bulkId": str(uuid.uuid4()), "messages": answers} if bulk else {"messages": answers}

    def _answer(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode() if status != 204 else b""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _cut(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    # Sending

    def _send(self, entries: list[Any], *, bulk: bool) -> None:
        accept = self._sandbox.accept
        self._make_call(len(entries), lambda: list(map(accept, entries)), partial(self.describe, bulk=bulk))

    def _send_classic(self, document: Any, *, is_bulk: bool) -> None:
        call = ClassicCall.read(document, account=self.headers[self.key_header], is_bulk=is_bulk)
        self._make_call(len(call.receivers), lambda: call.accept(self._sandbox), call.describe)

    def _make_call(
        self,
        count: int,
        accept: Callable[[], list[AcceptedMessage | str]],
        describe: Callable[[list[AcceptedMessage | str]], Any],
    ) -> None:
        state, behaviour = self._sandbox, self._sandbox.behaviour
        # 1. What goes wrong before anything is accepted.
        if state.take("throttle"):
            state.note_call("throttled", count)
            seconds = f"{behaviour.retry_after_seconds:g}"
            return self.refuse(429, "too many requests", {"Retry-After": seconds})
        if state.take("refuse_calls"):
            state.note_call("refused", count)
            return self.refuse(400, "the call is refused")
        if state.take("error"):
            state.note_call("error", count)
            return self.refuse(500, "internal error")
        time.sleep(behaviour.delay_seconds)
        if state.take("cut_before_acceptance"):
            state.note_call("cut before acceptance", count)
            return self._cut()
        # 2. Accept, remember, then report: "before" posts before the answer, the others after it.
        messages = accept()
        taken = [message for message in messages if isinstance(message, AcceptedMessage)]
        cut = state.take("cut_after_acceptance")
        state.note_call("cut after acceptance" if cut else "accepted" if taken else "refused", count)
        self._owner.reporter.report(taken, behaviour)
        time.sleep(behaviour.accept_delay_seconds)
        # 3. Answer, or cut the line.
        if cut:
            return self._cut()
        return self._answer(200, describe(messages))

    # Looking, registering, controlling

    def _show_message(self, message_id: str) -> None:
        with self._sandbox.lock:
            message = self._sandbox.messages.get(message_id)
            if message is None or isinstance(message, ClassicMessage):
                return self._answer(404, {"message": "no such message"})
            sender = {"id": "s1", "name": message.sender, "messagingAppIdentifier": "SMS"}
            seen = self._sandbox.report(message, message.status)
            seen |= {"text": message.text, "sender": sender, "destination": message.destination}
        return self._answer(200, seen)

    def _register(self, document: Any) -> None:
        document = document if isinstance(document, dict) else {}
        url, accounts, headers = (document.get(name) for name in ("url", "linkTrafficAccountIds", "headers"))
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise BadRequestError("url is not an http address")
        if not isinstance(accounts, list) or not accounts:
            raise BadRequestError("linkTrafficAccountIds names no account")
        if not isinstance(headers or {}, dict):
            raise BadRequestError("headers is not an object of names and values")
        fixed = {str(name): str(value) for name, value in (headers or {}).items()}
        is_of_replies = "inbound" in str(document.get("webhookTriggers")).lower()
        kind: HookKind = "reply" if is_of_replies else "report"
        hook = Hook(str(uuid.uuid4()), url, fixed, frozenset(map(str, accounts)), kind)
        self._sandbox.register(hook)
        self._answer(201, {**document, "id": hook.hook_id})

    def _unregister(self, hook_id: str) -> None:
        with self._sandbox.lock:
            known = self._sandbox.hooks.pop(hook_id, None)
        self._answer(200 if known else 404, {"id": hook_id})

    def _reply(self, document: Any) -> None:
        given = document if isinstance(document, dict) else {}
        account, sender, to, text = (given.get(name) for name in ("account", "from", "to", "text"))
        if not all(isinstance(value, str) and value for value in (account, sender, to)) or not isinstance(text, str):
            raise BadRequestError("account, from, to and text are needed")
        now = time.time()
        reply = {"id": given.get("id") or new_id(now), "from": sender, "to": to, "text": text, "time": timestamp(now)}
        hooks = self._sandbox.hooks_of(str(account), "reply")
        taken = [post_report(hook, reply) for hook in hooks]
        self._answer(200 if hooks else 404, {"id": reply["id"], "posted": len(hooks), "taken": sum(taken)})

    def _behave(self, document: Any) -> None:
        self._sandbox.behaviour = type(self._sandbox.behaviour).read(document)
        self._answer(200, asdict(self._sandbox.behaviour))

    def _show_log(self) -> None:
        with self._sandbox.lock:
            lines = [message.as_log_line() for message in self._sandbox.messages.values()]
            seen = {"messages": lines, "calls": list(self._sandbox.calls)}
        self._answer(200, seen)

    def _clear_log(self) -> None:
        self._sandbox.clear()
        self._answer(204, None)


def read_json(raw: bytes) -> Any:
    """Read a body.

    Raises: BadRequestError.
    """
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("the body is not JSON") from error


def _bulk(document: Any) -> list[Any]:
    entries = document.get("messages") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not 0 < len(entries) <= BULK_LIMIT:
        raise BadRequestError(f"messages is not an array of 1 to {BULK_LIMIT}")
    return entries


def _answer_entry(message: AcceptedMessage | str) -> dict[str, Any]:
    if isinstance(message, str):
        return {"errors": [{"message": message}]}
    return {"messageId": message.message_id, "trafficAccountId": message.account}


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def serve(server: type[SandboxServer], *, program: str, name: str) -> None:
    """Run a twin until SIGTERM or SIGINT; write its port to a file once it listens."""
    parser = argparse.ArgumentParser(prog=program, description=f"A sandbox of {name}.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="where to write the port")
    options = parser.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with server(options.port) as sandbox:
        if options.port_file:
            # Whole or not at all: whoever waits for the file never reads half a number.
            written = options.port_file.with_name(f"{options.port_file.name}.{os.getpid()}")
            written.write_text(f"{sandbox.port}\n")
            written.replace(options.port_file)
        sys.stdout.write(f"{name} sandbox on {sandbox.base_url}\n")
        sys.stdout.flush()
        stopping.wait()


if __name__ == "__main__":
    serve(SandboxServer, program="messaging.providers.sandbox", name="Mitto")
