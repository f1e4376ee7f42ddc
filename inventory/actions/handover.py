"""Handing the count over, as far as levels and promises go: set-based, one statement for all levels of a tenant.

The whole of it, with what orders have taken, is orders.actions.handover.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection

from config.infra import tenancy, work
from inventory.actions.holds import give_back
from inventory.actions.levels import explain_movements
from inventory.models import HoldPush, InventoryItem, ReservationLine
from shopsync.models import Tenant


def lock_authority() -> str:
    """Lock who counts the stock of the tenant in scope, and say who that is.

    Waits for everybody who goes by the answer (authority.authority_of); deliveries are taken in meanwhile.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenancy.current_tenant_id())
    return tenant.stock_authority


def count_open_pushes() -> int:
    """Count the calls to Shopify about holds whose end is not known yet."""
    return HoldPush.objects.filter(status__in=(work.Status.READY, work.Status.LEASED, work.Status.UNKNOWN)).count()


_DATE_ITEMS = """
UPDATE inventory_inventoryitem AS i SET counted_at = l.mirrored_at
FROM (SELECT item_id, coalesce(max(mirrored_at), clock_timestamp()) AS mirrored_at FROM inventory_stocklevel
      WHERE tenant_id = %(tenant)s AND available IS NOT NULL GROUP BY item_id) l
WHERE i.id = l.item_id"""
# What is set aside in Shopify is off its `available`; from now on our own `held` sets it aside.
_BEGIN = """
UPDATE inventory_stocklevel AS l SET available = l.available + coalesce(p.pushed, 0),
    on_hand = l.available + coalesce(p.pushed, 0), held = l.held + coalesce(p.pushed, 0),
    committed = CASE WHEN l.available IS NOT NULL THEN 0 END,
    reserved = NULL, damaged = NULL, safety_stock = NULL, quality_control = NULL, updated_at = clock_timestamp()
FROM (SELECT v.id, sum(n.pushed)::bigint AS pushed FROM inventory_stocklevel v
      LEFT JOIN inventory_reservationline n ON n.level_id = v.id AND n.pushed > 0
      WHERE v.tenant_id = %(tenant)s GROUP BY v.id) p
WHERE l.id = p.id RETURNING l.available IS NOT NULL"""


def begin_count(*, actor: str) -> int:
    """Let our count begin where Shopify's stands: what it has off is off. Returns how many levels are counted."""
    explain_movements(reason="handed_over", reference="to:shopsync", actor=actor)
    pushed = list(ReservationLine.objects.filter(pushed__gt=0).order_by("pk"))
    units = [line.pushed for line in pushed]
    with connection.cursor() as cursor:
        cursor.execute(_DATE_ITEMS, {"tenant": tenancy.current_tenant_id()})
        cursor.execute(_BEGIN, {"tenant": tenancy.current_tenant_id()})
        levels = len([row for row in cursor.fetchall() if row[0]])
    give_back(pushed)
    for line, back in zip(pushed, units, strict=True):
        line.held += back
    ReservationLine.objects.bulk_update(pushed, ["held"], batch_size=500)
    Tenant.objects.filter(pk=tenancy.current_tenant_id()).update(stock_authority=Tenant.StockAuthority.SHOPSYNC)
    return levels


# What orders of ours wait for is held from now on, and no longer off the level: still in our count, so that nothing is
# short that was not.
_HOLD = """
UPDATE inventory_stocklevel AS l SET available = l.available + k.held, held = l.held + k.held,
    committed = l.committed - k.held, updated_at = clock_timestamp()
FROM unnest(%(levels)s::bigint[], %(held)s::bigint[]) AS k(id, held) WHERE l.id = k.id AND l.tenant_id = %(tenant)s"""
# A level that Shopify never spoke of keeps our number (untracked would mean unlimited).
_END = """
UPDATE inventory_stocklevel SET on_hand = NULL, committed = NULL, updated_at = clock_timestamp(),
    available = CASE WHEN mirrored_at IS NULL THEN available ELSE mirrored_available END
WHERE tenant_id = %(tenant)s"""


def end_count(*, kept: Mapping[int, int], actor: str) -> int:
    """Let Shopify's count stand for ours from now on; returns how many levels there are.

    kept: units by level that orders of ours wait for, which Shopify does not know: they are held from now on (the
    caller has written the reservations' lines that say so).
    """
    explain_movements(reason="handed_over", reference="to:shopify", actor=actor)
    tenant_id = tenancy.current_tenant_id()
    with connection.cursor() as cursor:
        cursor.execute(_HOLD, {"tenant": tenant_id, "levels": list(kept), "held": list(kept.values())})
        # The guard goes by who counts: only where Shopify does may its count be too small for what is held.
        Tenant.objects.filter(pk=tenant_id).update(stock_authority=Tenant.StockAuthority.SHOPIFY)
        cursor.execute(_END, {"tenant": tenant_id})
        levels: int = cursor.rowcount
    InventoryItem.objects.filter(counted_at__isnull=False).update(counted_at=None)
    return levels
