"""What is done for every tenant on a schedule: overdue reservations expire, late sales settle."""

from __future__ import annotations

from datetime import datetime

from config.infra import tenancy
from inventory.actions.reservations import SETTLE_AFTER, expire_reservations, settle_reservations
from inventory.models import Reservation

Status = Reservation.Status


def expire_everywhere(*, now: datetime) -> int:
    """Expire each tenant's overdue reservations, and settle sales that no snapshot settled; return how many expired."""
    with tenancy.all_tenants(reason="find the tenants with overdue reservations"):
        overdue = Reservation.objects.filter(status=Status.ACTIVE, expires_at__lte=now)
        late = Reservation.objects.filter(
            status=Status.COMMITTED, settles_by="snapshot", ended_at__lte=now - SETTLE_AFTER, lines__held__gt=0
        )
        tenants = {*overdue.values_list("tenant_id", flat=True).distinct().order_by("tenant_id")}
        tenants |= {*late.values_list("tenant_id", flat=True).distinct().order_by("tenant_id")}
    expired = 0
    for tenant_id in sorted(tenants):
        with tenancy.tenant_scope(tenant_id):
            expired += expire_reservations(now=now)
            settle_reservations(now=now)
    return expired
