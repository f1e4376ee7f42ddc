"""A whole installation on servers of its own, a Shopify that repeats what was not acknowledged, and somebody who
kills."""

from __future__ import annotations

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis
from django.conf import settings

from config.embedded import EmbeddedServers
from config.local import samples
from config.local.deliveries import Shop, accepted_messages
from config.local.processes import wait_until
from config.local.stack import WORKER_PROCESSES, LocalStack
from tests.services import services_root

TABLES = (
    "shopsync_webhookevent",
    "shopsync_digest",
    "audit_eventdelivery",
    "messaging_message",
    "orders_paymentcall",
    "orders_shipmentcall",
    "messaging_contactimport",
)
SHOPS = ("crash-one.myshopify.com", "crash-two.myshopify.com")
# One more shop, whose stock we count: one variant, and a key of the API.
STOCK_SHOP, STOCK_KEY, STOCK_UNITS = "crash-stock.myshopify.com", "a-key-of-the-crash-proofs", 12
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Parcel:
    """One delivery, as Shopify keeps it until somebody acknowledges it."""

    shop: str
    topic: str
    body: dict[str, Any]
    webhook_id: str
    attempts: int = 0


@dataclass
class Installation:
    """The processes, their servers, and read access to the database."""

    stack: LocalStack
    servers: EmbeddedServers
    failpoints: Path
    database_url: str
    redis_url: str
    environment: dict[str, str]
    answers: dict[str, int] = field(default_factory=dict)

    def run(self, *argv: str) -> str:
        """Run a Python module of ours in a process of its own; return what it printed.

        Raises: CalledProcessError, with what it printed.
        """
        child = [sys.executable, "-m", *argv]
        return subprocess.run(
            child,
            env=self.environment,
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ).stdout

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(sql)

    def one(self, sql: str) -> Any:
        return self.query(sql)[0][0]

    def send(self, parcel: Parcel) -> bool:
        """Deliver once; says whether it was acknowledged. A broken connection is no acknowledgement."""
        parcel.attempts += 1
        shop = Shop(self.stack.base_url, settings.SHOPIFY_API_SECRET, parcel.shop)
        try:
            status = shop.post(
                parcel.topic, parcel.body, webhook_id=parcel.webhook_id, event_id=parcel.webhook_id
            ).status
        except (OSError, http.client.HTTPException):
            status = 0
        self.answers[str(status)] = self.answers.get(str(status), 0) + 1
        assert status in {0, 200, 503}, f"{status} is no answer for Shopify"
        return status == 200

    def send_all(self, parcels: list[Parcel], *, connections: int = 8) -> None:
        """Deliver everything, repeating what was not acknowledged until it is, as Shopify does (only faster)."""

        def until_acknowledged(parcel: Parcel) -> None:
            deadline = time.monotonic() + 180
            while not self.send(parcel):
                assert time.monotonic() < deadline, f"{parcel.topic} was not acknowledged for 180 s"
                time.sleep(0.1)  # Shopify's back-off, shortened

        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(until_acknowledged, parcels))

    def hasten(self) -> None:
        """Let leases of the dead run out and waits pass now: move times, as the clock would."""
        for table in TABLES:
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                for change, rows in (
                    ("lease_until = now()", "status = 'leased'"),
                    ("due_at = now()", "status = 'ready' AND due_at > now()"),
                ):
                    free = f"SELECT id FROM {table} WHERE {rows} ORDER BY id FOR UPDATE SKIP LOCKED"
                    connection.execute(f"UPDATE {table} SET {change} WHERE id IN ({free})")

    def open_work(self) -> int:
        tables = TABLES
        counts = (f"(SELECT count(*) FROM {t} WHERE status IN ('ready', 'leased'))" for t in tables)
        return int(self.one("SELECT " + " + ".join(counts)))

    def all_reports_are_in(self) -> bool:
        """Has the sandbox's last report come in? It tells of each message twice, some time after it."""
        return bool(
            self.one("SELECT count(*) FROM messaging_deliveryreport")
            == 2 * len(accepted_messages(self.stack.sandbox_url))
        )

    def finish(self, timeout: float = 120) -> None:
        """Return once nothing is left to do; leases of processes that no longer live are hastened every few seconds."""
        hastened = time.monotonic() + 8

        def done() -> bool:
            nonlocal hastened
            if time.monotonic() > hastened:
                self.hasten()
                hastened = time.monotonic() + 8
            return self.open_work() == 0 and self.all_reports_are_in() and self.open_work() == 0

        wait_until(done, timeout, "all work to be done")


