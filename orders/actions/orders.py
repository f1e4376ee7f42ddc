"""What orders writes from Shopify's deliveries: the newest version wins, facts join from any age."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.actions import Value, record
from config.infra import tenancy
from config.infra.tenancy import TenantManager
from orders.models import Commitment, Fulfillment, Order, OrderLine, Refund
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
        OrderLine.objects.filter(order=order).exclude(shopify_id__in=[line.shopify_id for line in lines]).delete()
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
            discount_amount=line.discount_amount,
            requires_shipping=line.requires_shipping,
        )
        for line in {line.shopify_id: line for line in lines}.values()
    ]
    fields = [field.name for field in OrderLine._meta.concrete_fields if field.name not in {"id", "tenant", "order"}]
    written = OrderLine.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["order", "shopify_id"], update_fields=fields
    )
    _set_commitments(order, written, lines)


def _set_commitments(order: Order, written: list[OrderLine], lines: tuple[LineSnapshot, ...]) -> None:
    """Set what each line still asks of the stock: the newest fulfillable quantity, nothing once cancelled."""
    asked = {line.shopify_id: 0 if order.is_cancelled else line.fulfillable_quantity for line in lines}
    rows = [Commitment(tenant_id=order.tenant_id, line_id=line.pk, quantity=asked[line.shopify_id]) for line in written]
    Commitment.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["line"], update_fields=["quantity", "backordered"]
    )


def _release_commitments(order: Order) -> None:
    """Ask nothing more of the stock: an older version told that the order was cancelled."""
    Commitment.objects.filter(line__order=order, quantity__gt=0).update(quantity=0, backordered=0)


@transaction.atomic(savepoint=False)
def sync_refund(*, delivery: Delivery) -> None:
    """Take a version of a refund; it may come before its order.

    Raises: UnreadablePayloadError.
    """
    snapshot = parse_refund(delivery)
    _write_part(Refund, snapshot, Order.objects.filter(shopify_id=snapshot.order_shopify_id).first())


@transaction.atomic(savepoint=False)
def sync_fulfillment(*, delivery: Delivery) -> None:
    """Take a version of a parcel; it may come before its order.

    Raises: UnreadablePayloadError.
    """
    snapshot = parse_fulfillment(delivery)
    _write_part(Fulfillment, snapshot, Order.objects.filter(shopify_id=snapshot.order_shopify_id).first())


def _write_part(
    model: type[Refund | Fulfillment], snapshot: RefundSnapshot | FulfillmentSnapshot, order: Order | None
) -> None:
    """Write a refund or a parcel, newest version wins: an order's body and their own topics both tell of them."""
    values = asdict(snapshot)
    version, shopify_id = values.pop("version"), values.pop("shopify_id")
    values |= {"order": order, "source_version": version}
    rows: TenantManager[Any] = model.objects
    row = model(tenant_id=tenancy.current_tenant_id(), shopify_id=shopify_id, **values)
    rows.bulk_create([row], ignore_conflicts=True)
    rows.filter(shopify_id=shopify_id, source_version__lt=version).update(**values)


def _adopt_early_arrivals(order: Order) -> None:
    for model in (Refund, Fulfillment):
        model.objects.filter(order_shopify_id=order.shopify_id, order__isnull=True).update(order=order)


def _record(order: Order, *, is_new: bool, is_newest: bool, events: list[str]) -> None:
    subject = f"order:{order.pk}"
    data: dict[str, Value] = {"shopify_id": order.shopify_id, "financial_status": order.financial_status}
    if is_new:
        record(name="order.created", subject=subject, actor="shopify", data=data, once_key=f"order.created:{order.pk}")
    elif is_newest:
        record(name="order.updated", subject=subject, actor="shopify", data=data)
    for name in events:
        record(name=name, subject=subject, actor="shopify", data=data, once_key=f"{name}:{order.pk}")
