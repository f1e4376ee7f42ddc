"""Backorders, where we count: what was sold and not there is taken, oldest first, as soon as there is something."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from audit.actions import Event, Value, record
from config.infra.transactions import retrying_atomic
from inventory.models import Location, StockLevel, Variant
from orders.actions.own_stock import follow_lines
from orders.actions.shopify_stock import follow_stock
from orders.actions.stock import counts_here, lock_with_levels
from orders.models import Commitment, Order

BATCH = 100
_WAITS = Q(backordered__gt=0) | Q(unplaced__gt=0)


@retrying_atomic
def fill(*, event: Event) -> None:
    """Take what a level has now for the orders that wait for it: the subscriber of stock.increased.

    Each order's units are set to what its facts say, as ever; there is just more to take them from.
    """
    if not counts_here(event.tenant_id):
        return
    level = _sellable().filter(pk=int(event.subject.partition(":")[2])).first()
    if level is None:
        return  # somebody else was faster, and whoever gives it back says so again
    waiting = Commitment.objects.filter(_WAITS, item_id=level.item_id).order_by("since", "pk")
    lines = list(waiting.values_list("line__order_id", flat=True)[:BATCH])
    oldest_first = list(dict.fromkeys(lines))
    orders = lock_with_levels(oldest_first)
    settled = sum(_fill_order(orders[order_id], now=event.created_at) for order_id in oldest_first)
    if settled and len(lines) == BATCH:  # more may wait, and there was something for these
        record(name=event.name, subject=event.subject, actor="system", data=event.data)


@retrying_atomic
def fill_from_location(*, event: Event) -> None:
    """Let each level of a location that is open again fill the orders that wait for it.

    The subscriber of location.updated.
    """
    if event.data.get("is_active_after") is not True or not counts_here(event.tenant_id):
        return  # something else of it was changed, or Shopify counts, so that nobody waits for our count
    location = Location.objects.get(pk=int(event.subject.partition(":")[2]))
    if not location.is_active:
        return  # closed again meanwhile
    waited = Commitment.objects.filter(_WAITS, item__isnull=False).values("item_id")
    for level in _sellable().filter(location=location, item_id__in=waited).order_by("pk"):
        data = {"item_id": level.item_id, "location_id": location.pk, "was": None, "sellable": level.sellable}
        record(name="stock.increased", subject=f"level:{level.pk}", actor="system", data=data)


def _sellable() -> QuerySet[StockLevel]:
    """Find levels that can be sold from: something is free there, or there is no end of it."""
    endless = Variant.objects.filter(
        item_id=OuterRef("item_id"), policy=Variant.Policy.CONTINUE, removed_at__isnull=True
    )
    return StockLevel.objects.filter(Q(available__isnull=True) | Q(available__gt=F("held")) | Exists(endless))


def _fill_order(order: Order, *, now: datetime) -> int:
    """Let an order take what there is; return of how many units, to be sent or sent already, it is known now whence."""
    before, unplaced = _waits_of(order)
    if order.source == Order.Source.API:
        follow_lines(order, actor="system", now=now)
    else:
        follow_stock(order)
    after, still_unplaced = _waits_of(order)
    if after < before:
        data: dict[str, Value] = {"filled": before - after, "backordered": after}
        record(name="order.backorder_filled", subject=f"order:{order.pk}", actor="system", data=data)
    return before - after + unplaced - still_unplaced


def _waits_of(order: Order) -> tuple[int, int]:
    """Say how many units an order waits for, and how many have left no level that is known."""
    rows = Commitment.objects.filter(line__order=order).values_list("backordered", "unplaced")
    return sum(backordered for backordered, _ in rows), sum(unplaced for _, unplaced in rows)
