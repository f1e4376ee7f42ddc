"""The outbound client says what is known of a request, and does nothing behind its caller's back."""

from __future__ import annotations

import base64
import contextlib
import gzip
import logging
import multiprocessing
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections

from config.infra import outbound
from config.infra.breaker import Breaker
from config.infra.outbound import OutboundError, Response
from config.infra.services import SERVICES, UndeclaredServiceError
from tests.infra.redis_server import free_port, some_redis

Answer = Callable[[socket.socket], None]


class RawServer:
    """Reads one request from each connection and answers with exact bytes, or worse."""

    def __init__(self, answer: bytes | Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/path?token=hidden-in-url"
        self.requests: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            data = connection.recv(65_536)
            head, _, body = data.partition(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    while len(body) < int(line.partition(b":")[2]):
                        body += connection.recv(65_536)
            self.requests.append(head + b"\r\n\r\n" + body)
            if callable(self._answer):
                self._answer(connection)
            else:
                connection.sendall(self._answer)

    def close(self) -> None:
        self._listener.close()


def reply(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture(scope="module", autouse=True)
def _redis() -> Iterator[None]:
    with some_redis():
        yield


@pytest.fixture
def breaker() -> Breaker:
    return Breaker("payments", secrets.token_hex(8))


@pytest.fixture
def ask(breaker: Breaker) -> Iterator[Callable[..., Response]]:
    """Call a raw server that gives this answer; `ask.server` is left in the list for a look at what it saw."""
    servers: list[RawServer] = []

    def call(answer: bytes | Answer, **options: Any) -> Response:
        servers.append(RawServer(answer))
        call.server = servers[-1]  # type: ignore[attr-defined]
        options = {"method": "POST", "url": servers[-1].url, "timeout_seconds": 2.0, **options}
        return outbound.call(service=breaker.service, connection=breaker.connection, **options)

    yield call
    for server in servers:
        server.close()


def failures(breaker: Breaker) -> int:
    """How many failures in a row the breaker has counted."""
    count = 0
    while breaker.state() == "closed":
        breaker.failed()
        count += 1
    breaker.reset()
    return 5 - count


def flags(error: OutboundError) -> tuple[bool, bool, int | None]:
    return error.permanent, error.unknown, error.status


def test_a_good_answer_comes_back_whole(ask: Any, breaker: Breaker) -> None:
    response = ask(reply(201, b'{"id": 9007199254740993}', "X-Name: v"), json={"text": "Γειά"}, headers={"X-Key": "k"})
    assert (response.status, response.headers["x-name"], response.json()) == (201, "v", {"id": 9007199254740993})
    head, _, body = ask.server.requests[0].partition(b"\r\n\r\n")
    assert body == '{"text":"Γειά"}'.encode()
    assert b"X-Key: k" in head
    assert b"Content-Type: application/json" in head
    assert "v" not in repr(response).replace("Response(status=201)", "")
    assert failures(breaker) == 0


def test_a_file_comes_back_as_its_bytes_and_kind(ask: Any) -> None:
    label = b"%PDF-1.7\x00\xff\xfe"
    response = ask(reply(200, label, "Content-Type: Application/PDF; q=1"), method="GET", headers={"accept": "*/*"})
    assert (response.body, response.content_type) == (label, "application/pdf")
    head = ask.server.requests[0].lower()
    assert head.count(b"accept:") == 1
    assert b"accept: */*" in head


def test_an_answer_need_not_say_what_it_is(ask: Any) -> None:
    assert ask(reply(204, b"")).content_type == ""


def test_signs_in_by_name_and_password(ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ask(reply(200), headers=outbound.basic_auth("user", "pass-κωδικός:1"))
    pair = ask.server.requests[0].partition(b"Authorization: Basic ")[2].partition(b"\r\n")[0]
    assert base64.b64decode(pair).decode() == "user:pass-κωδικός:1"
    assert pair.decode() not in caplog.text


def test_an_undeclared_service_is_refused(ask: Any) -> None:
    with pytest.raises(UndeclaredServiceError, match="no service 'fax'"):
        outbound.call(service="fax", connection="1", method="GET", url="http://127.0.0.1:1/")


def test_waits_as_long_as_the_table_says(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVICES, "payments", replace(SERVICES["payments"], timeout_seconds=0.2))
    started = time.monotonic()
    with pytest.raises(OutboundError):
        ask(lambda connection: connection.recv(1), timeout_seconds=None)
    assert 0.2 <= time.monotonic() - started < 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 301, 308])
def test_a_refusal_is_permanent(ask: Any, breaker: Breaker, status: int) -> None:
    with pytest.raises(OutboundError) as caught:
        ask(reply(status, b"{}", "Location: http://127.0.0.1:1/"))
    assert flags(caught.value) == (True, False, status)
    assert len(ask.server.requests) == 1
    assert failures(breaker) == 0


@pytest.mark.parametrize(
    ("value", "low", "high"), [("7", 7, 7), ("1.5", 1.5, 1.5), ("soon", None, None), ("", None, None)]
)
def test_429_is_surely_not_done(ask: Any, breaker: Breaker, value: str, low: float | None, high: float | None) -> None:
    with pytest.raises(OutboundError) as caught:
        ask(reply(429, b"", f"Retry-After: {value}"))
    assert flags(caught.value) == (False, False, 429)
    assert caught.value.retry_after_seconds in (low, high)
    assert failures(breaker) == 0


def test_retry_after_may_be_a_date(ask: Any) -> None:
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    with pytest.raises(OutboundError) as caught:
        ask(reply(429, b"", f"Retry-After: {later}"))
    assert 55 < (caught.value.retry_after_seconds or 0) <= 60


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_5xx_is_unknown_and_a_failure(ask: Any, breaker: Breaker, status: int) -> None:
    with pytest.raises(OutboundError) as caught:
        ask(reply(status))
    assert flags(caught.value) == (False, True, status)
    assert failures(breaker) == 1


@pytest.mark.parametrize("status", [302, 303, 408])
def test_answers_that_may_follow_a_deed_are_unknown(ask: Any, status: int) -> None:
    with pytest.raises(OutboundError) as caught:
        ask(reply(status, b"", "Location: /done"))
    assert flags(caught.value) == (False, True, status)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="cut without an answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="cut in the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", id="cut in the body"),
        pytest.param(b"+OK POP3 ready\r\n", id="no HTTP"),
        pytest.param(lambda connection: time.sleep(1) or connection.recv(1), id="silence"),
    ],
)
def test_a_broken_answer_is_unknown_and_a_failure(ask: Any, breaker: Breaker, answer: bytes | Answer) -> None:
    with pytest.raises(OutboundError) as caught:
        ask(answer, timeout_seconds=0.3)
    assert (caught.value.permanent, caught.value.unknown) == (False, True)
    assert len(ask.server.requests) == 1  # nothing was tried again
    assert failures(breaker) == 1


