"""Celery's doors to stock: holds in Shopify, overdue reservations, what is low, short or back."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from config.infra import work
from config.infra.tasks import SystemTask
from inventory.actions.holds import CALLER
from inventory.actions.upkeep import expire_everywhere
from inventory.actions.watching import watch_stock_everywhere
from inventory.models import HoldPush


@shared_task(base=SystemTask)
def drain_holds() -> int:
    """Make the calls that set units aside in Shopify, until none is due."""
    return work.drain(HoldPush, lambda rows: work.make_calls(rows, CALLER))


@shared_task(base=SystemTask)
def settle_lost_holds() -> int:
    """Ask what became of the calls that nobody knows the end of."""
    return work.settle_unknown(HoldPush, CALLER)


@shared_task(base=SystemTask)
def expire_reservations() -> int:
    """Expire every tenant's reservations whose time is up."""
    return expire_everywhere(now=timezone.now())


@shared_task(base=SystemTask)
def watch_stock() -> int:
    """Look at every tenant's stock for what became low, short, or can be bought again."""
    return watch_stock_everywhere(now=timezone.now())
