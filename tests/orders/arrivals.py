"""Every order in which deliveries may arrive, tried on the database without trying the same thing twice.

Seven deliveries have 5,040 orders of arrival. They are walked as a tree, each step in a savepoint that is rolled back,
and where two orders of the same deliveries have led to the same rows, the walk goes on from there once: what comes
after can't differ. So all orders are covered, with as many steps as there are different situations. The rows compared
are all that handlers read: `situation`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import Model

from audit.actions import Event
from audit.models import AuditEvent
from inventory.actions.levels import sync_level
from inventory.actions.products import sync_product
from inventory.models import InventoryItem, StockLevel
from inventory.queries import find_drift
from orders.actions.backorders import fill
from orders.actions.handover import adopt_orders
from orders.actions.sync import sync_fulfillment, sync_order, sync_refund
from orders.models import Allocation, Commitment, Fulfillment, Order, OrderLine, Refund, RefundLine
from orders.queries import find_misallocation
from shopsync.models import Tenant
from shopsync.shopify import Delivery

HANDLERS = {
    "products": sync_product,
    "inventory_levels": sync_level,
    "orders": sync_order,
    "refunds": sync_refund,
    "fulfillments": sync_fulfillment,
}
SUBSCRIBERS = {"stock.increased": fill, "stock.adoption_asked": adopt_orders}
RECEIVED = datetime(2026, 11, 2, 12, tzinfo=UTC)


def give(tenant: Tenant, number: int, topic: str, body: Mapping[str, Any]) -> None:
    """Let a delivery be handled as the inbox would; the number makes it this one and no other."""
    delivery = Delivery(
        id=number,
        tenant_id=tenant.pk,
        source="shopify",
        topic=topic,
        body=json.dumps(body).encode(),
        digest=f"{number:064}"[::-1],
        triggered_at=None,
        received_at=RECEIVED,
        connection_id=None,
    )
    HANDLERS[topic.partition("/")[0]](delivery=delivery)


def follow_events(done: set[int]) -> None:
    """Hand out what stock and hand-overs asked for, as the drain of events would."""
    while events := list(AuditEvent.objects.filter(name__in=SUBSCRIBERS).exclude(pk__in=done).order_by("pk")):
        for event in events:
            done.add(event.pk)
            told = Event(event.pk, event.tenant_id or 0, event.name, event.subject, event.data, event.created_at)
            SUBSCRIBERS[event.name](event=told)


# Columns by model that say who a row is: its own id, and those of what it hangs on, are new in each branch of the walk.
_NAMES: dict[type[Model], tuple[str, ...]] = {
    InventoryItem: (),
    StockLevel: ("item__shopify_id", "location__shopify_id"),
    Order: (),
    OrderLine: ("order__shopify_id",),
    Commitment: ("line__shopify_id", "item__shopify_id"),
    Allocation: ("commitment__line__shopify_id", "level__item__shopify_id", "level__location__shopify_id"),
    Refund: ("order__shopify_id",),
    RefundLine: ("refund__shopify_id", "line__shopify_id"),
    Fulfillment: ("order__shopify_id",),
}
_PASSING = {"created_at", "updated_at", "since", "movement_count"}  # when we did it, which no handler decides by


def situation(tenant: Tenant) -> str:
    """Write down all rows that what comes next may depend on."""
    rows: dict[str, Any] = {"authority": Tenant.objects.values_list("stock_authority", flat=True).get(pk=tenant.pk)}
    for model, names in _NAMES.items():
        plain = [f.name for f in model._meta.concrete_fields if not f.is_relation and f.name not in _PASSING | {"id"}]
        rows[model.__name__] = sorted(map(str, model.objects.values_list(*names, *plain)))
    rows["moved"] = sorted(StockLevel.objects.filter(movement_count__gt=0).values_list("item__shopify_id", flat=True))
    return json.dumps(rows, default=str)


@dataclass
class Walk:
    """What a walk found: the different ends, the steps it took, and the orders of arrival that those stand for."""

    tenant: Tenant
    steps: Mapping[str, Callable[[], None]]
    look: Callable[[], Any]
    ends: dict[str, tuple[Any, list[str]]] = field(default_factory=dict)
    taken: int = 0
    _seen: set[tuple[frozenset[str], str]] = field(default_factory=set)

    @property
    def orders(self) -> int:
        """How many orders of arrival there are."""
        return math.factorial(len(self.steps))

    def run(self) -> Walk:
        """Try them all."""
        self._visit([])
        return self

    def _visit(self, path: list[str]) -> None:
        here = situation(self.tenant)
        known = (frozenset(path), here)
        if known in self._seen:
            return
        self._seen.add(known)
        assert find_drift(tenant_id=self.tenant.pk) == find_misallocation(tenant_id=self.tenant.pk) == [], path
        if len(path) == len(self.steps):
            end = self.look()
            self.ends.setdefault(repr(end), (end, path))
            return
        for name, step in self.steps.items():
            if name not in path:
                self._try(step, [*path, name])

    def _try(self, step: Callable[[], None], path: list[str]) -> None:
        point = transaction.savepoint()
        heard = set(AuditEvent.objects.filter(name__in=SUBSCRIBERS).values_list("pk", flat=True))
        step()
        follow_events(heard)
        self.taken += 1
        self._visit(path)
        transaction.savepoint_rollback(point)

    def __str__(self) -> str:
        return f"{self.orders:,} orders of arrival by {self.taken:,} steps: {len(self.ends)} end(s)"
