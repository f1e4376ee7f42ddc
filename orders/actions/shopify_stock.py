"""What the lines of Shopify's orders take from the stock, where we count: decided from stored facts alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from inventory.models import Variant
from orders.actions.stock import counts_here, set_stock
from orders.models import Fulfillment, Order, OrderLine, RefundLine
from orders.rules import LineFacts, StockTarget, counted_before, gross_of, target_of


@dataclass(slots=True)
class _Told:
    """What parcels and refunds tell of a line: units by when they did so (None: not known)."""

    sent: list[tuple[datetime | None, int]] = field(default_factory=list)
    refunded: dict[str, list[tuple[datetime | None, int]]] = field(default_factory=lambda: defaultdict(list))


def follow_stock(order: Order) -> None:
    """Where we count, bring the units of a locked Shopify order's lines to what its newest facts say.

    Idempotent, and a function of the stored rows alone: the newest lines, the refund lines, the parcels, and since
    when we count. Units that had left before that are off our count already.
    """
    if not counts_here(order.tenant_id):
        return
    lines = list(OrderLine.objects.filter(order=order).select_related("commitment").order_by("pk"))
    named = {line.variant_shopify_id for line in lines if line.variant_shopify_id is not None}
    variants = Variant.objects.filter(shopify_id__in=named).select_related("item")
    by_id = {variant.shopify_id: variant for variant in variants}
    told = _told(order)
    is_known = any(line.commitment.counted_gross is not None for line in lines)
    asked = []
    for line in lines:
        variant = by_id.get(line.variant_shopify_id or 0)
        since = variant.item.counted_at if variant is not None and variant.item is not None else None
        asked.append((line, variant, _target(order, line, told[line.shopify_id or 0], is_known=is_known, since=since)))
    set_stock(order, asked, actor="shopify")


def _told(order: Order) -> dict[int, _Told]:
    """Read what parcels and refunds tell of the order's lines, by Shopify's line id."""
    told: dict[int, _Told] = defaultdict(_Told)
    for parcel in Fulfillment.objects.filter(order=order, status="success").order_by("pk"):
        for line_id, quantity in parcel.lines.items():
            told[int(line_id)].sent.append((parcel.sent_at, quantity))
    rows = RefundLine.objects.filter(refund__order=order, line_shopify_id__isnull=False).select_related("refund")
    for row in rows.order_by("pk"):
        told[row.line_shopify_id or 0].refunded[row.restock_type].append((row.refund.refunded_at, row.quantity))
    return told


def _target(order: Order, line: OrderLine, told: _Told, *, is_known: bool, since: datetime | None) -> StockTarget:
    """Decide what a line's units are to be; `is_known`: its order was asked before."""
    facts = _facts(line, told, until=None)
    target = target_of(facts, is_cancelled=order.is_cancelled)
    gross = line.commitment.counted_gross
    if gross is None:  # a line that an edit added to an order that we knew had no units before
        gross = 0 if is_known else gross_of(facts, current=line.current_quantity)
    if since is None or order.placed_at is None or order.placed_at > since:
        return replace(target, counted_before=None if since is None else 0, counted_gross=gross)
    # Refunds and cancellations carry their dates, edits none: what a version from before `since` says of them is from
    # before; what is seen of them later was done later.
    if order.source_updated_at is not None and order.source_updated_at <= since:
        gross = gross_of(facts, current=line.current_quantity)
    was_cancelled = order.cancelled_at is not None and order.cancelled_at <= since
    before = counted_before(gross, _facts(line, told, until=since), was_cancelled=was_cancelled)
    return replace(target, counted_before=before, counted_gross=gross)


def _facts(line: OrderLine, told: _Told, *, until: datetime | None) -> LineFacts:
    """Add up what was told of a line; with `until`, what is known to be from then or before."""
    refunded = {kind: _sum(entries, until) for kind, entries in told.refunded.items()}
    return LineFacts(
        quantity=line.quantity,
        fulfillable=line.commitment.quantity,
        sent=min(_sum(told.sent, until), line.quantity),
        cancelled=refunded.get("cancel", 0),
        returned=refunded.get("return", 0),
        not_restocked=refunded.get("no_restock", 0),
        legacy=refunded.get("legacy_restock", 0),
    )


def _sum(entries: Sequence[tuple[datetime | None, int]], until: datetime | None) -> int:
    return sum(units for when, units in entries if until is None or (when is not None and when <= until))
