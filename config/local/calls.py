"""A demo tenant's outward calls: where they stand, and asking early about those whose answer was lost.

Imported after the settings are ready.
"""

from __future__ import annotations

from config.infra import tenancy
from config.infra.work import Status
from config.infra.work.claims import ClockTimestamp
from config.local.tenants import DemoTenant
from orders.models import PaymentCall, ShipmentCall
from orders.tasks import settle_lost_payments, settle_lost_shipping


def refund_call_status(demo: DemoTenant, refund_id: int) -> str:
    """Say where the call of a refund stands: ready, leased, unknown, done."""
    with tenancy.tenant_scope(demo.tenant_id):
        return PaymentCall.objects.get(refund_id=refund_id).status


def ask_early(demo: DemoTenant) -> None:
    """Ask now what became of a tenant's lost calls, as the schedule does when half a minute has passed."""
    with tenancy.tenant_scope(demo.tenant_id):
        for model in (PaymentCall, ShipmentCall):
            model._default_manager.filter(status=Status.UNKNOWN).update(due_at=ClockTimestamp())
    settle_lost_payments()
    settle_lost_shipping()
