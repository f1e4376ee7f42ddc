"""kill -9 of anything at any moment, Redis emptied or away, PostgreSQL away: nothing acknowledged is lost, nothing
is twice."""

from __future__ import annotations

import collections
import os
import random
import threading
import time

import pytest

from config.local.deliveries import accepted_messages
from config.local.processes import wait_until
from tests.slow.crash import STOCK_SHOP, Installation, Killer, installation, make_parcels, redis_of

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("CRASH_SEED", "20261121"))


def assert_all_is_done_once(target: Installation, orders: int, deliveries: int) -> None:
    """Every acknowledged delivery was worked on, and no effect is there twice."""
    one = target.one
    assert one("SELECT count(*) FROM shopsync_webhookevent WHERE source = 'shopify'") == deliveries
    left = target.query("SELECT source, topic, status, last_error FROM shopsync_webhookevent WHERE status <> 'done'")
    assert left == []
    assert target.query("SELECT * FROM audit_eventdelivery WHERE status <> 'done'") == []
    assert one("SELECT count(*) FROM orders_order") == orders
    assert one("SELECT count(*) FROM orders_order WHERE paid_at IS NULL") == 0
    assert one("SELECT count(*) FROM orders_orderline") == orders
    assert one("SELECT count(*) FROM inventory_stocklevel WHERE available = 5 AND movement_count = 1") == orders
    of_others = f"SELECT id FROM shopsync_tenant WHERE shop_domain = '{STOCK_SHOP}'"  # it has stock from the beginning
    assert one(f"SELECT count(*) FROM inventory_stockmovement WHERE tenant_id NOT IN ({of_others})") == orders
    for name in ("order.created", "order.paid", "contact.created"):
        assert one(f"SELECT count(*) FROM audit_auditevent WHERE name = '{name}'") == orders, name
    assert one("SELECT count(*) FROM messaging_contact") == orders
    assert one("SELECT count(*) FROM messaging_message") == orders


def assert_nobody_got_two(target: Installation) -> list[str]:
    """The provider saw each message once at the most; returns what it saw."""
    seen = [message["reference"] for message in accepted_messages(target.stack.sandbox_url)]
    twice = [reference for reference, count in collections.Counter(seen).items() if count > 1]
    assert twice == []
    return seen


def message_states(target: Installation) -> dict[str, int]:
    rows = target.query("SELECT coalesce(nullif(outcome, ''), status), count(*) FROM messaging_message GROUP BY 1")
    return dict(rows)


def test_two_thousand_deliveries_survive_kills_everywhere():
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    with installation("kills") as target:
        parcels = make_parcels(400, chance)
        assert len(parcels) == 2000
        killer = Killer(target, random.Random(SEED + 1), strikes=60)
        killer.start()
        began = time.monotonic()
        try:
            target.send_all(parcels, connections=2)
            killer.finish()
        finally:
            killer.stop()
        print(f"acknowledged in {time.monotonic() - began:.1f} s; answers {target.answers}; kills {killer.kills}")
        target.finish()
        assert_all_is_done_once(target, orders=400, deliveries=2000)
        accepted = assert_nobody_got_two(target)
        states = message_states(target)
        print(f"messages {states}; the provider accepted {len(accepted)}")
        # What was accepted is settled by its report, whoever died; what is unknown was perhaps sent, and is shown.
        assert states.get("delivered", 0) == len(accepted)
        assert states.get("delivered", 0) + states.get("unknown", 0) + states.get("skipped", 0) == 400
        repeated = target.one("SELECT sum(duplicates) FROM shopsync_webhookevent WHERE source = 'shopify'")
        print(f"deliveries that came again after they were stored: {repeated}")


def test_redis_emptied_again_and_again_loses_nothing():
    chance = random.Random(SEED)
    with installation("flush") as target:
        stop = threading.Event()

        def flush() -> None:
            while not stop.wait(0.5):
                redis_of(target).flushall()

        flusher = threading.Thread(target=flush)
        flusher.start()
        try:
            target.send_all(make_parcels(100, chance))
        finally:
            stop.set()
            flusher.join()
        target.finish()
        assert target.answers == {"200": 500}
        assert_all_is_done_once(target, orders=100, deliveries=500)
        assert_nobody_got_two(target)


def test_deliveries_are_acknowledged_while_redis_is_away():
    chance = random.Random(SEED)
    with installation("no-redis") as target:
        target.servers.stop_redis()
        stopped = time.monotonic()
        target.send_all(make_parcels(100, chance))
        waits = time.monotonic() - stopped
        assert target.answers == {"200": 500}
        health = target.one("SELECT count(*) FROM shopsync_webhookevent")
        assert health == 500
        wait_until(lambda: time.monotonic() > stopped + 20, 30, "20 s without Redis to pass")
        target.servers.start_redis()
        target.finish()
        print(f"500 deliveries acknowledged without Redis in {waits:.1f} s")
        assert_all_is_done_once(target, orders=100, deliveries=500)
        assert_nobody_got_two(target)


def test_without_postgres_senders_are_asked_to_repeat_and_it_recovers_by_itself():
    chance = random.Random(SEED)
    with installation("no-postgres") as target:
        parcels = make_parcels(60, chance)
        target.send_all(parcels[:100])
        pids = {name: process.pid for name, process in target.stack.processes.items()}
        target.servers.stop_postgres()
        stopped = time.monotonic()
        assert not target.send(parcels[100])
        assert target.answers["503"] == 1
        wait_until(lambda: time.monotonic() > stopped + 5, 10, "5 s without PostgreSQL to pass")
        target.servers.start_postgres()
        target.send_all(parcels[100:])
        target.finish()
        assert {name: process.pid for name, process in target.stack.processes.items()} == pids
        dead = {name: each.log_tail(60) for name, each in target.stack.processes.items() if not each.is_alive()}
        assert dead == {}
        assert_all_is_done_once(target, orders=60, deliveries=300)
        assert_nobody_got_two(target)
