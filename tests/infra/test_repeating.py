"""What is safe to repeat is repeated within its bounds; everything else is asked for exactly once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from config.infra import outbound
from config.infra.breaker import Breaker
from config.infra.outbound import OutboundError, Response
from config.infra.services import SERVICES, InARow, Repeats, Service
from tests.infra.redis_server import free_port, some_redis
from tests.infra.test_outbound import Answer, RawServer, reply

QUICK = Repeats(attempts=3, first_wait_seconds=0.02, longest_wait_seconds=1.0, total_seconds=5.0)
SERVICE = Service(name="test", opens_after=InARow(5), meanwhile="Tests go on.", repeats=QUICK)
KEY = {"Idempotency-Key": "k-1"}

Ask = Callable[..., Response]


@pytest.fixture(scope="module", autouse=True)
def _redis() -> Iterator[None]:
    with some_redis():
        yield


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declare the service of the tests, with other bounds or another rule."""

    def change(rule: InARow = SERVICE.opens_after, **bounds: float) -> None:  # type: ignore[assignment]
        service = replace(SERVICE, opens_after=rule, repeats=replace(QUICK, **bounds))
        monkeypatch.setitem(SERVICES, "test", service)

    change()
    return change


class Script:
    """A server that gives one answer after another, the last one for ever."""

    def __init__(self, *answers: bytes | Answer) -> None:
        self._answers = list(answers)
        self.times: list[float] = []
        self.server = RawServer(self._next)

    def _next(self, connection: Any) -> None:
        self.times.append(time.monotonic())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        answer(connection) if callable(answer) else connection.sendall(answer)


@pytest.fixture
def breaker(declare: Callable[..., None]) -> Breaker:
    return Breaker("test", secrets.token_hex(8))


@pytest.fixture
def scripted(breaker: Breaker) -> Iterator[Callable[..., Script]]:
    """Make a server, and `ask` it."""
    made: list[Script] = []

    def make(*answers: bytes | Answer) -> Script:
        made.append(Script(*answers))
        return made[-1]

    yield make
    for script in made:
        script.server.close()


@pytest.fixture
def ask(breaker: Breaker) -> Callable[..., Response]:
    def call(script: Script, **options: Any) -> Response:
        options = {"method": "GET", "url": script.server.url, "timeout_seconds": 2.0, "repeatable": True, **options}
        return outbound.call(service="test", connection=breaker.connection, **options)

    return call


def error_of(ask: Ask, script: Script, **options: Any) -> OutboundError:
    with pytest.raises(OutboundError) as caught:
        ask(script, **options)
    return caught.value


@pytest.mark.parametrize("first", [reply(500), reply(503), reply(408), reply(429), b""])
@pytest.mark.parametrize("options", [{}, {"method": "POST", "headers": KEY, "json": {"amount": 1}}])
def test_a_passing_error_is_tried_again(scripted: Any, ask: Ask, first: bytes, options: dict[str, Any]) -> None:
    script = scripted(first, reply(200, b'"done"'))
    assert ask(script, **options).json() == "done"
    requests = script.server.requests
    assert len(requests) == 2
    assert requests[0] == requests[1]  # the key too


@pytest.mark.parametrize("options", [{"repeatable": False}, {"method": "POST", "headers": KEY, "repeatable": False}])
def test_what_nobody_calls_repeatable_is_asked_once(scripted: Any, ask: Ask, options: dict[str, Any]) -> None:
    script = scripted(reply(503))
    assert error_of(ask, script, **options).unknown
    assert len(script.times) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 409, 301])
def test_a_refusal_is_not_tried_again(scripted: Any, ask: Ask, status: int) -> None:
    script = scripted(reply(status))
    assert error_of(ask, script).permanent
    assert len(script.times) == 1


def test_gives_up_after_its_attempts_with_the_last_error(scripted: Any, ask: Ask) -> None:
    script = scripted(reply(500), reply(502), reply(504))
    assert error_of(ask, script).status == 504
    assert len(script.times) == 3


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": ""}, {"X-Key": "k"}])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_repeating_needs_a_key(scripted: Any, ask: Ask, method: str, headers: dict[str, str]) -> None:
    script = scripted(reply(200))
    with pytest.raises(ValueError, match="repeatable only with an Idempotency-Key"):
        ask(script, method=method, headers=headers)
    assert script.times == []


