"""The limiter never lets a window pass its limit, and refuses when it cannot know."""

from __future__ import annotations

import multiprocessing
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
from django.test import override_settings

from config.infra.cache import redis_client
from config.infra.ratelimit import EPOCH_KEY, Grant, Level, Refusal, clock_ms, grant, return_recipients, take_recipients
from tests.infra.redis_server import OwnRedis, free_port, own_redis


@pytest.fixture(scope="module")
def redis_server() -> Iterator[OwnRedis]:
    with own_redis() as server:
        yield server


@pytest.fixture
def warm(redis_server: OwnRedis) -> Iterator[str]:
    """A key prefix, on a Redis whose limiter has warmed up."""
    with override_settings(REDIS_URL=redis_server.url):
        first_grant([Level(secrets.token_hex(4), 1)])
        yield secrets.token_hex(8)


def first_grant(levels: list[Level]) -> Grant:
    deadline = time.monotonic() + 10
    while not isinstance(answer := grant(levels), Grant):
        assert time.monotonic() < deadline
        time.sleep(answer.retry_after_seconds)
    return answer


def most_in_a_window(moments_ms: list[int], window_ms: int = 1000) -> int:
    moments = sorted(moments_ms)
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= window_ms:
            first += 1
        most = max(most, last - first + 1)
    return most


def ask_for(levels: list[Level], seconds: float) -> list[int]:
    """Ask as fast as it goes; return when each grant was given, by Redis's clock."""
    given: list[int] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = grant(levels)
        if isinstance(answer, Grant):
            given.append(answer.granted_at_ms)
        else:
            time.sleep(min(answer.retry_after_seconds, 0.05))
    return given


def _ask_in_process(pipe: Connection, levels: list[Level], seconds: float) -> None:
    pipe.send(ask_for(levels, seconds))


def test_eight_processes_never_pass_a_limit_in_any_window_and_get_what_is_allowed(warm: str) -> None:
    seconds = 5.0
    levels = [
        [Level(f"{warm}:account-{n % 2}", 100), Level(f"{warm}:tenant-{n % 4}", 50), Level(f"{warm}:all", 200)]
        for n in range(8)
    ]
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(8)]
    children = [
        context.Process(target=_ask_in_process, args=(pipe[1], mine, seconds))
        for pipe, mine in zip(pipes, levels, strict=True)
    ]
    for child in children:
        child.start()
    results = [pipe[0].recv() for pipe in pipes]
    for child in children:
        child.join(10)
    for place, limit in enumerate((100, 50, 200)):
        given: dict[str, list[int]] = {}
        for mine, moments in zip(levels, results, strict=True):
            given.setdefault(mine[place].key, []).extend(moments)
        assert max(map(most_in_a_window, given.values())) <= limit
    moments = sorted(moment for result in results for moment in result)
    granted = sum(moment - moments[0] < (seconds - 1) * 1000 for moment in moments)  # while all of them asked
    allowed = 200 * (seconds - 1)
    sys.stdout.write(f"{granted} of {allowed:.0f} allowed grants: {granted / allowed:.1%}\n")
    assert granted >= 0.98 * allowed


