"""Handing the count of a tenant's stock over, from Shopify to us or back, while everything goes on.

To us: our count begins where Shopify's stands. What orders had taken by then is off it already, which each order's own
dates tell, now or whenever a late delivery speaks of it (orders.actions.shopify_stock). So the hand-over itself touches
levels only; the orders that wait to be sent are adopted afterwards, in batches, each order in its turn.

To Shopify: its count as it last told it stands for ours. Orders of our own that wait to be sent, which it does not
know, are held beside it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from audit.actions import Event, Value, record
from config.infra import tenancy, work
from config.infra.transactions import retrying_atomic
from inventory.actions.handover import begin_count, count_open_pushes, end_count, lock_authority
from inventory.actions.products import ADOPTION_ASKED
from orders.actions.own_stock import adopt_hold, follow_lines
from orders.actions.shopify_stock import follow_stock
from orders.actions.stock import counts_here, lock_with_levels
from orders.models import Order
from shopsync.models import Tenant, WebhookEvent

Authority = Tenant.StockAuthority
BATCH = 100


class HandOverError(Exception):
    """The count can't be handed over now; the message says why and what to do."""


class AlreadyCounting(HandOverError):  # noqa: N818
    """The count is where it was to go."""


class NotSettled(HandOverError):  # noqa: N818
    """Something that would change the count is on its way. `blockers` counts it by kind."""

    def __init__(self, blockers: dict[str, int]) -> None:
        waiting = ", ".join(f"{count} {kind}" for kind, count in blockers.items())
        super().__init__(f"Not yet: {waiting}. They are worked on within moments as a rule; try again then.")
        self.blockers = blockers


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What a hand-over did."""

    authority: str
    levels: int
    held_units: int = 0


@retrying_atomic
def hand_over(*, to: str, actor: str, now: datetime) -> HandedOver:
    """Hand the count of the tenant in scope to `shopify` or to us (`shopsync`), in one transaction.

    Raises: AlreadyCounting, NotSettled, ValueError for another word.
    """
    if to not in Authority.values:
        raise ValueError(f"the count is handed to one of {', '.join(Authority.values)}")
    # 1. Nobody goes by the old authority any more, and nothing that it was told is still to be worked on.
    if lock_authority() == to:
        raise AlreadyCounting(f"The stock is counted by {to} already.")
    if blockers := _blockers():
        raise NotSettled(blockers)
    # 2. The levels, and who counts them.
    done = _to_us(actor=actor) if to == Authority.SHOPSYNC else _to_shopify(actor=actor)
    subject = f"tenant:{tenancy.current_tenant_id()}"
    data: dict[str, Value] = {"to": to, "levels": done.levels, "held_units": done.held_units, "at": now.isoformat()}
    record(name="stock.handed_over", subject=subject, actor=actor, data=data)
    if to == Authority.SHOPSYNC:
        record(name=ADOPTION_ASKED, subject=subject, actor="system", data={"after": 0, "items": None})
    return done


def _blockers() -> dict[str, int]:
    waiting = WebhookEvent.objects.filter(topic="inventory_levels/update")
    found = {
        "counts of Shopify's wait in the inbox": waiting.filter(
            status__in=(work.Status.READY, work.Status.LEASED)
        ).count(),
        "calls about holds in Shopify have not ended": count_open_pushes(),
    }
    return {kind: count for kind, count in found.items() if count}


def _to_us(*, actor: str) -> HandedOver:
    return HandedOver(Authority.SHOPSYNC, begin_count(actor=actor))


# What orders of ours wait for, by the reservation that is to hold it.
_KEEP = """
INSERT INTO inventory_reservationline (tenant_id, reservation_id, variant_id, level_id, quantity, held)
SELECT a.tenant_id, o.reservation_id, n.variant_id, a.level_id, sum(a.committed), sum(a.committed)
FROM orders_allocation a JOIN orders_commitment c ON c.id = a.commitment_id JOIN orders_orderline n ON n.id = c.line_id
JOIN orders_order o ON o.id = n.order_id
WHERE a.tenant_id = %(tenant)s AND a.committed > 0 AND o.source = 'api' AND n.variant_id IS NOT NULL
GROUP BY a.tenant_id, o.reservation_id, n.variant_id, a.level_id
ON CONFLICT (reservation_id, level_id, variant_id) DO UPDATE SET held = EXCLUDED.held,
    quantity = greatest(inventory_reservationline.quantity, EXCLUDED.held + inventory_reservationline.pushed)
RETURNING level_id, held"""
_SETTLED_BY_ORDER = """
UPDATE inventory_reservation SET settles_by = 'order' FROM orders_order o
WHERE o.reservation_id = inventory_reservation.id AND o.tenant_id = %(tenant)s AND o.source = 'api'
  AND o.stock_state = 'committed'"""
# Of our own orders we keep what has left: it lies on no shelf that Shopify counts.
_FORGET = (
    """
UPDATE orders_commitment SET backordered = 0, unplaced = 0, counted_gross = NULL, counted_before = 0
WHERE tenant_id = %(tenant)s
  AND (backordered > 0 OR unplaced > 0 OR counted_gross IS NOT NULL OR counted_before > 0)""",
    """
