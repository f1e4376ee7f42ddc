"""What each of the eight processes does: `python -m tests.work.child MODE ...`.

drain  claim and handle inbox rows until told to stop; each handling holds its lane in a table that takes one holder
only add    insert rows in transactions that commit late and out of order, and ring
listen wait for Celery messages as a worker does, and drain on each
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import django

django.setup()

from django.db import IntegrityError, connection, transaction

from config.infra import tenancy, work
from config.infra.cache import redis_client
from shopsync.models import Tenant, WebhookEvent
from tests.factories import make_inbox_rows

SCRATCH = """
CREATE TABLE IF NOT EXISTS test_lane_holder (tenant_id bigint, lane text, pid int, PRIMARY KEY (tenant_id, lane));
CREATE TABLE IF NOT EXISTS test_lane_clash (tenant_id bigint, lane text);
CREATE TABLE IF NOT EXISTS test_handled (row_id bigint, pid int);
"""


def execute(sql: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


LET_GO = "DELETE FROM test_lane_holder WHERE (tenant_id, lane, pid) = (%s, %s, %s)"


def handle(row: WebhookEvent) -> None:
    """Handle a row and let go of its lane, both in the transaction that completes it: only then may another take it."""
    if row.lane == "poison":
        os.kill(os.getpid(), 9)
    execute("INSERT INTO test_handled VALUES (%s, %s)", row.pk, os.getpid())
    execute(LET_GO, row.tenant_id, row.lane, os.getpid())


def handle_batch(rows: list[WebhookEvent]) -> None:
    """Hold each row's lane, for all to see, from before its handling until its commit; note who finds it taken."""
    for row in rows:
        try:
            execute("INSERT INTO test_lane_holder VALUES (%s, %s, %s)", row.tenant_id, row.lane, os.getpid())
        except IntegrityError:
            execute("INSERT INTO test_lane_clash VALUES (%s, %s)", row.tenant_id, row.lane)
        time.sleep(random.random() * 0.002)  # the handler's own work
        work.run_each([row], handle)
        execute(LET_GO, row.tenant_id, row.lane, os.getpid())


def drain(stop: Path) -> None:
    while not stop.exists():
        if not work.drain(WebhookEvent, handle_batch, budget_seconds=1):
            time.sleep(0.005)  # nothing due: look again, as a woken drain would


def add(count: int, seed: int) -> None:
    chance = random.Random(seed)
    with tenancy.all_tenants(reason="test"):
        tenants = list(Tenant.objects.all())
    for _ in range(count):
        with transaction.atomic():
            make_inbox_rows(chance.choice(tenants), f"order:{chance.randrange(12)}")
            time.sleep(chance.random() * 0.01)  # late commits are the race that this looks for


def add_and_ring(count: int, seed: int) -> None:
    from config.infra.work.claims import ring_after_commit

    chance = random.Random(seed)
    with tenancy.all_tenants(reason="test"):
        tenants = list(Tenant.objects.all())
    for _ in range(count):
        with transaction.atomic():
            make_inbox_rows(chance.choice(tenants), f"order:{chance.randrange(1000)}")
            ring_after_commit(WebhookEvent)


def listen(stop: Path) -> None:
    """Take Celery's messages off the queue, as a worker does, and drain on each; no sweep helps."""
    client = redis_client()
    while not stop.exists():
        if client.blpop([WebhookEvent.queue.celery_queue], timeout=1):
            work.drain(WebhookEvent, lambda rows: work.run_each(rows, lambda row: None))


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    if mode in {"drain", "listen"}:
        {"drain": drain, "listen": listen}[mode](Path(arguments[0]))
    else:
        {"add": add, "add_and_ring": add_and_ring}[mode](int(arguments[0]), int(arguments[1]))
