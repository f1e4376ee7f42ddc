"""The breaker opens, probes and closes, over processes and without Redis."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import secrets
import time
from collections.abc import Callable, Iterator

import pytest
from django.test import override_settings

from config.infra.breaker import (
    Breaker,
    BreakerOpen,
    Snapshot,
    forget_opening,
    list_breakers,
    local,
    read_openings,
    scripts,
    shared,
)
from config.infra.cache import redis_client
from config.infra.services import SERVICES, InARow, Service, ShareOf, UndeclaredServiceError
from tests.infra.redis_server import free_port, own_redis, some_redis

MakeBreaker = Callable[..., Breaker]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without what this process remembers of Redis, and declare two services for tests."""
    monkeypatch.setattr(shared, "store", shared.SharedStore())
    monkeypatch.setattr(local, "breakers", local.LocalBreakers())
    for name in ("test", "other"):
        monkeypatch.setitem(SERVICES, name, Service(name=name, opens_after=InARow(5), meanwhile="Tests go on."))


@pytest.fixture(params=["shared", "local"])
def make_breaker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBreaker]:
    """Breakers of one name, with their state in Redis or (Redis being away) in this process."""
    name = secrets.token_hex(8)

    def make(failures: int = 5, *, share: ShareOf | None = None, open_seconds: float = 30.0) -> Breaker:
        rule = share or InARow(failures)
        declared = Service(name="test", opens_after=rule, meanwhile="Tests go on.", open_seconds=open_seconds)
        monkeypatch.setitem(SERVICES, "test", declared)
        return Breaker("test", name)

    if request.param == "shared":
        with some_redis():
            yield make
    else:
        with override_settings(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0"):
            yield make


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.before_call()
        breaker.failed()


def test_opens_after_five_failures_in_a_row(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker()
    fail(breaker, 4)
    assert breaker.state() == "closed"
    fail(breaker, 1)
    assert breaker.state() == "open"
    with pytest.raises(BreakerOpen) as refused:
        breaker.before_call()
    assert refused.value.blocker == "breaker open: test"
    assert 29 < refused.value.retry_after_seconds <= 30


def test_a_success_between_failures_starts_the_count_again(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker()
    fail(breaker, 4)
    breaker.succeeded()
    fail(breaker, 4)
    assert breaker.state() == "closed"


def test_half_open_passes_one_probe_whose_success_closes(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(1, open_seconds=0.2)
    fail(breaker, 1)
    wait_for(lambda: breaker.state() == "half-open")
    breaker.before_call()
    with pytest.raises(BreakerOpen):
        make_breaker(1, open_seconds=0.2).before_call()
    breaker.succeeded()
    assert breaker.state() == "closed"
    breaker.before_call()


def test_a_failed_probe_opens_again_at_once(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(3, open_seconds=0.2)
    fail(breaker, 3)
    wait_for(lambda: breaker.state() == "half-open")
    fail(breaker, 1)
    assert breaker.state() == "open"


def test_a_lost_prober_blocks_only_for_a_while(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(1, open_seconds=0.2)
    fail(breaker, 1)
    wait_for(lambda: breaker.state() == "half-open")
    breaker.before_call()  # and is never heard of again

    def next_probe() -> bool:
        try:
            breaker.before_call()
        except BreakerOpen:
            return False
        return True

    assert not next_probe()
    wait_for(next_probe)


def test_a_probe_that_was_never_sent_leaves_its_place_to_the_next(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(1, open_seconds=0.2)
    fail(breaker, 1)
    breaker.released()
    assert breaker.state() == "open"
    wait_for(lambda: breaker.state() == "half-open")
    breaker.before_call()
    breaker.released()
    breaker.before_call()
    with pytest.raises(BreakerOpen):
        breaker.before_call()


def test_a_late_success_does_not_close_an_open_breaker(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker()
    fail(breaker, 5)
    breaker.succeeded()
    assert breaker.state() == "open"


def test_reset_closes(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker()
    fail(breaker, 5)
    breaker.reset()
    breaker.before_call()
    assert breaker.state() == "closed"


def test_processes_share_one_breaker() -> None:
    with some_redis():
        name = secrets.token_hex(8)
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=fail, args=(Breaker("test", name), 1)) for _ in range(5)]
        for child in children:
            child.start()
        for child in children:
            child.join(10)
        assert Breaker("test", name).state() == "open"
        assert 0 < redis_client().pttl(f"breaker:test:{name}") <= 3_630_000


def test_services_and_connections_are_apart() -> None:
    with some_redis():
        name = secrets.token_hex(8)
        fail(Breaker("test", name), 5)
        assert Breaker("other", name).state() == "closed"
        assert Breaker("test", name + "x").state() == "closed"


def outcomes(breaker: Breaker, text: str) -> None:
    """Make calls that fail (1) or are answered (0), in this order."""
    for one in text:
        breaker.before_call()
        breaker.failed() if one == "1" else breaker.succeeded()


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ("1111", "closed"),
        ("11111", "open"),
        ("100" * 5, "closed"),  # ten in a row never hold five failures
        ("101010101", "open"),
        ("0000000000000011111", "open"),
        ("11110000001", "closed"),  # the first failure has left the window
        ("1111000001", "open"),
        ("1111" + "0" * 10 + "1111", "closed"),
    ],
)
def test_a_share_counts_failures_among_the_last_calls(make_breaker: MakeBreaker, calls: str, state: str) -> None:
    breaker = make_breaker(share=ShareOf(0.5, 10))
    with contextlib.suppress(BreakerOpen):
        outcomes(breaker, calls)
    assert breaker.state() == state


def test_a_share_begins_anew_after_a_good_probe(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(share=ShareOf(0.3, 10), open_seconds=0.2)
    outcomes(breaker, "10101")
    assert breaker.state() == "open"
    wait_for(lambda: breaker.state() == "half-open")
    outcomes(breaker, "011")
    assert breaker.state() == "closed"


def test_a_breaker_without_trouble_costs_no_memory(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(share=ShareOf(0.5, 4))
    outcomes(breaker, "0001")
    assert [one.failures for one in list_breakers().breakers if one.connection == breaker.connection] == [1]
    outcomes(breaker, "0000")
    assert breaker.connection not in {one.connection for one in list_breakers().breakers}


def test_lists_each_breaker_in_trouble(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(2, open_seconds=0.3)

    def listed() -> list[Snapshot]:
        return [one for one in list_breakers().breakers if one.connection == breaker.connection]

    assert listed() == []
    fail(breaker, 1)
    assert listed() == [Snapshot("test", breaker.connection, "closed", 1, 0.0)]
    fail(breaker, 1)
    (found,) = listed()
    assert (found.state, found.failures) == ("open", 2)
    assert 0 < found.probe_in_seconds <= 0.3
    wait_for(lambda: breaker.state() == "half-open")
    (found,) = listed()
    assert (found.state, found.probe_in_seconds) == ("half-open", 0)
    assert list_breakers().count_open()["test"] >= 1  # others of the suite share this Redis
    breaker.reset()
    assert listed() == []


def test_an_undeclared_service_is_refused() -> None:
    with pytest.raises(UndeclaredServiceError, match=r"no service 'nobody' is declared .* payments"):
        Breaker("nobody", "1")


def test_a_breaker_is_of_a_connection() -> None:
    with pytest.raises(ValueError, match="needs the connection"):
        Breaker("test", "")
    with pytest.raises(ValueError, match="shopify needs tenant:ID, not '7'"):
        Breaker("shopify", "7")  # a tenant's id alone would be read as a connection's, maybe another tenant's


def of(breaker: Breaker) -> list[str]:
    return [opening.connection for opening in read_openings() if opening.connection == breaker.connection]


def test_notes_each_opening_once_until_it_is_forgotten(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_redis(), caplog.at_level(logging.INFO, "config.infra.breaker"):
        declared = Service(name="test", opens_after=InARow(2), meanwhile="Tests go on.", open_seconds=0.2)
        monkeypatch.setitem(SERVICES, "test", declared)
        breaker = Breaker("test", "tenant:5")
        fail(breaker, 2)
        breaker.failed()  # late, and ignored
        for _ in range(2):
            wait_for(lambda: breaker.state() == "half-open")
            fail(breaker, 1)
        assert of(breaker) == ["tenant:5"]
        forget_opening(read_openings()[0])
        assert of(breaker) == []
        wait_for(lambda: breaker.state() == "half-open")
        outcomes(breaker, "011")
        assert of(breaker) == ["tenant:5"]
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    opened = ("WARNING", "breaker: test (tenant:5) opened for 0 s (2 failures in a row)")
    again = ("INFO", "breaker: the probe of test (tenant:5) failed; open for 0 s more")
    assert said == [opened, again, again, ("WARNING", "breaker: test (tenant:5) answers again and is closed"), opened]


def test_openings_are_kept_up_to_a_bound() -> None:
    with own_redis():
        redis_client().rpush(scripts.OPENINGS_KEY, *(f"{n}|breaker:test:{n}" for n in range(scripts.KEPT_OPENINGS)))
        fail(Breaker("test", "last"), 5)
        assert redis_client().llen(scripts.OPENINGS_KEY) == scripts.KEPT_OPENINGS
        assert read_openings()[0].connection == "1"


def test_an_open_breaker_stays_open_when_redis_goes_and_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "REDIS_PAUSE_SECONDS", 0.0)
    with own_redis() as server:
        breaker, other = Breaker("test", "a"), Breaker("test", "b")
        fail(breaker, 5)
        assert list_breakers().is_shared
        server.stop()
        assert breaker.state() == "open"
        fail(other, 5)
        listing = list_breakers()
        assert not listing.is_shared
        assert {one.connection: one.state for one in listing.breakers} == {"a": "open", "b": "open"}
        assert listing.count_open() == {"test": 2}
        assert not other.reset()
        fail(other, 4)
        server.start()
        assert [(one.connection, one.state) for one in list_breakers().breakers] == [("a", "open")]
        assert other.reset()
        assert local.breakers.list() == []


def test_says_once_that_redis_is_away_and_once_that_it_is_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "REDIS_PAUSE_SECONDS", 0.0)
    with own_redis() as server, caplog.at_level(logging.WARNING, "config.infra.breaker"):
        breaker = Breaker("test", secrets.token_hex(8))
        breaker.before_call()
        server.stop()
        fail(breaker, 5)
        assert breaker.state() == "open"
        server.start()
        assert breaker.state() == "closed"
    said = [record.getMessage() for record in caplog.records if record.name == shared.__name__]
    assert [message.partition("(")[0].strip() for message in said] == [
        "breakers: Redis is away",
        "breakers: Redis is back; their state is shared again",
    ]
