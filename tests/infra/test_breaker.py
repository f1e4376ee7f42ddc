"""The breaker opens, probes and closes, over processes and without Redis."""

from __future__ import annotations

import logging
import multiprocessing
import secrets
import time
from collections.abc import Callable, Iterator

import pytest
from django.test import override_settings

from config.infra import breaker as breaker_module
from config.infra.breaker import Breaker, BreakerOpen
from config.infra.cache import redis_client
from tests.infra.redis_server import free_port, own_redis, some_redis

MakeBreaker = Callable[..., Breaker]


@pytest.fixture(params=["shared", "local"])
def make_breaker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBreaker]:
    """Breakers of one name, with their state in Redis or (Redis being away) in this process."""
    monkeypatch.setattr(breaker_module, "_shared", breaker_module._SharedStore())
    name = secrets.token_hex(8)

    def make(**options: float) -> Breaker:
        return Breaker("test", name, **options)  # type: ignore[arg-type]

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
    assert 29 < refused.value.retry_after_seconds <= 30


def test_a_success_between_failures_starts_the_count_again(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker()
    fail(breaker, 4)
    breaker.succeeded()
    fail(breaker, 4)
    assert breaker.state() == "closed"


def test_half_open_passes_one_probe_whose_success_closes(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(failure_threshold=1, open_seconds=0.2)
    fail(breaker, 1)
    wait_for(lambda: breaker.state() == "half-open")
    breaker.before_call()
    with pytest.raises(BreakerOpen):
        make_breaker(failure_threshold=1, open_seconds=0.2).before_call()
    breaker.succeeded()
    assert breaker.state() == "closed"
    breaker.before_call()


def test_a_failed_probe_opens_again_at_once(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(failure_threshold=3, open_seconds=0.2)
    fail(breaker, 3)
    wait_for(lambda: breaker.state() == "half-open")
    fail(breaker, 1)
    assert breaker.state() == "open"


def test_a_lost_prober_blocks_only_for_a_while(make_breaker: MakeBreaker) -> None:
    breaker = make_breaker(failure_threshold=1, open_seconds=0.2)
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


def test_says_once_that_redis_is_away_and_once_that_it_is_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = breaker_module._SharedStore()
    monkeypatch.setattr(breaker_module, "_shared", store)
    monkeypatch.setattr(breaker_module, "REDIS_PAUSE_SECONDS", 0.0)
    with own_redis() as server, caplog.at_level(logging.WARNING, "config.infra.breaker"):
        breaker = Breaker("test", secrets.token_hex(8))
        breaker.before_call()
        server.stop()
        fail(breaker, 5)
        assert breaker.state() == "open"
        server.start()
        assert breaker.state() == "closed"
    assert [record.getMessage().partition("(")[0].strip() for record in caplog.records] == [
        "breakers: Redis is away",
        "breakers: Redis is back; their state is shared again",
    ]