def test_a_body_that_drips_is_cut_off(ask: Any) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b" ")
            time.sleep(0.02)

    started = time.monotonic()
    with pytest.raises(OutboundError) as caught:
        ask(drip, timeout_seconds=0.3)
    assert caught.value.unknown
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(200, b"x" * (outbound.MAX_BODY_BYTES + 1)), id="too large"),
        pytest.param(
            reply(200, gzip.compress(b"x" * (outbound.MAX_BODY_BYTES + 1)), "Content-Encoding: gzip"),
            id="too large inside",
        ),
        pytest.param(reply(200, b"not gzip", "Content-Encoding: gzip"), id="cannot be decoded"),
    ],
)
def test_a_body_that_cannot_be_taken_is_unknown(ask: Any, breaker: Breaker, answer: bytes) -> None:
    with pytest.raises(OutboundError) as caught:
        ask(answer)
    assert flags(caught.value) == (False, True, 200)
    assert failures(breaker) == 0


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000])
def test_a_good_answer_that_is_not_json_is_unknown(ask: Any, body: bytes) -> None:
    response = ask(reply(200, body))
    with pytest.raises(OutboundError) as caught:
        response.json()
    assert flags(caught.value) == (False, True, 200)


def test_a_closed_port_is_surely_not_sent_and_opens_the_breaker(breaker: Breaker) -> None:
    def call() -> OutboundError:
        with pytest.raises(OutboundError) as caught:
            outbound.call(
                service=breaker.service,
                connection=breaker.connection,
                method="GET",
                url=f"http://127.0.0.1:{free_port()}/",
            )
        return caught.value

    for _ in range(5):
        assert flags(call()) == (False, False, None)
    assert breaker.state() == "open"
    refused = call()
    assert flags(refused) == (False, False, None)
    assert refused.blocker == "breaker open: payments"
    assert 0 < (refused.retry_after_seconds or 0) <= 30


