"""Celery's doors to orders and payments: calls through the gateway, the lost ones, and what is proved nightly."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from config.infra import work
from config.infra.tasks import SystemTask
from orders.actions.calls import CALLER
from orders.actions.reconciliation import reconcile_everywhere
from orders.actions.verification import verify_everywhere
from orders.models import PaymentCall


@shared_task(base=SystemTask)
def verify_stock() -> int:
    """Prove every tenant's stock, nightly."""
    return verify_everywhere(actor="system")


@shared_task(base=SystemTask)
def drain_payments() -> int:
    """Make the calls to payment gateways until none is due."""
    return work.drain(PaymentCall, lambda rows: work.make_calls(rows, CALLER))


@shared_task(base=SystemTask)
def settle_lost_payments() -> int:
    """Ask what became of the calls that nobody knows the end of."""
    return work.settle_unknown(PaymentCall, CALLER)


@shared_task(base=SystemTask)
def reconcile_payments() -> int:
    """Compare every tenant's payments with its orders; return how many differ."""
    return reconcile_everywhere(now=timezone.now())
