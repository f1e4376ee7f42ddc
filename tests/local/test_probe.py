"""The container's health check: what it asks, and what it says when the answer is bad."""

from __future__ import annotations

import time
import uuid

import pytest
from pytest_httpserver import HTTPServer

from config import probe
from config.infra.cache import redis_client
from config.infra.heartbeat import HEARTBEATS


@pytest.mark.parametrize(
    ("hosts", "asked"), [("a.example,b.example", "a.example"), (".example", "example"), ("*", "localhost")]
)
def test_the_web_process_is_asked_under_a_name_that_it_answers_to(monkeypatch, httpserver: HTTPServer, hosts, asked):
    monkeypatch.setenv("ALLOWED_HOSTS", hosts)
    httpserver.expect_request("/ready", headers={"Host": asked}).respond_with_json({})
    assert probe.web_problem(httpserver.port) == ""


def test_a_web_process_that_is_not_ready_is_a_problem(httpserver: HTTPServer):
    httpserver.expect_request("/ready").respond_with_json({"reason": "migrations are missing"}, status=503)
    assert "503" in probe.web_problem(httpserver.port)
    assert "migrations are missing" in probe.web_problem(httpserver.port)
    assert "no answer" in probe.web_problem(1)


def test_a_worker_is_well_while_its_heart_beats():
    name = f"celery@{uuid.uuid4().hex}"
    try:
        assert "never heard of" in probe.worker_problem(name)
        redis_client().zadd(HEARTBEATS, {name: time.time()})
        assert probe.worker_problem(name) == ""
        redis_client().zadd(HEARTBEATS, {name: time.time() - 300})
        assert "300 s ago" in probe.worker_problem(name)
    finally:
        redis_client().zrem(HEARTBEATS, name)


def test_a_redis_that_is_away_says_nothing_about_the_worker(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert probe.worker_problem("celery@anybody") == ""
