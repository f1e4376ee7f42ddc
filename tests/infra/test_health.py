"""/health counts the breakers that are not closed, by service, and names nobody's connection."""

from __future__ import annotations

import pytest

from config.infra.breaker import Breaker, local, shared
from tests.infra.redis_server import own_redis


@pytest.fixture
def redis(monkeypatch):
    monkeypatch.setattr(shared, "store", shared.SharedStore())
    monkeypatch.setattr(shared, "REDIS_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(local, "breakers", local.LocalBreakers())
    with own_redis() as server:
        yield server


def test_health_counts_what_is_not_closed_and_says_who_knows(client, db, redis):
    assert client.get("/health").json()["breakers"] == {"open": {}, "known_to": "all processes"}
    for service, connection in (("mitto", "secret-1"), ("mitto", "secret-2"), ("storage", "secret-3")):
        for _ in range(5):
            Breaker(service, connection).failed()
    Breaker("email", "secret-4").failed()
    answer = client.get("/health")
    assert answer.json()["breakers"] == {"open": {"mitto": 2, "storage": 1}, "known_to": "all processes"}
    assert "secret" not in answer.content.decode()
    redis.stop()
    assert client.get("/health").json()["breakers"] == {
        "open": {"mitto": 2, "storage": 1},
        "known_to": "this process alone, until Redis is back",
    }
