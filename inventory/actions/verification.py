"""The nightly proof that every level is what its ledger says."""

from __future__ import annotations

from django.db import transaction

from audit.actions import Value, record
from config.infra import tenancy
from inventory.queries import Drift, find_drift


@transaction.atomic
def verify_stock(*, actor: str) -> list[Drift]:
    """Compare the levels of the tenant in scope with their ledger; what differs is recorded and returned."""
    tenant_id = tenancy.current_tenant_id()
    found = find_drift(tenant_id=tenant_id)
    if found:
        levels = sorted({str(drift.level_id) for drift in found})
        data: dict[str, Value] = {"levels": levels[:100], "problems": len(found)}
        record(name="stock.drifted", subject=f"tenant:{tenant_id}", actor=actor, data=data)
    return found
