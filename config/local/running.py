"""`make run`: everything stays up with a trickle of sample traffic until Ctrl-C; what dies is started again."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from config import embedded
from config.local import samples
from config.local.deliveries import Answer, Shop
from config.local.environment import ADMIN_USERNAME, PREFERRED_PORT
from config.local.processes import free_port, port_is_free
from config.local.samples import Body, Customer, Item, Purchase
from config.local.session import Session, deaf, ending_by_signal, only_one, say
from config.local.setup import Ready, prepare
from config.local.stack import LocalStack, ProcessDiedError
from config.local.state import write_private_json

SECONDS_BETWEEN_DELIVERIES = 1.0
SECONDS_BETWEEN_LINES = 30.0
RESTARTS_PER_MINUTE = 5
NAMES = (
    "Anna Samiou",
    "Nikos Karras",
    "Maria Lopez",
    "Omar Haddad",
    "Grace Lee",
    "Ελένη Παππά",
    "José Núñez",
    "Yuki 田中",
)
GOODS = (("Blue Mug", "12.50"), ("Olive Bowl", "34.00"), ("Desk Lamp", "59.90"), ("Linen Towel", "18.00"))


def run_until_interrupted(state: Path) -> int:
    """Set everything up and keep it up; return 0 after Ctrl-C."""
    with only_one(state), ending_by_signal():
        session = Session(state)
        stack: LocalStack | None = None
        try:
            say("Setting up")
            stack = session.open(PREFERRED_PORT if port_is_free(PREFERRED_PORT) else free_port())
            ready = prepare(session, stack)
            _write_run_file(ready)
            ready.say_login()
            say(f"   scripts   {state / 'run.json'} says how to attach")
            say("\nSample traffic flows; Ctrl-C ends it.")
            _keep_up(ready)
        except KeyboardInterrupt:
            say("\nStopping everything")
        finally:
            with deaf():
                session.close(stack)
    say("Stopped; the data stay for the next start.")
    return 0


def _write_run_file(ready: Ready) -> None:
    """Write how scripts attach (design.md, section 8)."""
    pids = {name: process.pid for name, process in ready.stack.processes.items()}
    pids |= embedded.EmbeddedServers(ready.session.state).pids() | {"run": os.getpid()}
    tenants = {
        demo.shop_domain: {
            "shop_domain": demo.shop_domain,
            "api_key": demo.keys.api_key,
            "write_key": demo.keys.write_key,
            "webhook_tokens": {"mitto": demo.keys.mitto_token},
        }
        for demo in ready.tenants
    }
    admin = {"url": ready.admin_url, "username": ADMIN_USERNAME, "password": ready.keys.admin_password}
    document = {
        "base_url": ready.stack.base_url,
        "tenants": tenants,
        "shopify_secret": ready.shopify_secret,
        "admin": admin,
        "sandbox_url": ready.stack.sandbox_url,
        "pids": pids,
    }
    write_private_json(ready.session.state / "run.json", document)


def _keep_up(ready: Ready) -> None:
    """Send a delivery every second, and start again what died, until interrupted."""
    shops = [
        _Traffic(Shop(ready.stack.base_url, ready.shopify_secret, demo.shop_domain), demo.currency, demo.country)
        for demo in ready.tenants
    ]
    answers: Counter[str] = Counter()
    restarts: list[float] = []
    next_line = time.monotonic() + SECONDS_BETWEEN_LINES
    while True:
        if _revive(ready, restarts):
            _write_run_file(ready)
        answers[random.choice(shops).send_one()] += 1  # noqa: S311  sample traffic, not a secret
        if time.monotonic() > next_line:
            say("   " + time.strftime("%H:%M:%S  ") + ", ".join(f"{n} × {said}" for said, n in answers.most_common()))
            answers.clear()
            next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        time.sleep(SECONDS_BETWEEN_DELIVERIES)


def _revive(ready: Ready, restarts: list[float]) -> bool:
    """Start again what died; return whether anything did.

    Raises:
        ProcessDiedError: things die too often.
    """
    dead, servers = ready.stack.dead(), embedded.EmbeddedServers(ready.session.state)
    lost = ready.own_servers - set(servers.pids())
    if not dead and not lost:
        return False
    restarts[:] = [moment for moment in restarts if moment > time.monotonic() - 60]
    for name in sorted(lost):
        say(f"   {name} is gone; starting it again")
    if lost:
        servers.start(use_environment=False, database="postgres" in lost, redis="redis" in lost)
    for process in dead:
        say(f"   {process.name} (pid {process.pid}) ended with code {process.exit_code()}; starting it again. Its log:")
        say(process.log_tail(5))
        ready.stack.kill(process.name)
        ready.stack.start(process.name)
    restarts += [time.monotonic()] * (len(dead) + len(lost))
    if len(restarts) > RESTARTS_PER_MINUTE:
        raise ProcessDiedError(f"processes died {len(restarts)} times within a minute; the logs say why")
    return True


@dataclass
class _Traffic:
    """One shop's daily life: goods, customers, orders; now and then trouble."""

    shop: Shop
    currency: str
    country: str
    items: list[Item] = field(default_factory=list)
    customers: list[Customer] = field(default_factory=list)
    unpaid: list[Purchase] = field(default_factory=list)
    last: tuple[str, Body, str] | None = None

    def send_one(self) -> str:
        """Send one delivery and return what was answered, or that nothing was."""
        try:
            answer = self._send_any()
        except OSError as error:
            return f"no answer ({error.__class__.__name__})"
        return f"{answer.status} {answer.text}"

    def _send_any(self) -> Answer:
        chance = random.random()  # noqa: S311  sample traffic, not a secret
        if chance < 0.05 and self.last:
            topic, body, webhook_id = self.last
            return self.shop.post(topic, body, webhook_id=webhook_id)
        if chance < 0.08:
            forged = Shop(self.shop.base_url, "not-the-secret", self.shop.shop_domain)
            return forged.post("orders/create", {"id": samples.new_id()})
        topic, body = self._next_body(chance)
        webhook_id = f"sample-{samples.new_id()}"
        self.last = (topic, body, webhook_id)
        return self.shop.post(topic, body, webhook_id=webhook_id)

    def _next_body(self, chance: float) -> tuple[str, Body]:
        if len(self.items) < len(GOODS):
            title, price = GOODS[len(self.items)]
            self.items.append(Item(title, f"{title[:3].upper()}-{samples.new_id() % 100_000:05d}", price))
            return "products/create", samples.product_body(self.items[-1])
        if not self.customers or chance < 0.2:
            first_name, _, last_name = random.choice(NAMES).partition(" ")  # noqa: S311
            self.customers = [*self.customers[-50:], samples.new_customer(first_name, last_name, country=self.country)]
            return "customers/create", samples.customer_body(self.customers[-1])
        if chance < 0.35:
            customer, state = self.customers[-1], random.choice(("subscribed", "subscribed", "unsubscribed"))  # noqa: S311
            return "customers_marketing_consent/update", samples.sms_consent_body(customer, state)
        if chance < 0.5:
            available = random.randint(0, 60)  # noqa: S311
            return "inventory_levels/update", samples.level_body(random.choice(self.items), available)  # noqa: S311
        return self._order_body(chance)

    def _order_body(self, chance: float) -> tuple[str, Body]:
        if self.unpaid and chance > 0.72:
            return "orders/paid", samples.order_body(self.unpaid.pop(), financial_status="paid")
        if self.unpaid and chance > 0.96:
            cancelled = samples.order_body(self.unpaid.pop(), cancelled_at=samples.now_text())
            return "orders/cancelled", cancelled
        buyer, item = random.choice(self.customers), random.choice(self.items)  # noqa: S311
        number = f"#{samples.new_id() % 1_000_000}"
        purchase = samples.new_purchase(number, buyer, (item, random.randint(1, 3)), currency=self.currency)  # noqa: S311
        self.unpaid = [*self.unpaid[-20:], purchase]
        return "orders/create", samples.order_body(purchase)
