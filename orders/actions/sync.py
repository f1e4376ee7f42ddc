"""What orders writes from Shopify's deliveries: the newest version wins, facts join from any age."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from audit.actions import Value, record
from config.infra import tenancy
from config.infra.tenancy import TenantManager
from orders.actions.shopify_stock import follow_stock
from orders.actions.stock import counts_here, drop_stock
from orders.models import Commitment, Fulfillment, Order, OrderLine, Refund, RefundLine
from orders.shopify import (
    FulfillmentSnapshot,
    LineSnapshot,
    OrderSnapshot,
    RefundSnapshot,
    parse_fulfillment,
    parse_order,
    parse_refund,
)
from shopsync.models import Tenant
from shopsync.shopify import Delivery


@transaction.atomic(savepoint=False)
def sync_order(*, delivery: Delivery) -> None:
    """Take a version of an order: its columns and lines if it is the newest, its facts whatever its age.

    Any permutation and repetition of an order's deliveries ends in the same rows. Records order.created once,
    order.paid once (when it first becomes known as paid), order.cancelled once, order.updated otherwise.

    Raises: UnreadablePayloadError.
    """
    tenant = Tenant.objects.get(pk=delivery.tenant_id)
    counts_here(tenant.pk)  # keeps a hand-over out, before anything is written that it would wait for
    snapshot = parse_order(delivery, currency=tenant.currency, country=tenant.country)
    order = _lock_order(snapshot, tenant)
    is_new = order.source_version == ""
    is_newest = snapshot.version > order.source_version
    if is_newest:
        _apply_newest(order, snapshot)
    events = _join_facts(order, snapshot)
    order.updated_at = timezone.now()
    order.save()
    if is_newest:
        _write_lines(order, snapshot.lines, is_new=is_new)
    elif order.is_cancelled:
        _release_commitments(order)
    for refund in snapshot.refunds:
        _write_part(Refund, refund, order)
    for parcel in snapshot.fulfillments:
        _write_part(Fulfillment, parcel, order)
    _adopt_early_arrivals(order)
    follow_stock(order)
    _record(order, is_new=is_new, is_newest=is_newest, events=events)


def _lock_order(snapshot: OrderSnapshot, tenant: Tenant) -> Order:
    stub = Order(
        tenant_id=tenancy.current_tenant_id(),
        shopify_id=snapshot.shopify_id,
        currency=tenant.currency,
        source_version="",
    )
    Order.objects.bulk_create([stub], ignore_conflicts=True)
    return Order.objects.select_for_update().get(shopify_id=snapshot.shopify_id)


def _apply_newest(order: Order, snapshot: OrderSnapshot) -> None:
    for field, value in snapshot.values.items():
        setattr(order, field, value)
    order.source_version = snapshot.version


def _join_facts(order: Order, snapshot: OrderSnapshot) -> list[str]:
    """Join paid_at and cancelled_at: the earliest known wins. Returns the facts that are new, as event names."""
    news = []
    if snapshot.paid_at is not None:
        if order.paid_at is None:
            news.append("order.paid")
        order.paid_at = min(filter(None, (order.paid_at, snapshot.paid_at)))
    if snapshot.cancelled_at is not None:
        if order.cancelled_at is None:
            news.append("order.cancelled")
        if order.cancelled_at is None or (snapshot.cancelled_at, snapshot.cancel_reason) < (
            order.cancelled_at,
            order.cancel_reason,
        ):
            order.cancelled_at, order.cancel_reason = snapshot.cancelled_at, snapshot.cancel_reason
    return news


def _write_lines(order: Order, lines: tuple[LineSnapshot, ...], *, is_new: bool) -> None:
    if not is_new:
        _drop_lines(order, kept=[line.shopify_id for line in lines])
    rows = [
        OrderLine(
            tenant_id=order.tenant_id,
            order=order,
            shopify_id=line.shopify_id,
            position=line.position,
            variant_shopify_id=line.variant_shopify_id,
            product_shopify_id=line.product_shopify_id,
            title=line.title,
            variant_title=line.variant_title,
            sku=line.sku,
            quantity=line.quantity,
            current_quantity=line.current_quantity,
            price_amount=line.price_amount,
            presentment_price_amount=line.presentment_price_amount,
            discount_amount=line.discount_amount,
            tax_amount=line.tax_amount,
            requires_shipping=line.requires_shipping,
        )
        for line in {line.shopify_id: line for line in lines}.values()
    ]
    ours = {"sent", "cancelled", "lost", "refunded", "returned"}
    own = {"id", "tenant", "order", "variant", *(f"{name}_quantity" for name in ours)}
    fields = [field.name for field in OrderLine._meta.concrete_fields if field.name not in own]
    written = OrderLine.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["order", "shopify_id"], update_fields=fields
    )
    _set_commitments(order, written, lines)


def _drop_lines(order: Order, *, kept: list[int]) -> None:
    dropped = OrderLine.objects.filter(order=order).exclude(shopify_id__in=kept)
    if not dropped.exists():
        return
    if counts_here(order.tenant_id):
        drop_stock(order, list(dropped), actor="shopify")
    dropped.delete()


def _set_commitments(order: Order, written: list[OrderLine], lines: tuple[LineSnapshot, ...]) -> None:
    """Set what each line still asks of the stock: the newest fulfillable quantity, nothing once cancelled.

    Where we count, `follow_stock` then takes it.
    """
    asked = {line.shopify_id: 0 if order.is_cancelled else line.fulfillable_quantity for line in lines}
    rows = [
        Commitment(tenant_id=order.tenant_id, line_id=line.pk, quantity=asked[line.shopify_id or 0]) for line in written
    ]
    fields = ["quantity", "backordered", "unplaced"]
    Commitment.objects.bulk_create(rows, update_conflicts=True, unique_fields=["line"], update_fields=fields)


def _release_commitments(order: Order) -> None:
    """Ask nothing more of the stock: an older version told that the order was cancelled."""
    Commitment.objects.filter(line__order=order, quantity__gt=0).update(quantity=0, backordered=0)


@transaction.atomic(savepoint=False)
def sync_refund(*, delivery: Delivery) -> None:
    """Take a version of a refund; it may come before its order.

    Raises: UnreadablePayloadError.
    """
    snapshot = parse_refund(delivery)
    order = _lock_known(snapshot.order_shopify_id)
    _write_part(Refund, snapshot, order)
    if order is not None:
        follow_stock(order)


@transaction.atomic(savepoint=False)
def sync_fulfillment(*, delivery: Delivery) -> None:
    """Take a version of a parcel; it may come before its order.

    Raises: UnreadablePayloadError.
    """
    snapshot = parse_fulfillment(delivery)
    order = _lock_known(snapshot.order_shopify_id)
    _write_part(Fulfillment, snapshot, order)
    if order is not None:
        follow_stock(order)


def _lock_known(shopify_id: int) -> Order | None:
    return Order.objects.select_for_update().filter(shopify_id=shopify_id).first()


def _write_part(
    model: type[Refund | Fulfillment], snapshot: RefundSnapshot | FulfillmentSnapshot, order: Order | None
) -> None:
    """Write a refund or a parcel, newest version wins: an order's body and their own topics both tell of them."""
    values = asdict(snapshot)
    version, shopify_id = values.pop("version"), values.pop("shopify_id")
    if model is Refund:
        values.pop("lines")
    values |= {"order": order, "source_version": version}
    rows: TenantManager[Any] = model.objects
    row = model(tenant_id=tenancy.current_tenant_id(), shopify_id=shopify_id, **values)
    rows.bulk_create([row], ignore_conflicts=True)
    rows.filter(shopify_id=shopify_id, source_version__lt=version).update(**values)
    if isinstance(snapshot, RefundSnapshot) and snapshot.lines:
        _write_refund_lines(snapshot)


