"""Backorders, where we count: what was sold and not there is taken, oldest first, as soon as there is something."""

from __future__ import annotations

from audit.actions import Event, record
from config.infra.transactions import retrying_atomic
from inventory.models import StockLevel, Variant
from orders.actions.stock import counts_here, set_stock
from orders.models import Commitment, Order, OrderLine
from orders.rules import StockTarget

BATCH = 100


@retrying_atomic
def fill(*, event: Event) -> None:
    """Take what a level has now for the orders that wait for it: the subscriber of stock.increased.

    Each order's own target stays what it was; only what is backordered is tried again.
    """
    if not counts_here(event.tenant_id):
        return
    level = StockLevel.objects.filter(pk=int(event.subject.partition(":")[2])).first()
    if level is None or (level.sellable is not None and level.sellable <= 0):
        return  # somebody else was faster, and whoever gives it back says so again
    waiting = Commitment.objects.filter(item_id=level.item_id, backordered__gt=0).order_by("since", "pk")
    for order_id in list(dict.fromkeys(waiting.values_list("line__order_id", flat=True)[:BATCH])):
        _fill_order(order_id)


def _fill_order(order_id: int) -> None:
    order = Order.objects.select_for_update().get(pk=order_id)
    lines = list(OrderLine.objects.filter(order=order, commitment__backordered__gt=0).select_related("commitment"))
    if not lines:
        return  # it was cancelled, or filled, meanwhile
    items = [line.commitment.item_id for line in lines if line.commitment.item_id]
    variants = {variant.item_id: variant for variant in Variant.objects.filter(item_id__in=items).order_by("-pk")}
    before = sum(line.commitment.backordered for line in lines)
    set_stock(order, [(line, variants.get(line.commitment.item_id), _target(line)) for line in lines], actor="system")
    after = sum(Commitment.objects.filter(line__in=lines).values_list("backordered", flat=True))
    if after < before:
        data = {"filled": before - after, "backordered": after}
        record(name="order.backorder_filled", subject=f"order:{order.pk}", actor="system", data=data)


def _target(line: OrderLine) -> StockTarget:
    """Keep what the line asks for and what of it has left."""
    gone = sum(line.commitment.allocations.values_list("gone", flat=True))
    return StockTarget(committed=line.commitment.quantity, gone=gone)