DELETE FROM orders_allocation a USING orders_commitment c, orders_orderline n, orders_order o
WHERE c.id = a.commitment_id AND n.id = c.line_id AND o.id = n.order_id AND a.tenant_id = %(tenant)s
  AND (o.source = 'shopify' OR a.gone = 0)""",
    "UPDATE orders_allocation SET committed = 0 WHERE tenant_id = %(tenant)s AND committed > 0",
)


def _to_shopify(*, actor: str) -> HandedOver:
    kept: dict[int, int] = defaultdict(int)
    parameters = {"tenant": tenancy.current_tenant_id()}
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, parameters)
        for level_id, held in cursor.fetchall():
            kept[level_id] += held
        for statement in (_SETTLED_BY_ORDER, *_FORGET):
            cursor.execute(statement, parameters)
    return HandedOver(Authority.SHOPIFY, end_count(kept=kept, actor=actor), sum(kept.values()))


@retrying_atomic
def adopt_orders(*, event: Event) -> None:
    """Set orders against our count, which has just begun (of all items, or of one): stock.adoption_asked's subscriber.

    A batch at a time; what is left is asked for by another event.
    """
    if not counts_here(event.tenant_id):
        return  # it was handed back meanwhile
    batch = _to_adopt(event)
    for order in lock_with_levels(batch).values():
        if order.source == Order.Source.SHOPIFY:
            follow_stock(order)
        elif order.stock_state == Order.StockState.COMMITTED:
            adopt_hold(order, actor="system")
        elif order.stock_state == Order.StockState.RESERVED:
            follow_lines(order, actor="system", now=event.created_at)
    if len(batch) == BATCH:
        data: dict[str, Value] = {"after": batch[-1], "items": event.data["items"]}
        record(name=ADOPTION_ASKED, subject=event.subject, actor="system", data=data)


# Of Shopify's orders those that wait to be sent, and those that changed after the count of what they sold was taken; of
# ours those that hold units beside Shopify's count: sold ones, and unpaid ones that hold units which are lost. Each
# part is walked by primary key, as far as one batch goes: a million orders are looked at once, not once per batch.
_TO_ADOPT = """
(SELECT o.id FROM orders_order o
WHERE o.tenant_id = %(tenant)s AND o.source = 'shopify' AND o.id > %(after)s AND EXISTS (
    SELECT FROM orders_orderline n JOIN orders_commitment c ON c.line_id = n.id
    LEFT JOIN inventory_variant v ON v.tenant_id = n.tenant_id AND v.shopify_id = n.variant_shopify_id
    LEFT JOIN inventory_inventoryitem i ON i.id = v.item_id
    WHERE n.order_id = o.id AND (c.quantity > 0 OR o.source_updated_at > i.counted_at))
ORDER BY o.id LIMIT %(batch)s)
UNION (SELECT o.id FROM orders_order o JOIN inventory_reservation r ON r.id = o.reservation_id
WHERE o.tenant_id = %(tenant)s AND o.source = 'api' AND o.id > %(after)s AND r.settles_by = 'order'
ORDER BY o.id LIMIT %(batch)s)
UNION (SELECT o.id FROM orders_order o JOIN inventory_reservation r ON r.id = o.reservation_id
WHERE o.tenant_id = %(tenant)s AND o.source = 'api' AND o.id > %(after)s AND o.stock_state = 'reserved'
  AND r.status = 'active' AND EXISTS (
    SELECT FROM orders_orderline n
    WHERE n.order_id = o.id AND n.sent_quantity - n.returned_quantity + n.lost_quantity > 0)
ORDER BY o.id LIMIT %(batch)s)
ORDER BY 1 LIMIT %(batch)s"""
# Of items that have just been counted first: from the item to who sold it.
_TO_ADOPT_OF_ITEMS = """
SELECT DISTINCT o.id FROM inventory_inventoryitem i JOIN inventory_variant v ON v.item_id = i.id
JOIN orders_orderline n ON n.tenant_id = v.tenant_id AND n.variant_shopify_id = v.shopify_id
JOIN orders_commitment c ON c.line_id = n.id JOIN orders_order o ON o.id = n.order_id
WHERE n.tenant_id = %(tenant)s AND o.source = 'shopify' AND o.id > %(after)s AND i.id = ANY (%(items)s::bigint[])
  AND (c.quantity > 0 OR o.source_updated_at > i.counted_at)
ORDER BY 1 LIMIT %(batch)s"""


def _to_adopt(event: Event) -> list[int]:
    """List the next orders that our count is to hear of."""
    after, items = event.data["after"], event.data["items"]
    parameters = {"tenant": tenancy.current_tenant_id(), "after": after, "batch": BATCH}
    with connection.cursor() as cursor:
        if isinstance(items, list):
            cursor.execute(_TO_ADOPT_OF_ITEMS, parameters | {"items": [int(item) for item in items]})
        else:
            cursor.execute(_TO_ADOPT, parameters)
        return [order_id for (order_id,) in cursor.fetchall()]