def _write_refund_lines(snapshot: RefundSnapshot) -> None:
    """Write a refund's lines, each once: Shopify never changes one."""
    refund = Refund.objects.get(shopify_id=snapshot.shopify_id)
    RefundLine.objects.bulk_create(
        [RefundLine(tenant_id=refund.tenant_id, refund=refund, **asdict(line)) for line in snapshot.lines],
        ignore_conflicts=True,
    )


def _adopt_early_arrivals(order: Order) -> None:
    for model in (Refund, Fulfillment):
        model.objects.filter(order_shopify_id=order.shopify_id or 0, order__isnull=True).update(order=order)
    orphans = RefundLine.objects.filter(refund__order=order, line__isnull=True, line_shopify_id__isnull=False)
    if orphans.exists():
        line = OrderLine.objects.filter(order=order, shopify_id=OuterRef("line_shopify_id"))
        orphans.update(line=Subquery(line.values("pk")[:1]))


def _record(order: Order, *, is_new: bool, is_newest: bool, events: list[str]) -> None:
    subject = f"order:{order.pk}"
    data: dict[str, Value] = {"shopify_id": order.shopify_id, "financial_status": order.financial_status}
    if is_new:
        record(name="order.created", subject=subject, actor="shopify", data=data, once_key=f"order.created:{order.pk}")
    elif is_newest:
        record(name="order.updated", subject=subject, actor="shopify", data=data)
    for name in events:
        record(name=name, subject=subject, actor="shopify", data=data, once_key=f"{name}:{order.pk}")