@pytest.mark.parametrize(("method", "headers"), [("get", {}), ("HEAD", {}), ("POST", {"idempotency-key": "k"})])
def test_case_changes_nothing(scripted: Any, ask: Ask, method: str, headers: dict[str, str]) -> None:
    script = scripted(reply(503, b""), reply(200, b""))
    assert ask(script, method=method, headers=headers).status == 200


@pytest.mark.parametrize("status", [429, 503])
def test_waits_as_long_as_it_is_asked_to(scripted: Any, ask: Ask, status: int) -> None:
    script = scripted(reply(status, b"", "Retry-After: 0.4"), reply(200))
    ask(script)
    assert 0.4 <= script.times[1] - script.times[0] < 5


def test_a_wait_beyond_the_bound_is_left_to_the_caller(scripted: Any, ask: Ask) -> None:
    script = scripted(reply(429, b"", "Retry-After: 2"), reply(200))
    error = error_of(ask, script)
    assert (error.status, error.retry_after_seconds, error.unknown) == (429, 2.0, False)
    assert len(script.times) == 1


def test_the_waits_are_random_and_grow_within_their_bound(scripted: Any, ask: Ask, declare: Any) -> None:
    declare(InARow(1000), attempts=8, longest_wait_seconds=0.08)
    script = scripted(reply(500))
    error_of(ask, script)
    waits = [after - before for before, after in zip(script.times, script.times[1:], strict=False)]
    assert len(waits) == 7
    assert len({round(wait, 4) for wait in waits}) > 3
    assert min(waits) < 0.08


def test_no_attempt_begins_after_the_deadline(scripted: Any, ask: Ask, declare: Any) -> None:
    declare(InARow(1000), attempts=1000, longest_wait_seconds=0.05, total_seconds=0.5)
    script = scripted(reply(500))
    started = time.monotonic()
    error_of(ask, script)
    assert time.monotonic() - started < 5  # a thousand attempts take far longer
    assert len(script.times) > 3


def test_a_slow_attempt_is_cut_off_at_the_deadline(scripted: Any, ask: Ask, declare: Any) -> None:
    declare(attempts=3, total_seconds=0.6)
    script = scripted(reply(500), lambda connection: connection.recv(1))
    started = time.monotonic()
    assert error_of(ask, script, timeout_seconds=30.0).unknown
    assert 0.5 < time.monotonic() - started < 5
    assert len(script.times) == 2


def test_each_attempt_counts_and_an_open_breaker_ends_it(
    scripted: Any, ask: Ask, breaker: Breaker, declare: Any
) -> None:
    declare(InARow(2), attempts=10)
    script = scripted(reply(500))
    error = error_of(ask, script)
    assert (error.blocker, error.unknown, error.permanent) == ("breaker open: test", False, False)
    assert breaker.state() == "open"
    assert len(script.times) == 2


def test_a_deed_that_may_be_done_stays_unknown_when_the_breaker_opens(scripted: Any, ask: Ask, declare: Any) -> None:
    declare(InARow(2), attempts=10)
    error = error_of(ask, scripted(reply(500)), method="POST", headers=KEY)
    assert (error.blocker, error.unknown, error.permanent) == ("breaker open: test", True, False)


@pytest.mark.parametrize("second", [reply(429, b"", "Retry-After: 3"), reply(409), reply(401)])
def test_a_deed_that_may_be_done_stays_unknown_whatever_is_said_later(scripted: Any, ask: Ask, second: bytes) -> None:
    error = error_of(ask, scripted(b"", second), method="POST", headers=KEY)
    assert (error.unknown, error.permanent) == (True, False)


def test_what_was_only_read_is_refused_as_the_last_answer_says(scripted: Any, ask: Ask) -> None:
    error = error_of(ask, scripted(reply(503), reply(404)))
    assert (error.unknown, error.permanent, error.status) == (False, True, 404)


def test_a_closed_port_is_tried_again_and_stays_surely_not_sent(breaker: Breaker) -> None:
    with pytest.raises(OutboundError) as caught:
        url = f"http://127.0.0.1:{free_port()}/"
        outbound.call(
            service="test", connection=breaker.connection, method="POST", url=url, headers=KEY, repeatable=True
        )
    assert (caught.value.permanent, caught.value.unknown) == (False, False)
    breaker.failed()
    assert breaker.state() == "closed"  # three attempts and this one
    breaker.failed()
    assert breaker.state() == "open"
