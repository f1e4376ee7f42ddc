"""Celery's doors to shipping: calls to carriers, and what became of the lost ones."""

from __future__ import annotations

from celery import shared_task

from config.infra import work
from config.infra.tasks import SystemTask
from orders.actions.carrier_calls import make_calls, settle_lost_calls
from orders.models import ShipmentCall


@shared_task(base=SystemTask)
def drain_shipping() -> int:
    """Make the calls to carriers until none is due."""
    return work.drain(ShipmentCall, make_calls)


@shared_task(base=SystemTask)
def settle_lost_shipping() -> int:
    """Ask what became of the calls that nobody knows the end of."""
    return settle_lost_calls()
