"""A shop's daily life, one delivery at a time: what `make run` sends while it is up."""

# ruff: noqa: S311  chance decides what is sent; nothing here is a secret

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from config.local import samples
from config.local.deliveries import Answer, Shop
from config.local.samples import Body, Customer, Item, Purchase

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


@dataclass
class Traffic:
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
        chance = random.random()
        if chance < 0.05 and self.last:
            topic, body, webhook_id = self.last
            return self.shop.post(topic, body, webhook_id=webhook_id)
        if chance < 0.08:
            forger = replace(self.shop, secret="not-the-secret")  # noqa: S106  on purpose
            return forger.post("orders/create", {"id": samples.new_id()})
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
            first_name, _, last_name = random.choice(NAMES).partition(" ")
            self.customers = [*self.customers[-50:], samples.new_customer(first_name, last_name, country=self.country)]
            return "customers/create", samples.customer_body(self.customers[-1])
        if chance < 0.35:
            customer, state = self.customers[-1], random.choice(("subscribed", "subscribed", "unsubscribed"))
            return "customers_marketing_consent/update", samples.sms_consent_body(customer, state)
        if chance < 0.5:
            available = random.randint(0, 60)
            return "inventory_levels/update", samples.level_body(random.choice(self.items), available)
        return self._order_body(chance)

    def _order_body(self, chance: float) -> tuple[str, Body]:
        if self.unpaid and chance > 0.96:
            cancelled = samples.order_body(self.unpaid.pop(), cancelled_at=samples.now_text())
            return "orders/cancelled", cancelled
        if self.unpaid and chance > 0.72:
            return "orders/paid", samples.order_body(self.unpaid.pop(), financial_status="paid")
        buyer, item = random.choice(self.customers), random.choice(self.items)
        number = f"#{samples.new_id() % 1_000_000}"
        purchase = samples.new_purchase(number, buyer, (item, random.randint(1, 3)), currency=self.currency)
        self.unpaid = [*self.unpaid[-20:], purchase]
        return "orders/create", samples.order_body(purchase)
