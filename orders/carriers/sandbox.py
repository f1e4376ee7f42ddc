"""A sandbox twin of EasyPost's API: a real HTTP server on loopback that ships nothing and takes no money.

    python -m orders.carriers.sandbox --port 0 --port-file PATH
    with CarrierSandbox() as sandbox: ...  # sandbox.base_url

EasyPost's own (any key but "wrong" will do, by HTTP Basic):
    POST /v2/shipments                {shipment{reference, to_address, from_address, parcel}}
    GET  /v2/shipments/ID             ID or reference
    POST /v2/shipments/ID/rerate      /buy {rate{id}}      /refund
    POST /v2/webhooks                 {webhook{url, webhook_secret}}: where events of this key's parcels go
    GET  /labels/ID.pdf               without a key
The sandbox's own:
    PUT  /sandbox/behaviour           the whole behaviour: `sandbox_state.Behaviour` lists it
    GET  /sandbox/log                 {shipments[…], calls[…]}
    POST /sandbox/travel/ID           post the events of a parcel on its way, as the behaviour says
    POST /sandbox/decide/ID           decide on a submitted refund, and post it
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import signal
import socket
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from orders.carriers.events import HEADER, sign
from orders.carriers.sandbox_state import FILES, BadRequestError, Behaviour, Hook, Known, Sandbox, make_rates

_BODY_LIMIT_BYTES = 1024 * 1024
_TRIES = 4


class CarrierSandbox:
    """The sandbox as an object; it listens from the moment it is made until `stop()`."""

    def __init__(self, port: int = 0) -> None:
        self.state = Sandbox()
        self._http = _Server(("127.0.0.1", port), _Handler)
        self._http.sandbox = self.state
        self.port = int(self._http.server_address[1])
        self.base_url = self.state.base_url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def behave(self, **behaviour: Any) -> None:
        """Set the whole behaviour, as PUT /sandbox/behaviour does."""
        self.state.behaviour = Behaviour.read(behaviour)

    def purchases(self) -> int:
        """Count how often money was taken."""
        with self.state.lock:
            return sum(known.purchases for known in self.state.shipments.values())

    def stop(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> CarrierSandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    sandbox: Sandbox


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Log nothing."""

    def do_GET(self) -> None:
        self._sandbox = cast("_Server", self.server).sandbox
        length = self.headers.get("Content-Length") or ""
        raw = self.rfile.read(min(int(length), _BODY_LIMIT_BYTES) if length.isdecimal() else 0)
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[0] == "v2" and self._key() in {"", "wrong"}:
            return self._refuse(401, "the API key is missing or wrong")
        try:
            return self._route(parts, json.loads(raw or b"{}"))
        except BadRequestError as error:
            return self._refuse(422, str(error))
        except ValueError:
            return self._refuse(400, "the body is not JSON")

    do_POST = do_PUT = do_GET  # noqa: N815  (the base class's names)

    def _key(self) -> str:
        scheme, _, pair = self.headers.get("Authorization", "").partition(" ")
        try:
            key = base64.b64decode(pair).decode().partition(":")[0]
        except ValueError:
            return ""
        return key if scheme == "Basic" else ""

    def _route(self, parts: list[str], document: Any) -> None:
        routes: dict[tuple[str, ...], Callable[[], None]] = {
            ("POST", "v2", "shipments"): lambda: self._costly("create", lambda: self._create(document)),
            ("POST", "v2", "webhooks"): lambda: self._register(document),
            ("PUT", "sandbox", "behaviour"): lambda: self._behave(document),
            ("GET", "sandbox", "log"): self._show_log,
        }
        if (action := routes.get((self.command, *parts))) is not None:
            return action()
        if parts[0] == "labels" and len(parts) == 2:
            return self._show_label(parts[1])
        return self._of_a_shipment(parts, document)

    def _of_a_shipment(self, parts: list[str], document: Any) -> None:
        is_own = parts[0] == "sandbox" and len(parts) == 3
        known = self._sandbox.find(parts[2]) if len(parts) in {3, 4} else None
        if known is None or parts[:2] not in (["v2", "shipments"], ["sandbox", "travel"], ["sandbox", "decide"]):
            return self._refuse(404, "The requested resource could not be found.")
        if is_own:
            return self._travel(known) if parts[1] == "travel" else self._decide(known)
        if self.command == "GET" and len(parts) == 3:
            return self._answer(200, known.document)
        verbs: dict[str, Callable[[], dict[str, Any]]] = {
            "rerate": lambda: self._rerate(known),
            "buy": lambda: self._buy(known, document),
            "refund": lambda: self._refund(known),
        }
        if self.command != "POST" or parts[-1] not in verbs:
            return self._refuse(404, "The requested resource could not be found.")
        return self._costly(parts[-1], verbs[parts[-1]])

    def _costly(self, name: str, effect: Callable[[], dict[str, Any]]) -> None:
        """Make a call as the behaviour says: what goes wrong before, the effect, what goes wrong after."""
        state, behaviour = self._sandbox, self._sandbox.behaviour
        with state.lock:
            state.calls.append(name)
        if state.take("throttle"):
            return self._answer(429, {}, {"Retry-After": f"{behaviour.retry_after_seconds:g}"})
        if state.take("error"):
            return self._refuse(500, "internal error")
        if state.take("refuse"):
            return self._refuse(422, "the carrier refused")
        if state.take("cut_before"):
            return self._cut()
        time.sleep(behaviour.delay_seconds)
        answer = effect()
        if state.take("refuse_after"):
            return self._refuse(422, "the carrier refused, and did it")
        return self._cut() if state.take("cut_after") else self._answer(200, answer)

    def _create(self, document: Any) -> dict[str, Any]:
        wanted = document.get("shipment") if isinstance(document, dict) else None
        return self._sandbox.create(wanted, key=self._key()).document

    def _rerate(self, known: Known) -> dict[str, Any]:
        with self._sandbox.lock:
            known.document["rates"] = make_rates()
        return {"rates": known.document["rates"]}

    def _buy(self, known: Known, document: Any) -> dict[str, Any]:
        rate = document.get("rate") if isinstance(document, dict) else None
        self._sandbox.buy(known, str(rate.get("id")) if isinstance(rate, dict) else "")
        return known.document

    def _refund(self, known: Known) -> dict[str, Any]:
        self._sandbox.refund(known)
        return known.document

    def _register(self, document: Any) -> None:
        hook = document.get("webhook") if isinstance(document, dict) else None
        if not isinstance(hook, dict) or not str(hook.get("url")).startswith("http"):
            raise BadRequestError("webhook.url is not an http address")
        with self._sandbox.lock:
            self._sandbox.hooks.append(Hook(str(hook["url"]), str(hook.get("webhook_secret") or ""), self._key()))
        self._answer(201, {"id": f"hook_{uuid.uuid4().hex}", "url": hook["url"]})

    # Its own

    def _behave(self, document: Any) -> None:
        self._sandbox.behaviour = Behaviour.read(document)
        self._answer(200, {})

    def _show_log(self) -> None:
        with self._sandbox.lock:
            seen = [{**known.document, "purchases": known.purchases} for known in self._sandbox.shipments.values()]
            calls = list(self._sandbox.calls)
        self._answer(200, {"shipments": seen, "calls": calls})

    def _show_label(self, name: str) -> None:
        kind, body = FILES.get(name.rpartition(".")[2], ("", b""))
        if not kind:
            return self._refuse(404, "no such label")
        return self._answer(200, body, {"Content-Type": kind})

    def _travel(self, known: Known) -> None:
        events = [("tracker.updated", self._sandbox.tracker(known, steps)) for steps in (1, 2, 3, 4)]
        self._answer(200, {"posted": self._post_all(known, events)})

    def _decide(self, known: Known) -> None:
        status = self._sandbox.behaviour.decision
        with self._sandbox.lock:
            known.document["refund_status"] = status
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        refund = {"object": "Refund", "status": status, "shipment_id": known.remote_id, "updated_at": at}
        self._answer(200, {"posted": self._post_all(known, [("refund.successful", refund)])})

    def _post_all(self, known: Known, events: list[tuple[str, dict[str, Any]]]) -> int:
        how = self._sandbox.behaviour.events
        bodies = [
            json.dumps(
                {"id": f"evt_{uuid.uuid4().hex}", "object": "Event", "mode": "test", "description": topic,
                 "result": result, "status": "pending"}
            ).encode()
            for topic, result in events
        ]  # fmt: skip
        if how == "none":
            return 0
        bodies = bodies[::-1] if how == "out_of_order" else bodies
        bodies = [body for body in bodies for _ in range(2)] if how == "twice" else bodies
        taken = 0
        for body in bodies:
            time.sleep(self._sandbox.behaviour.event_delay_seconds)
            taken += sum(post_event(hook.url, hook.secret, body) for hook in self._sandbox.hooks_of(known))
        return taken

    # Answers

    def _answer(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, {"error": {"code": "SANDBOX", "message": message, "errors": []}})

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def post_event(url: str, secret: str, body: bytes) -> bool:
    """Post a signed event until it is taken (2xx); say whether it was."""
    headers = {"Content-Type": "application/json", HEADER: sign(body=body, secret=secret)}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(_TRIES):
        try:
            request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310  (a sandbox)
            with opener.open(request, timeout=5):
                return True
        except (OSError, ValueError, http.client.HTTPException):
            continue
    return False


def main() -> None:
    """Run the sandbox until SIGTERM or SIGINT; write its port to a file once it listens."""
    parser = argparse.ArgumentParser(prog="orders.carriers.sandbox", description="A sandbox of EasyPost's API.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="where to write the port")
    options = parser.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with CarrierSandbox(options.port) as sandbox:
        if options.port_file:
            making = options.port_file.with_suffix(".making")  # whole or not at all
            making.write_text(f"{sandbox.port}\n")
            making.replace(options.port_file)
        sys.stdout.write(f"EasyPost sandbox on {sandbox.base_url}\n")
        sys.stdout.flush()
        stopping.wait()


if __name__ == "__main__":
    main()
