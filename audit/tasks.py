"""Celery's door to the outbox."""

from __future__ import annotations

from celery import shared_task

from audit.actions import deliver
from audit.models import EventDelivery
from config.infra import work
from config.infra.tasks import SystemTask


@shared_task(base=SystemTask)
def drain_events() -> int:
    """Deliver audit events to their subscribers until none is due."""
    return work.drain(EventDelivery, lambda rows: work.run_each(rows, deliver))
