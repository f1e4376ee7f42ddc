"""Celery's doors to orders: calls to gateways and carriers, the lost ones, what waits, what is proved nightly."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from config.infra import work
from config.infra.tasks import SystemTask
from orders.actions.calls import CALLER
from orders.actions.carrier_calls import make_calls, settle_lost_calls
from orders.actions.reconciliation import reconcile_everywhere
from orders.actions.verification import verify_everywhere
from orders.actions.watches import watch_orders_everywhere
from orders.models import PaymentCall, ShipmentCall


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
    """Ask what became of the calls to gateways that nobody knows the end of."""
    return work.settle_unknown(PaymentCall, CALLER)


@shared_task(base=SystemTask)
def reconcile_payments() -> int:
    """Compare every tenant's payments with its orders; return how many differ."""
    return reconcile_everywhere(now=timezone.now())


@shared_task(base=SystemTask)
def drain_shipping() -> int:
    """Make the calls to carriers until none is due."""
    return work.drain(ShipmentCall, make_calls)


@shared_task(base=SystemTask)
def settle_lost_shipping() -> int:
    """Ask what became of the calls to carriers that nobody knows the end of."""
    return settle_lost_calls()


@shared_task(base=SystemTask)
def watch_orders() -> int:
    """Look for orders that wait too long, of every tenant that says what that is; return how many do."""
    return watch_orders_everywhere(now=timezone.now())
