"""Reads over orders that span models and files: odd stock, what waits too long, what happened, a parcel's label."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.core.files.storage import default_storage
from django.db import connection
from django.db.models import Q, QuerySet
from django.http import FileResponse

from audit.models import AuditEvent
from inventory.models import StockLevel, Variant
from inventory.queries import Drift
from orders.actions.shipments import NotNow
from orders.models import GatewayRefund, Order, OrderLine, OrderWatch, Payment, Shipment
from orders.models.orders import PAID_OR_PLACED, PLACED, UNFULFILLED, UNPAID


def flags_of(*, order_id: int) -> dict[int, list[str]]:
    """Say of each line what is odd about its stock, as it is now; worked out at each look, so no order can matter.

    unknown_variant: we don't know what was sold; untracked: nothing is counted; oversold: a level of it is below zero;
    backordered: it was not all there.
    """
    lines = list(OrderLine.objects.filter(order_id=order_id).select_related("commitment"))
    named = {line.variant_shopify_id for line in lines if line.variant_shopify_id is not None}
    items: dict[int, int | None] = dict(
        Variant.objects.filter(shopify_id__in=named).values_list("shopify_id", "item_id")
    )
    levels: dict[int, list[int | None]] = {}
    for item_id, available in StockLevel.objects.filter(item_id__in=items.values()).values_list("item_id", "available"):
        levels.setdefault(item_id, []).append(available)
    return {line.pk: flags for line in lines if (flags := _flags(line, items, levels))}


def _flags(line: OrderLine, items: dict[int, int | None], levels: dict[int, list[int | None]]) -> list[str]:
    commitment = getattr(line, "commitment", None)
    flags = ["backordered"] if commitment is not None and commitment.backordered else []
    if line.variant_shopify_id not in items:
        return [*flags, "unknown_variant"]
    counted = [count for count in levels.get(items[line.variant_shopify_id] or 0, []) if count is not None]
    if not counted:
        return [*flags, "untracked"]
    return [*flags, "oversold"] if min(counted) < 0 else flags


_MISALLOCATED = """
SELECT l.id, 'committed', l.committed, coalesce(a.committed, 0), 'the level has not committed what its orders take'
FROM inventory_stocklevel l JOIN shopsync_tenant t ON t.id = l.tenant_id AND t.stock_authority = 'shopsync'
LEFT JOIN (SELECT level_id, sum(committed)::bigint AS committed FROM orders_allocation WHERE tenant_id = %(tenant)s
           GROUP BY level_id) a ON a.level_id = l.id
WHERE l.tenant_id = %(tenant)s AND coalesce(l.committed, 0) <> coalesce(a.committed, 0)
UNION ALL
SELECT c.id, 'line', c.quantity, coalesce(a.committed, 0) + c.backordered, 'a line has not what it asks for'
FROM orders_commitment c JOIN shopsync_tenant t ON t.id = c.tenant_id AND t.stock_authority = 'shopsync'
JOIN (SELECT commitment_id, sum(committed)::bigint AS committed FROM orders_allocation WHERE tenant_id = %(tenant)s
      GROUP BY commitment_id) a ON a.commitment_id = c.id
JOIN orders_orderline n ON n.id = c.line_id
JOIN orders_order o ON o.id = n.order_id AND o.stock_state IN ('', 'committed')
LEFT JOIN inventory_reservation r ON r.id = o.reservation_id
WHERE c.tenant_id = %(tenant)s AND a.committed + c.backordered <> c.quantity
  AND r.settles_by IS DISTINCT FROM 'order'  -- still held beside Shopify's count: adopted in its turn
ORDER BY 1"""


def find_misallocation(*, tenant_id: int) -> list[Drift]:
    """Compare what levels have committed with what orders' lines take, where we count; an empty list is the proof."""
    with connection.cursor() as cursor:
        cursor.execute(_MISALLOCATED, {"tenant": tenant_id})
        return [Drift(*row) for row in cursor.fetchall()]


_WAITS = {"unpaid": (UNPAID, PLACED), "unfulfilled": (UNFULFILLED, PAID_OR_PLACED)}


def only_overdue(rows: QuerySet[Order], *, kind: str, now: datetime) -> QuerySet[Order]:
    """Choose the orders that wait longer than their tenant's watch of this kind allows; without a watch, none.

    Cancelled, closed, held and test orders wait for nobody. Each order has `waits_since`.
    """
    condition, since = _WAITS[kind]
    late = Q(pk__in=[])
    for tenant_id, hours in OrderWatch.objects.filter(kind=kind).values_list("tenant_id", "hours"):
        late |= Q(tenant_id=tenant_id, waits_since__lte=now - timedelta(hours=hours))
    return rows.alias(waits_since=since).filter(condition, late)


def timeline_of(*, order: Order) -> QuerySet[AuditEvent]:
    """List the events of an order, its reservations, payments, refunds through gateways, and our parcels."""
    own = f"order:{order.pk}"
    named = AuditEvent.objects.filter(subject=own, data__has_key="reservation").values_list(
        "data__reservation", flat=True
    )
    ids: dict[str, Iterable[object]] = {
        "reservation": {order.reservation_id, *named} - {None},
        "payment": Payment.objects.filter(order=order).values_list("pk", flat=True),
        "gateway_refund": GatewayRefund.objects.filter(payment__order=order).values_list("pk", flat=True),
        "shipment": Shipment.objects.filter(order=order).values_list("pk", flat=True),
    }
    subjects = [f"{kind}:{pk}" for kind, found in ids.items() for pk in found]
    return AuditEvent.objects.filter(subject__in=[own, *subjects])


def open_label(shipment: Shipment) -> FileResponse:
    """Send a label as a download; files are private, so this is their only way out.

    Raises: NotNow while there is no file.
    """
    if not shipment.label_file:
        raise NotNow("There is no label file yet; `calls` of the shipment says how its fetching stands.")
    try:
        opened = default_storage.open(shipment.label_file)
    except FileNotFoundError as error:
        raise NotNow("The label's file is gone; an operator can fetch it again in the admin.") from error
    name = f"label-{shipment.pk}.{shipment.label_file.rpartition('.')[2]}"
    answer = FileResponse(opened, as_attachment=True, filename=name, content_type=shipment.label_type)
    answer["Cache-Control"] = "private, no-store"
    return answer
