"""Backorders, where we count: what was sold and not there is taken, oldest first, as soon as there is something."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from audit.actions import Event, Value, record
from config.infra.transactions import retrying_atomic
from inventory.models import StockLevel
from orders.actions.own_stock import follow_lines
from orders.actions.shopify_stock import follow_stock
from orders.actions.stock import counts_here, lock_with_levels
from orders.models import Commitment, Order

BATCH = 100


@retrying_atomic
def fill(*, event: Event) -> None:
    """Take what a level has now for the orders that wait for it: the subscriber of stock.increased.

    Each order's units are set to what its facts say, as ever; there is just more to take them from.
    """
    if not counts_here(event.tenant_id):
        return
    level = StockLevel.objects.filter(pk=int(event.subject.partition(":")[2])).first()
    if level is None or (level.sellable is not None and level.sellable <= 0):
        return  # somebody else was faster, and whoever gives it back says so again
    wants = Q(backordered__gt=0) | Q(unplaced__gt=0)
    waiting = Commitment.objects.filter(wants, item_id=level.item_id).order_by("since", "pk")
    lines = list(waiting.values_list("line__order_id", flat=True)[:BATCH])
    oldest_first = list(dict.fromkeys(lines))
    orders = lock_with_levels(oldest_first)
    filled = sum(_fill_order(orders[order_id], now=event.created_at) for order_id in oldest_first)
    if filled and len(lines) == BATCH:  # more may wait, and there was something for these
        record(name=event.name, subject=event.subject, actor="system", data=event.data)


def _fill_order(order: Order, *, now: datetime) -> int:
    """Let an order take what there is; return how many units it waited for and has now."""
    commitments = Commitment.objects.filter(line__order=order)
    before = sum(commitments.values_list("backordered", flat=True))
    if order.source == Order.Source.API:
        follow_lines(order, actor="system", now=now)
    else:
        follow_stock(order)
    after = sum(commitments.values_list("backordered", flat=True))
    if after < before:
        data: dict[str, Value] = {"filled": before - after, "backordered": after}
        record(name="order.backorder_filled", subject=f"order:{order.pk}", actor="system", data=data)
    return before - after
