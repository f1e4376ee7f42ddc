"""The nightly proof that every level is what its ledger, its reservations and its orders say."""

from __future__ import annotations

from django.db import transaction

from audit.actions import Value, record
from config.infra import tenancy
from inventory.queries import Drift, find_drift
from orders.queries import find_misallocation
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.models import Tenant

DRIFTED = "stock.drifted"


@transaction.atomic
def verify_stock(*, actor: str) -> list[Drift]:
    """Compare the levels of the tenant in scope with their ledger; what differs is recorded, an alert, and returned."""
    tenant_id = tenancy.current_tenant_id()
    found = [*find_drift(tenant_id=tenant_id), *find_misallocation(tenant_id=tenant_id)]
    subject = f"tenant:{tenant_id}"
    if not found:
        close_alert(kind=DRIFTED, subject=subject)
    else:
        levels = sorted({str(drift.level_id) for drift in found})
        data: dict[str, Value] = {"levels": levels[:100], "problems": len(found)}
        record(name="stock.drifted", subject=subject, actor=actor, data=data)
        message = f"{len(found)} levels or lines differ from their ledger: run manage.py verify_stock to see which."
        raise_alert(kind=DRIFTED, subject=subject, message=message, severity="critical")
    return found


def verify_everywhere(*, actor: str) -> int:
    """Verify every tenant's stock, each in a transaction of its own; return how many differences there are."""
    tenants = list(Tenant.objects.order_by("pk").values_list("pk", flat=True))
    return tenancy.for_each(tenants, lambda: len(verify_stock(actor=actor)))