def test_an_open_breaker_sends_nothing(ask: Any, breaker: Breaker) -> None:
    for _ in range(5):
        breaker.failed()
    with pytest.raises(OutboundError):
        ask(reply(200))
    assert ask.server.requests == []


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"url": "ftp://127.0.0.1/"}, id="scheme"),
        pytest.param({"url": "http://127.0.0.1:port/"}, id="url"),
        pytest.param({"headers": {"X-Key": "two\nlines"}}, id="header"),
        pytest.param({"headers": {"X-Key": "κλειδί"}}, id="header beyond ASCII"),
        pytest.param({"json": {"text": "\ud83d"}}, id="half a surrogate pair"),
        pytest.param({"json": float("nan")}, id="NaN"),
    ],
)
def test_what_cannot_be_sent_is_permanent(ask: Any, breaker: Breaker, options: dict[str, Any]) -> None:
    with pytest.raises(OutboundError) as caught:
        ask(reply(200), **options)
    assert flags(caught.value) == (True, False, None)
    assert not any(b"path" in request for request in ask.server.requests)
    assert failures(breaker) == 0


def test_a_probe_that_cannot_be_sent_does_not_keep_others_from_probing(ask: Any, breaker: Breaker) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SERVICES, "payments", replace(SERVICES["payments"], open_seconds=0.2))
        hasty = Breaker("payments", breaker.connection)
        for _ in range(5):
            hasty.failed()
        deadline = time.monotonic() + 5
        while hasty.state() != "half-open":
            assert time.monotonic() < deadline
            time.sleep(0.005)
    with pytest.raises(OutboundError):  # without a release, its place would be kept for 30 s
        ask(reply(200), headers={"X-Key": "two\nlines"})
    assert ask(reply(200)).status == 200


def test_refuses_to_be_called_inside_a_transaction(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class InTransaction:
        in_atomic_block = True

    monkeypatch.setattr(connections, "all", lambda **_: [InTransaction()])
    with pytest.raises(RuntimeError, match="inside a database transaction"):
        ask(reply(200))
    assert ask.server.requests == []


def test_keeps_no_cookies_and_heeds_no_proxy(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    outbound._client.cache_clear()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    first = ask(reply(200, b"{}", "Set-Cookie: session=secret; Path=/"))
    ask(reply(200))
    assert first.status == 200
    assert b"cookie" not in ask.server.requests[0].lower()


def test_logs_no_secret(ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ask(reply(200, b'"hidden-in-answer"'), headers={"X-Key": "hidden-in-header"}, json="hidden-in-body")
    with pytest.raises(OutboundError):
        ask(reply(500, b'"hidden-in-answer"'), headers={"X-Key": "hidden-in-header"}, json="hidden-in-body")
    outbound_logs = [record for record in caplog.records if record.name == "config.infra.outbound"]
    assert len(outbound_logs) == 2
    assert "hidden" not in caplog.text


def test_a_fork_has_a_client_of_its_own(ask: Any) -> None:
    parent = outbound._client(os.getpid())
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        sender.send((outbound._client(os.getpid()) is parent, ask(reply(200)).status))

    process = context.Process(target=child)
    process.start()
    assert receiver.recv() == (False, 200)
    process.join(10)
