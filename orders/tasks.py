"""Celery's doors to orders."""

from __future__ import annotations

from celery import shared_task

from config.infra.tasks import SystemTask
from orders.actions.verification import verify_everywhere


@shared_task(base=SystemTask)
def verify_stock() -> int:
    """Prove every tenant's stock, nightly."""
    return verify_everywhere(actor="system")
