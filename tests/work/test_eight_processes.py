"""The work mechanism under eight real processes: lanes, losses, poison, and the bell."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.db import connection

from config.infra import tenancy, work
from config.infra.cache import redis_client
from config.local.processes import wait_until
from shopsync.models import WebhookEvent
from tests.factories import database_url, make_inbox_rows, make_tenant
from tests.work.child import SCRATCH

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def children(tmp_path):
    """Start child processes; those still running at the end are killed, by pid."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.work.child", *map(str, arguments)],
            env={**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "config.settings"},
        )
        started.append(child)
        return child

    with connection.cursor() as cursor:
        cursor.execute(SCRATCH)
    yield start
    for child in started:
        child.kill()
        child.wait()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE test_lane_holder, test_lane_clash, test_handled")


def count(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def left() -> int:
    with tenancy.all_tenants(reason="test"):
        return WebhookEvent.objects.filter(status__in=("ready", "leased")).count()


def test_no_lane_ever_has_two_holders_and_nothing_is_lost(children, tmp_path):
    for _ in range(3):
        make_tenant()
    stop = tmp_path / "stop"
    for _ in range(5):
        children("drain", stop)
    adders = [children("add", 300, seed) for seed in (1, 2, 3)]
    for adder in adders:
        assert adder.wait(timeout=120) == 0
    wait_until(lambda: left() == 0, 60, "every row to be handled")
    stop.touch()
    assert count("SELECT count(*) FROM test_lane_clash") == 0
    assert count("SELECT count(*) FROM test_handled") == 900
    assert count("SELECT count(DISTINCT row_id) FROM test_handled") == 900


def test_a_poison_row_kills_its_holders_and_is_buried_while_its_neighbours_are_done(children, tmp_path):
    tenant = make_tenant()
    make_inbox_rows(tenant, *[f"a:{i}" for i in range(40)], "poison", *[f"b:{i}" for i in range(40)])
    stop = tmp_path / "stop"
    crew = [children("drain", stop) for _ in range(8)]

    def shift_work() -> bool:
        """Replace the dead, let leases of the dead run out, sweep: what the master process, the clock and beat do."""
        for index, child in enumerate(crew):
            if child.poll() is not None:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "UPDATE shopsync_webhookevent SET lease_until = now() - interval '1 s' WHERE status = 'leased'"
                        " AND started_at IS NOT NULL AND lane = 'poison' OR status = 'leased' AND started_at IS NULL"
                    )
                    cursor.execute("DELETE FROM test_lane_holder WHERE lane = 'poison'")
                crew[index] = children("drain", stop)
        work.sweep(WebhookEvent)
        return left() == 0

    wait_until(shift_work, 120, "the poison row to be buried and the rest done")
    stop.touch()
    with tenancy.all_tenants(reason="test"):
        assert WebhookEvent.objects.filter(status="done").count() == 80
        poison = WebhookEvent.objects.get(lane="poison")
    assert (poison.status, poison.attempts) == ("buried", WebhookEvent.queue.max_attempts)


def test_the_bell_alone_wakes_the_workers_for_every_row(children, tmp_path):
    for _ in range(3):
        make_tenant()
    redis_client().delete(WebhookEvent.queue.celery_queue, "bell:webhooks")
    stop = tmp_path / "stop"
    for _ in range(4):
        children("listen", stop)
    adders = [children("add_and_ring", 400, seed) for seed in (1, 2, 3, 4)]
    for adder in adders:
        assert adder.wait(timeout=120) == 0
    wait_until(lambda: left() == 0, 30, "the bell, with no sweep, to bring every row to a drain")
    stop.touch()