def test_eight_threads_never_pass_the_limit_in_any_window(warm: str) -> None:
    results: list[list[int]] = []
    levels = [Level(f"{warm}:a", 7)]
    threads = [threading.Thread(target=lambda: results.append(ask_for(levels, 3.0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most_in_a_window([moment for result in results for moment in result]) == 7


def test_a_burst_at_the_end_of_one_second_is_not_followed_by_another(warm: str) -> None:
    levels = [Level(warm, 5)]
    first = [first_grant(levels).granted_at_ms for _ in range(5)]
    refusal = grant(levels)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "rate_limit"
    assert 0 < refusal.retry_after_seconds <= 1.0
    assert first_grant(levels).granted_at_ms - first[0] >= 1000


def test_retry_after_is_when_there_is_room(warm: str) -> None:
    levels = [Level(warm, 1)]
    first_grant(levels)
    refusal = grant(levels)
    assert isinstance(refusal, Refusal)
    time.sleep(refusal.retry_after_seconds)
    assert isinstance(grant(levels), Grant)


def test_nothing_is_taken_when_one_level_is_full(warm: str) -> None:
    wide, narrow = Level(f"{warm}:wide", 3), Level(f"{warm}:narrow", 1)
    assert isinstance(grant([wide, narrow]), Grant)
    assert all(isinstance(grant([wide, narrow]), Refusal) for _ in range(10))
    assert isinstance(grant([wide]), Grant)
    assert isinstance(grant([wide]), Grant)
    assert isinstance(grant([wide]), Refusal)


def test_the_level_that_is_full_is_named(warm: str) -> None:
    wide, narrow = Level(f"{warm}:wide", 3), Level(f"{warm}:narrow", 1)
    assert isinstance(grant([wide, narrow]), Grant)
    refusal = grant([wide, narrow])
    assert isinstance(refusal, Refusal)
    assert refusal.level == f"{warm}:narrow"


def test_recipients_are_taken_in_part_and_never_over_their_limit(warm: str) -> None:
    level = Level(f"{warm}:sender", 100)
    assert take_recipients(level, 70) == 70
    assert take_recipients(level, 70) == 30
    refusal = take_recipients(level, 1)
    assert isinstance(refusal, Refusal)
    time.sleep(refusal.retry_after_seconds)
    assert take_recipients(level, 500) in {70, 100}  # the 30 may have left the window by now


def test_recipients_that_are_given_back_are_taken_anew_and_no_more(warm: str) -> None:
    level = Level(f"{warm}:sender", 100, window_seconds=3)
    while isinstance(given := take_recipients(level, 70), Refusal):  # the limiter has to be known for a window
        time.sleep(given.retry_after_seconds)
    return_recipients(level, 50)
    assert [take_recipients(level, 20), take_recipients(level, 100)] == [20, 60]
    return_recipients(level, 500)  # never below nothing
    assert [take_recipients(level, 500), isinstance(take_recipients(level, 1), Refusal)] == [100, True]


def test_a_grant_goes_stale_after_250_ms(warm: str) -> None:
    before = clock_ms()
    answer = grant([Level(warm, 1)])
    assert isinstance(answer, Grant)
    assert before + 250 <= answer.expires_at_ms <= clock_ms() + 250
    assert answer.is_fresh(answer.expires_at_ms - 1)
    assert not answer.is_fresh(answer.expires_at_ms)


def test_every_key_has_a_ttl(warm: str) -> None:
    assert isinstance(grant([Level(warm, 2), Level(f"{warm}:minute", 9, window_seconds=60)]), Refusal | Grant)
    assert isinstance(grant([Level(warm, 2)]), Grant)
    for key in [EPOCH_KEY, *redis_client().scan_iter(f"limiter:{warm}*")]:
        assert redis_client().pttl(key) > 0


@pytest.mark.parametrize("levels", [[], [Level("same", 1), Level("same", 2)]])
def test_levels_that_mean_nothing_are_refused(levels: list[Level]) -> None:
    with pytest.raises(ValueError, match="at least one level"):
        grant(levels)


@pytest.mark.parametrize(("limit", "window_seconds"), [(0, 1.0), (1, 0.0)])
def test_a_level_without_room_or_time_is_refused(limit: int, window_seconds: float) -> None:
    with pytest.raises(ValueError, match="needs a limit"):
        Level("key", limit, window_seconds)


def assert_waits_out_one_window(levels: list[Level]) -> None:
    refusal = grant(levels)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "limiter_warming_up"
    assert 1.0 < refusal.retry_after_seconds <= 1.01
    started = clock_ms()
    first_grant(levels)
    assert clock_ms() - started >= 1000


def test_flushall_grants_nothing_for_one_window(warm: str) -> None:
    levels = [Level(warm, 3)]
    assert isinstance(grant(levels), Grant)
    redis_client().flushall()
    assert_waits_out_one_window(levels)


def test_a_restart_that_keeps_its_data_grants_nothing_for_one_window(warm: str, redis_server: OwnRedis) -> None:
    levels = [Level(warm, 3)]
    assert isinstance(grant(levels), Grant)
    redis_server.stop()
    answer = grant(levels)
    assert isinstance(answer, Refusal)
    assert answer.reason == "limiter_unavailable"
    redis_server.start()
    assert redis_client().exists(EPOCH_KEY)
    assert_waits_out_one_window(levels)


def test_without_redis_nothing_is_granted() -> None:
    with override_settings(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0"):
        started = time.monotonic()
        answer = grant([Level("any", 1000)])
    assert answer == Refusal("limiter_unavailable", 1.0)
    assert time.monotonic() - started < 0.5