@contextmanager
def installation(name: str, *, worker_processes: int = WORKER_PROCESSES) -> Iterator[Installation]:
    """Start servers and processes for one proof, and end them with it."""
    folder = services_root() / name
    servers = EmbeddedServers(folder / "servers", throwaway=True, durable=True)
    urls = servers.start(use_environment=False)
    failpoints = folder / "failpoints"
    failpoints.mkdir(parents=True)
    environment = {
        **os.environ,
        "DATABASE_URL": urls.database_url,
        "REDIS_URL": urls.redis_url,
        "SHOPSYNC_ENV": "test",
        "SHOPSYNC_FAILPOINTS": str(failpoints),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    stack = LocalStack(folder, environment, worker_processes=worker_processes)
    try:
        stack.start("sandbox")
        child = [sys.executable, "-m", "tests.slow.child", stack.base_url, stack.sandbox_url]
        subprocess.run(child, env=environment, cwd=ROOT, check=True)
        stack.start("web", "worker", "beat")
        stack.wait_for_web()
        yield Installation(stack, servers, failpoints, urls.database_url, urls.redis_url, environment)
    finally:
        stack.stop(grace_seconds=5)
        servers.remove()


def make_parcels(orders: int, chance: random.Random) -> list[Parcel]:
    """Make five deliveries an order: customer, consent, level, order created, order paid; in an order of chance."""
    parcels = []
    for number in range(orders):
        shop = SHOPS[number % 2]
        customer = samples.new_customer("Zoé", f"N{number}")
        item = samples.Item("Mug", f"M{number}", "10.00")
        purchase = samples.new_purchase(f"#{number}", customer, (item, 1))
        bodies = [
            ("customers/create", samples.customer_body(customer)),
            ("customers_marketing_consent/update", samples.sms_consent_body(customer)),
            ("inventory_levels/update", samples.level_body(item, 5)),
            ("orders/create", samples.order_body(purchase, financial_status="pending")),
            ("orders/paid", samples.order_body(purchase, financial_status="paid")),
        ]
        parcels += [Parcel(shop, topic, body, f"w-{number}-{topic}") for topic, body in bodies]
    chance.shuffle(parcels)
    return parcels


FAILPOINTS = ("inbox.stored", "work.claimed", "work.started", "work.handled", "work.completed", "messages.called")


class Killer(threading.Thread):
    """Kills at named fail-points in turn and at seeded random moments, and lets the dead be replaced."""

    def __init__(self, target: Installation, chance: random.Random, *, strikes: int) -> None:
        super().__init__(daemon=True)
        self.strikes = strikes
        self.target = target
        self.chance = chance
        self.done = threading.Event()
        self.kills: dict[str, int] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        number = 0
        try:
            while number < self.strikes and not self.done.wait(self.chance.uniform(0.05, 0.4)):
                number += 1
                self._strike(number)
        except BaseException as failure:  # the test's thread raises it again in stop()
            self.failure = failure

    def _strike(self, number: int) -> None:
        stack = self.target.stack
        if number % 2:
            name = FAILPOINTS[(number // 2) % len(FAILPOINTS)]
            (self.target.failpoints / name).touch()
            self._count(f"armed {name}")
        elif number % 12 == 0:
            stack.kill("web")
            stack.start("web")
            stack.wait_for_web()
            self._count("web, all of it")
        elif number % 12 == 6:
            stack.kill("worker")
            stack.start("worker")
            self._count("worker, all of it")
        else:
            role = self.chance.choice(("web", "worker"))
            if children := children_of(stack.processes[role].pid):
                with suppress(ProcessLookupError):
                    os.kill(self.chance.choice(children), signal.SIGKILL)
                    self._count(f"a child of {role}")

    def _count(self, what: str) -> None:
        self.kills[what] = self.kills.get(what, 0) + 1

    def finish(self) -> None:
        """Wait for the last strike; meanwhile leases of the dead run out, as if the kills took an hour."""
        while self.is_alive():
            self.target.hasten()
            self.join(3)
        self.stop()

    def stop(self) -> None:
        """Strike no more, and disarm what nobody came by."""
        self.done.set()
        self.join(60)
        for armed in self.target.failpoints.iterdir():
            armed.unlink(missing_ok=True)
        if self.failure is not None:
            raise self.failure


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(status.parent.name))
    return sorted(found)


def redis_of(target: Installation) -> redis.Redis:
    return redis.Redis.from_url(target.redis_url)
